"""Results of a request: a `Piece` per pass, the `Generation` at the end, and the `Output` that both are read from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etesian.decode.output_text import OutputText
from etesian.decode.sampling import Choice
from etesian.decode.statistics import Statistics

FinishReason = Literal["stop", "length"]
Alternatives = tuple[tuple[int, float], ...]
FIRST_CAPACITY = 4096
"""Tokens of output for which a `Text` has memory at first."""


@dataclass(frozen=True)
class Piece:
    """Tokens added by one pass of the target. `str(piece)` is their text.

    Parameters
    ----------
    token_ids : tuple of int
    texts : tuple of str, length n_tokens
        Text that became certain with each token; a character belongs to the token that completes it.
    origins : tuple of str, length n_tokens
        Stage that proposed each token, or ``"target"``.
    logprobs : tuple of float, length n_tokens, or None
        Log-probabilities, if requested.
    alternatives : tuple, length n_tokens, or None
        The most probable tokens and their log-probabilities at each position, if requested.
    """

    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    origins: tuple[str, ...]
    logprobs: tuple[float, ...] | None
    alternatives: tuple[Alternatives, ...] | None

    @property
    def text(self) -> str:
        """Text of all tokens."""
        return "".join(self.texts)

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def joined(pieces: Sequence[Piece]) -> Piece:
        """Return successive pieces of one output as one piece."""
        if len(pieces) == 1:
            return pieces[0]
        logprobs = [piece.logprobs for piece in pieces if piece.logprobs is not None]
        alternatives = [piece.alternatives for piece in pieces if piece.alternatives is not None]
        return Piece(
            tuple(chain.from_iterable(piece.token_ids for piece in pieces)),
            tuple(chain.from_iterable(piece.texts for piece in pieces)),
            tuple(chain.from_iterable(piece.origins for piece in pieces)),
            tuple(chain.from_iterable(logprobs)) if logprobs else None,
            tuple(chain.from_iterable(alternatives)) if alternatives else None,
        )


@dataclass(frozen=True)
class Generation(Piece):
    """The output of a request.

    Parameters
    ----------
    finish_reason : {'stop', 'length'} or None
        ``"stop"`` after a stop string or token, ``"length"`` at `max_tokens` or the longest text of the model, None if cancelled.
    stats : Statistics
    """

    finish_reason: FinishReason | None
    stats: Statistics


class Text:
    """Tokens of prompt and output so far.

    Parameters
    ----------
    prompt : collection of int
    capacity : int
        Maximum length of the output. Memory for a long one is added as the text grows.
    """

    def __init__(self, prompt: Collection[int], *, capacity: int) -> None:
        self._tokens = np.empty(len(prompt) + min(capacity, FIRST_CAPACITY), np.int32)
        self._tokens[: len(prompt)] = list(prompt)
        self._length = len(prompt)

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> NDArray[np.int32]:
        """A view, valid until the next `append`."""
        return self._tokens[: self._length]

    def append(self, token: int) -> None:
        """Append a token."""
        if self._length == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.empty_like(self._tokens)])
        self._tokens[self._length] = token
        self._length += 1


class Output:
    """Tokens taken so far; decides after each one whether the output ends.

    Parameters
    ----------
    text : OutputText or None
        Decodes tokens and finds stop strings; None without a tokenizer.
    stop_tokens : collection of int
        The output ends with the first of these tokens.
    max_tokens : int
        Maximum length of the output.
    """

    def __init__(self, text: OutputText | None, stop_tokens: Collection[int], max_tokens: int) -> None:
        self._text = text
        self._stop_tokens = frozenset(stop_tokens)
        self._max_tokens = max_tokens
        self._choices: list[Choice] = []
        self._texts: list[str] = []
        self._origins: list[str] = []
        self._n_returned = 0
        self.finish_reason: FinishReason | None = None if max_tokens > 0 else "length"

    @property
    def remaining(self) -> int:
        """Number of tokens that may follow."""
        return self._max_tokens - len(self._choices)

    def __len__(self) -> int:
        return len(self._texts)  # an interrupt may come before the text of the last token is known

    def take(self, choice: Choice, origin: str) -> bool:
        """Add a token; return whether the output ends with it."""
        self._choices.append(choice)
        self._origins.append(origin)
        is_stop_token = choice.token in self._stop_tokens
        self._texts.append(self._text.push(choice.token) if self._text and not is_stop_token else "")
        if is_stop_token or self._has_stopped:
            self.finish_reason = "stop"
        elif self.remaining == 0:
            self.finish_reason = "length"
        if self.finish_reason and self._text:
            self._texts[-1] += self._text.finish()
            self.finish_reason = "stop" if self._has_stopped else self.finish_reason
        return self.finish_reason is not None

    def piece(self) -> Piece:
        """Return the tokens added since the last call."""
        first, self._n_returned = self._n_returned, len(self._choices)
        return self._from(first)

    def generation(self, stats: Statistics) -> Generation:
        """Return the whole output."""
        whole = self._from(0)
        return Generation(**vars(whole), finish_reason=self.finish_reason, stats=stats)

    @property
    def _has_stopped(self) -> bool:
        return self._text is not None and self._text.has_stopped

    def _from(self, first: int) -> Piece:
        choices = self._choices[first : len(self)]
        logprobs = tuple(choice.logprob for choice in choices if choice.logprob is not None)
        has_logprobs = 0 < len(logprobs) == len(choices)
        return Piece(
            token_ids=tuple(choice.token for choice in choices),
            texts=tuple(self._texts[first:]),
            origins=tuple(self._origins[first : len(self)]),
            logprobs=logprobs if has_logprobs else None,
            alternatives=tuple(choice.alternatives for choice in choices) if has_logprobs else None,
        )
