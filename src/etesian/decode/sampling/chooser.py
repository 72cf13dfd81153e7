"""The target's seeded choice of the next token. Knows no model and no tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.decode.sampling import noise
from etesian.decode.sampling.options import Sampling
from etesian.decode.sampling.processors import Processors
from etesian.decode.sampling.truncation import likeliest, lowest_kept, uncertain_bounds
from etesian.errors import InputError


@dataclass(frozen=True, slots=True)
class Choice:
    """What the target chose at one position.

    Parameters
    ----------
    token
    is_close
        Whether logits that differ by the chooser's `tolerance` might choose otherwise; False without a tolerance.
    logprob
        The logarithm of its probability; None unless `Sampling.logprobs` asks for it.
    alternatives
        The likeliest tokens with their logarithms, best first.
    """

    token: int
    is_close: bool = False
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


class Chooser:
    """The target's rule for one request: which token comes next, given its logits and the text.

    The token at absolute position t is argmax(processed logits / temperature + Gumbel(seed, t)), so the choice depends on the
    logits, the text and the seed alone (the Gumbel-max trick: it has the distribution of the softmax). Ties go to the lower
    token. Noise is computed only for tokens that can be chosen.

    Parameters
    ----------
    sampling
    vocabulary_size
        Entries of a row of the target's logits.
    prompt_length
        Tokens of the prompt; output is counted from here.
    tolerance
        Choices that a change of two logits by this much together might turn are marked as close; None marks none.

    Raises
    ------
    InputError
        For tokens outside the vocabulary.
    """

    def __init__(
        self, sampling: Sampling, vocabulary_size: int, prompt_length: int, *, tolerance: float | None = None
    ) -> None:
        self.sampling = sampling
        self.vocabulary_size = vocabulary_size
        self.prompt_length = prompt_length
        self._tolerance = tolerance
        self._temperature = float(sampling.temperature or 1.0)
        self._seed = np.uint64(sampling.seed % 2**64)
        self._processors = Processors(sampling, vocabulary_size, prompt_length)
        self._text = np.empty(0, np.int32)
        self._every = np.arange(vocabulary_size)

    def choose(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> Choice:
        """Decide the token that follows `text`, from the logits after its last token, of shape (vocabulary_size,)."""
        token, is_close = self._forced_or_best(logits, text)
        if self.sampling.logprobs is None:
            return Choice(token, is_close)
        from scipy.special import logsumexp  # a second to import, and seldom asked for

        logprobs = logits.astype(np.float64) - logsumexp(logits.astype(np.float64))
        alternatives = tuple((other, float(logprobs[other])) for other in likeliest(logprobs, self.sampling.logprobs))
        return Choice(token, is_close, float(logprobs[token]), alternatives)

    def follow(self, text: NDArray[np.int32]) -> None:
        """Let `rank` penalize by this text: the decoder calls it before a drafter is asked."""
        self._text = text

    def rank(
        self, logits: NDArray[np.float32], positions: NDArray[np.integer], count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Tell which tokens are likeliest to be chosen, from a drafter's logits.

        Parameters
        ----------
        logits : ndarray of float32, shape (n_rows, any vocabulary size)
            A padded vocabulary may be longer or shorter than the target's.
        positions : ndarray of int, shape (n_rows,)
            Absolute position of the token to be chosen from each row; `len(text)` for the first after the text.
        count
            How many tokens are wanted for each row; the vocabulary at most.

        Returns
        -------
        tokens : ndarray of int32, shape (n_rows, count)
            Best first; the first is what `choose` would take if the logits were the target's (but for penalties by what stands
            between the text and the row).
        confidences : ndarray of float32, shape (n_rows, count)
            Their share of exp(logits / temperature + the target's own noise) in the row, without noise if greedy; 0 for
            tokens that cannot be chosen.
        """
        count = min(count, logits.shape[1], self.vocabulary_size)
        tokens = np.empty((len(logits), count), np.int32)
        confidences = np.empty((len(logits), count), np.float32)
        for place, position in enumerate(np.asarray(positions).tolist()):
            row = self._drafted(logits[place], position)
            tokens[place], confidences[place] = self._rank_row(row, position, count)
        return tokens, confidences

    def _rank_row(
        self, row: NDArray[np.float32], position: int, count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        every, weights = self._every[: len(row)], row - row.max()
        weights /= np.float32(self._temperature)
        np.exp(weights, out=weights)
        rule = self._temperature, self._seed, position, count, not self.sampling.is_greedy
        if not self.sampling.is_truncated:
            return noise.rank(every, row, weights, *rule)
        is_kept = row >= lowest_kept(row, self.sampling)
        kept = np.flatnonzero(is_kept)
        if len(kept) >= count:
            return noise.rank(kept, row[kept], weights[kept], *rule)
        weights[~is_kept] = 0
        return noise.rank(every, row, weights, *rule)

    def _drafted(self, logits: NDArray[np.float32], position: int) -> NDArray[np.float32]:
        """A drafter's row as the target would change its own."""
        known = logits[: self.vocabulary_size]
        forced = self.sampling.forced_tokens.get(position - self.prompt_length)
        if forced is None or forced >= len(known):
            return self._processors.apply(known, self._text)
        row = np.full(len(known), -np.inf, np.float32)
        row[forced] = 0
        return row

    def _forced_or_best(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> tuple[int, bool]:
        forced = self.sampling.forced_tokens.get(len(text) - self.prompt_length)
        if forced is not None:
            return forced, False
        row = self._processors.apply(logits, text)
        if not np.isfinite(row.max()):
            raise InputError(
                f"no token can follow the {len(text)} of the text: all are banned, or the logits are no numbers"
            )
        if self.sampling.is_greedy:
            token = int(np.argmax(row))
            is_close = self._tolerance is not None and bool(np.sum(row > row[token] - self._tolerance) > 1)
        elif self.sampling.is_truncated:
            token, is_close = self._best_of_kept(row, len(text))
        else:
            token, best, second = noise.best_of_all(row, self._temperature, self._seed, len(text))
            is_close = self._is_close(best - second)
        if token < 0 or not np.isfinite(row[token]):
            raise InputError(
                f"no token can follow the {len(text)} of the text: all are banned, or the logits are no numbers"
            )
        return token, is_close

    def _best_of_kept(self, row: NDArray[np.float32], position: int) -> tuple[int, bool]:
        """Decide among the tokens that truncation keeps; close also where rounding might keep others."""
        lowest = lowest_kept(row, self.sampling)
        surely, maybe = lowest, lowest
        if self._tolerance is not None:
            surely, maybe = uncertain_bounds(row, self.sampling, self._tolerance)
        tokens = np.flatnonzero(row >= maybe)
        scores = row[tokens].astype(np.float64) / self._temperature + noise.gumbel(self._seed, position, tokens)
        place = int(np.argmax(np.where(row[tokens] >= lowest, scores, -np.inf)))
        margin = float(scores[place] - np.max(np.delete(scores, place), initial=-np.inf))
        return int(tokens[place]), self._is_close(margin) or bool(row[tokens[place]] < surely)

    def _is_close(self, margin: float) -> bool:
        return self._tolerance is not None and margin * self._temperature < self._tolerance
