"""Output tokens as text while they arrive: whole characters only, and nothing that a stop string might still take back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_CONTEXT = (
    6  # tokens of the prompt that decide how the first of the output reads, such as whether a space stands before it
)


class Tokenizer(Protocol):
    """Turns text into tokens and back."""

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of some tokens; special ones, such as the end of text, read as nothing."""


class OutputText:
    """The text of the output, token by token.

    Parameters
    ----------
    tokenizer
    prompt
        Tokens before the output.
    stop
        Strings before which the text ends.
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
        )  # tokens from `start` are decoded; those before `read` are text already
        self._held = ""
        self.has_stopped = False

    def push(self, token: int) -> str:
        """Take in the next token; return the text that is now certain, often the token's own, and often none."""
        self._tokens.append(token)
        added = self._decode_unread()
        if added.endswith(_INCOMPLETE):  # the first bytes of a character
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return self._release(added)

    def finish(self) -> str:
        """Return what was held back, when no token follows."""
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
    """Length of the longest end of `text` that `stop` begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
