"""Streaming detokenization: whole characters only, and no text that a stop string could still revoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_CONTEXT = 6  # prompt tokens that influence how the first output tokens decode, such as whether a space precedes them


class Tokenizer(Protocol):
    """Converts between text and tokens."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens such as the end of text."""


class ChatTemplate(Protocol):
    """Turns a conversation into a prompt."""

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the tokens of a prompt that asks for the assistant's next message."""


class OutputText:
    """Decode the output token by token.

    Parameters
    ----------
    tokenizer : Tokenizer
    prompt : sequence of int
        Tokens before the output.
    stop : sequence of str
        The text ends before the first of these strings.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._decode = tokenizer.decode
        self._stop = tuple(stop)
        self._tokens = list(prompt[-_CONTEXT:])
        if self._decode(self._tokens).endswith(_INCOMPLETE):
            self._tokens = []
        self._start, self._read = (
            0,
            len(self._tokens),
        )  # decode tokens from `start`; those before `read` are text already
        self._held = ""
        self.has_stopped = False

    def push(self, token: int) -> str:
        """Add a token; return the text that has become certain, which may be empty."""
        self._tokens.append(token)
        added = self._decode_unread()
        if added.endswith(_INCOMPLETE):  # the first bytes of a character
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return self._release(added)

    def finish(self) -> str:
        """Return the text held back, at the end of the output."""
        if self.has_stopped:
            return ""
        released = self._release(self._decode_unread())
        rest, self._held = self._held, ""
        return released + rest

    def _decode_unread(self) -> str:
        before = self._decode(self._tokens[self._start : self._read])
        return self._decode(self._tokens[self._start :])[len(before) :]

    def _release(self, added: str) -> str:
        text = self._held + added
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            self.has_stopped, self._held = True, ""
            return text[: min(places)]
        n_held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a prefix of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
