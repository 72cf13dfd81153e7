"""What a request yields: `Piece` while it runs, `Generation` when it is done, and the `Output` they are read from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etesian.decode.output_text import OutputText
from etesian.decode.sampling import Choice
from etesian.decode.statistics import Statistics

FinishReason = Literal["stop", "length"]
Alternatives = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Piece:
    """What a pass of the target added. `str(piece)` is its text.

    Parameters
    ----------
    token_ids : tuple of int
    texts : tuple of str, one for each token
        The text that became certain with each: the rest of a character stands with the token that completes it.
    origins : tuple of str, one for each token
        The stage that proposed each, or ``"target"``.
    logprobs : tuple of float or None
        One for each token, if asked for.
    alternatives : tuple or None
        For each token the likeliest with their logarithms of probabilities, if asked for.
    """

    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    origins: tuple[str, ...]
    logprobs: tuple[float, ...] | None
    alternatives: tuple[Alternatives, ...] | None

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.texts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Generation(Piece):
    """The whole output of a request.

    Parameters
    ----------
    finish_reason : {'stop', 'length'} or None
        A stop string or token came; or `max_tokens`, or the longest text that the model reads, was reached; None if cancelled.
    stats
    """

    finish_reason: FinishReason | None
    stats: Statistics


class Text:
    """Prompt and output so far, in an array that grows."""

    def __init__(self, prompt: Collection[int], *, capacity: int) -> None:
        self._tokens = np.empty(len(prompt) + capacity, np.int32)
        self._tokens[: len(prompt)] = list(prompt)
        self._length = len(prompt)

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> NDArray[np.int32]:
        """A view, valid until the next `append`."""
        return self._tokens[: self._length]

    def append(self, token: int) -> None:
        """Add a token at the end."""
        self._tokens[self._length] = token
        self._length += 1


class Output:
    """Tokens taken so far, and whether they end the text: the one place that decides it, one token at a time.

    Parameters
    ----------
    text
        What reads the tokens, and looks for stop strings; None without a tokenizer.
    stop_tokens
        The output ends with the first of these.
    max_tokens
        The output ends with this many.
    """

    def __init__(self, text: OutputText | None, stop_tokens: Collection[int], max_tokens: int) -> None:
        self._text = text
        self._stop_tokens = frozenset(stop_tokens)
        self._max_tokens = max_tokens
        self._choices: list[Choice] = []
        self._texts: list[str] = []
        self._origins: list[str] = []
        self._n_told = 0
        self.finish_reason: FinishReason | None = None if max_tokens > 0 else "length"

    @property
    def remaining(self) -> int:
        """How many tokens may still come."""
        return self._max_tokens - len(self._choices)

    def __len__(self) -> int:
        return len(self._texts)  # where an interrupt came amid a token, that is left out

    def take(self, choice: Choice, origin: str) -> bool:
        """Add a token; True if the text ends with it."""
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
        """Return what was added since the last time."""
        first, self._n_told = self._n_told, len(self._choices)
        return self._from(first)

    def generation(self, stats: Statistics) -> Generation:
        """Return all of it."""
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
