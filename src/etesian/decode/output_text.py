"""Streaming detokenization: whole characters only, and no text that a stop string could still revoke."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # stands for a space in the vocabularies of SentencePiece
_CONTEXT = 6  # prompt tokens that influence how the first output tokens decode, such as whether a space precedes them


class Tokenizer(Protocol):
    """Converts between text and tokens."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens such as the end of text."""


@runtime_checkable
class NamesTokens(Protocol):
    """A tokenizer of the `tokenizers` package."""

    def name_of(self, token: int) -> str | None:
        """Return a token as the vocabulary writes it."""


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes | None:
    """Return the bytes of a token; None where the tokenizer does not show the bytes of a part of a character."""
    name = tokenizer.name_of(token) if isinstance(tokenizer, NamesTokens) else None
    if name is not None and _SPACE in name:  # a space that `decode` drops at the beginning of a text
        return name.replace(_SPACE, " ").encode()
    text = tokenizer.decode([token])
    if _INCOMPLETE not in text:
        return text.encode()
    if name is None:
        return None
    if found := re.fullmatch("<0x([0-9A-Fa-f]{2})>", name):  # SentencePiece
        return bytes([int(found[1], 16)])
    return bytes(map(_BYTES.__getitem__, name)) if all(letter in _BYTES for letter in name) else None


def _bytes_by_letter() -> dict[str, int]:
    """Return the bytes that letters stand for in byte-level vocabularies (GPT-2): those that cannot be printed come last."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _bytes_by_letter()


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
