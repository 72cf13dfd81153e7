"""The target's seeded choice of the next token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.decode.sampling import noise
from etesian.decode.sampling.grammar import Constraint
from etesian.decode.sampling.options import Sampling
from etesian.decode.sampling.processors import Processors
from etesian.decode.sampling.truncation import likeliest, lowest_kept
from etesian.errors import InputError

_COLDEST = 1e-30  # lower temperatures choose the same tokens, but logits divided by them are infinite


@dataclass(frozen=True, slots=True)
class Choice:
    """The target's decision at one position.

    Parameters
    ----------
    token : int
    logprob : float or None
        Log-probability of the token; None unless `Sampling.logprobs` requests it.
    alternatives : tuple of (int, float)
        The most probable tokens and their log-probabilities, best first.
    """

    token: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


class Chooser:
    """Choose the next token of one request from the target's logits.

    The token at absolute position t is argmax(processed logits / temperature + Gumbel(seed, t)). By the Gumbel-max trick it has the
    distribution of the softmax, and it depends on the logits, the text and the seed alone. Ties go to the lower token. Noise is
    computed only for tokens that can be chosen.

    Parameters
    ----------
    sampling : Sampling
    vocabulary_size : int
        Number of logits per row of the target.
    prompt_length : int
        Length of the prompt; penalties and forced tokens of the output count from here.
    constraint : Constraint or None
        Restricts each position to tokens that a grammar allows; None without a grammar.

    Raises
    ------
    InputError
        If an option names tokens outside the vocabulary.
    """

    def __init__(
        self, sampling: Sampling, vocabulary_size: int, prompt_length: int, constraint: Constraint | None = None
    ) -> None:
        self.sampling = sampling
        self.constraint = constraint
        self.vocabulary_size = vocabulary_size
        self.prompt_length = prompt_length
        self._temperature = max(float(sampling.temperature or 1.0), _COLDEST)
        self._seed = np.uint64(int(sampling.seed) % 2**64)
        self._processors = Processors(sampling, vocabulary_size, prompt_length)
        self._text = np.empty(0, np.int32)
        self._every = np.arange(vocabulary_size)

    @property
    def is_plain(self) -> bool:
        """True if logits are used as they are, apart from temperature, truncation and the constraint of a grammar."""
        return self._processors.changes_nothing and not self.sampling.forced_tokens

    def choose(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> Choice:
        """Decide the token that follows `text`, from the logits after its last token, of shape (vocabulary_size,)."""
        token = self._forced_or_best(logits, text)
        if self.sampling.logprobs is None:
            return Choice(token)
        from scipy.special import logsumexp  # slow to import, and rarely needed

        logprobs = logits.astype(np.float64) - logsumexp(logits.astype(np.float64))
        alternatives = tuple((other, float(logprobs[other])) for other in likeliest(logprobs, self.sampling.logprobs))
        return Choice(token, float(logprobs[token]), alternatives)

    def follow(self, text: NDArray[np.int32]) -> None:
        """Let `rank` apply penalties for this text; the decoder calls it before each draft."""
        self._text = text

    def rank(
        self,
        logits: NDArray[np.float32],
        positions: NDArray[np.integer],
        count: int,
        columns: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rank the tokens that the target is most likely to choose, by a drafter's logits.

        Parameters
        ----------
        logits : ndarray of float32, shape (n_rows, n_logits)
            The vocabulary may be padded to another size than the target's.
        positions : ndarray of int, shape (n_rows,)
            Absolute position of the token to choose from each row; `len(text)` for the first one after the text.
        count : int
            Tokens per row; at most the vocabulary size.
        columns : ndarray of int64, shape (n_logits,), optional
            Token of each logit, ascending, for a drafter that scores a part of the vocabulary.

        Returns
        -------
        tokens : ndarray of int32, shape (n_rows, count)
            Best first. The first one is the result of `choose` if the logits equal the target's, except that penalties ignore the
            tokens between the text and the row.
        confidences : ndarray of float32, shape (n_rows, count)
            Share of exp(logits / temperature + noise) in the row, with the target's own noise, or without noise if greedy; 0 for
            tokens that cannot be chosen.
        """
        count = min(count, logits.shape[1], self.vocabulary_size)
        tokens = np.empty((len(logits), count), np.int32)
        confidences = np.empty((len(logits), count), np.float32)
        is_partial = columns is not None and self.is_plain
        every = columns if columns is not None and is_partial else self._every
        for place, position in enumerate(np.asarray(positions).tolist()):
            row = logits[place]
            if columns is not None and not is_partial:
                row = np.full(self.vocabulary_size, -np.inf, np.float32)
                row[columns] = logits[place]
            row = self._drafted(row, position)
            tokens[place], confidences[place] = self._rank_row(row, every, position, count)
        return tokens, confidences

    def _rank_row(
        self, row: NDArray[np.float32], every: NDArray[np.int64], position: int, count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        every, weights = every[: len(row)], row - row.max()
        weights /= np.float32(self._temperature)
        np.exp(weights, out=weights)
        rule = self._temperature, self._seed, position, count, not self.sampling.is_greedy
        if self.sampling.is_truncated:
            is_kept = row >= lowest_kept(row, self.sampling)
            kept = np.flatnonzero(is_kept)
            if len(kept) >= count:
                every, row, weights = every[kept], row[kept], weights[kept]
            else:
                weights[~is_kept] = 0
        places, shares = noise.rank(every, row, weights, *rule)
        return every[places].astype(np.int32), shares

    def _drafted(self, logits: NDArray[np.float32], position: int) -> NDArray[np.float32]:
        """Process a drafter's row as the target processes its own."""
        known = logits[: self.vocabulary_size]
        forced = self.sampling.forced_tokens.get(position - self.prompt_length)
        if forced is None or forced >= len(known):
            return self._processors.apply(known, self._text)
        row = np.full(len(known), -np.inf, np.float32)
        row[forced] = 0
        return row

    def _forced_or_best(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> int:
        forced = self.sampling.forced_tokens.get(len(text) - self.prompt_length)
        if forced is not None:
            return forced
        row = self._processors.apply(logits, text)
        if self.constraint is not None:
            row = self.constraint.apply(row, text[self.prompt_length :])
        token = self._best(row, len(text)) if np.isfinite(row.max()) else -1
        if token < 0 or not np.isfinite(row[token]):
            raise InputError(
                f"no token can follow the {len(text)} tokens of the text: the logits contain NaN, or every token is banned"
            )
        return token

    def _best(self, row: NDArray[np.float32], position: int) -> int:
        if self.sampling.is_greedy:
            return int(np.argmax(row))
        if not self.sampling.is_truncated:
            return noise.best_of_all(row, self._temperature, self._seed, position)
        tokens = np.flatnonzero(row >= lowest_kept(row, self.sampling))
        scores = row[tokens].astype(np.float64) / self._temperature + noise.gumbel(self._seed, position, tokens)
        return int(tokens[np.argmax(scores)])
