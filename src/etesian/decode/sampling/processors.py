"""Logit processors: bias, penalties and bans, in the order of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.sampling.options import Sampling
from etesian.errors import InputError


class Processors:
    """Apply the bias, penalties and bans of a `Sampling` to a row of logits, given the text before it.

    Every call counts occurrences anew, at a few nanoseconds per token, so that rejected drafts leave no state behind.
    """

    def __init__(self, sampling: Sampling, vocabulary_size: int, prompt_length: int) -> None:
        for name, tokens in (
            ("logit_bias", sampling.logit_bias),
            ("banned_tokens", sampling.banned_tokens),
            ("forced_tokens", sampling.forced_tokens.values()),
        ):
            if len(tokens) and max(tokens) >= vocabulary_size:
                raise InputError(
                    f"{name} must hold tokens below the vocabulary size {vocabulary_size}; got {max(tokens)}"
                )
        self._bias = _sorted_columns(sampling.logit_bias)
        self._banned = np.array(sorted(sampling.banned_tokens), np.int64)
        self._repetition = np.float32(sampling.repetition_penalty or 1.0)
        self._presence = np.float32(sampling.presence_penalty or 0.0)
        self._frequency = np.float32(sampling.frequency_penalty or 0.0)
        self._has_penalties = self._repetition != 1 or self._presence != 0 or self._frequency != 0
        self._prompt_length = prompt_length
        self._scratch = np.zeros((vocabulary_size, 2) if self._has_penalties else (0, 2), np.int32)

    @property
    def changes_nothing(self) -> bool:
        """True if `apply` returns its argument."""
        return not (self._has_penalties or len(self._bias[0]) or len(self._banned))

    def apply(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the processed logits of the token after `text`; `logits` itself if nothing changes."""
        if self.changes_nothing:
            return logits
        row = np.array(logits, np.float32)
        tokens, biases = self._bias
        is_known = tokens < len(row)
        row[tokens[is_known]] += biases[is_known]
        if self._has_penalties:
            penalties = (self._repetition, self._presence, self._frequency)
            _penalize(row, text, min(self._prompt_length, len(text)), penalties, self._scratch)
        row[self._banned[self._banned < len(row)]] = -np.inf
        return row


def _sorted_columns(bias: Mapping[int, float]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    tokens = sorted(bias)
    return np.array(tokens, np.int64), np.array([bias[token] for token in tokens], np.float32)


@njit(nogil=True, cache=True)
def _penalize(row: Any, text: Any, prompt_length: int, penalties: Any, counts: Any) -> None:
    """Apply penalties, that for repetition by Keskar et al. (2019), section 4.1; `counts` holds zeros before and after."""
    repetition, presence, frequency = penalties
    for place in range(len(text)):
        counts[text[place], 0] += 1
        if place >= prompt_length:
            counts[text[place], 1] += 1
    for token in text:
        if counts[token, 0] == 0 or token >= len(row):
            continue  # counted already, or outside the smaller vocabulary of a drafter
        row[token] = row[token] * repetition if row[token] < 0 else row[token] / repetition
        if counts[token, 1] > 0:
            row[token] -= presence + frequency * np.float32(counts[token, 1])
        counts[token, 0] = counts[token, 1] = 0
    for token in text:
        counts[token, 0] = counts[token, 1] = 0
