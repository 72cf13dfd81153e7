"""Katz's back-off trigram model: the probability of each token given the previous two.

Small counts are discounted by the Good-Turing estimate. The discounted mass is distributed over unseen tokens in proportion to
their probability after the next shorter context (Katz 1987, "Estimation of probabilities from sparse data").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.errors import InputError

DISCOUNTED = 5  # counts up to this one are discounted, as in Katz (1987); larger ones are reliable
BLOCK = 4_000_000  # tokens counted together, which bounds memory for texts of any length
NOTHING = 1e-13  # remaining probabilities below this are rounding errors
LARGEST_VOCABULARY = 1 << 21  # so that three tokens fit into one 64-bit key

Keys = NDArray[np.int64]
Tokens = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of n-grams, each encoded as one number, ``(first * vocabulary_size + second) * ...``.

    Parameters
    ----------
    keys : ndarray of int64, shape (n_runs,)
        Encoded n-grams in ascending order.
    counts : ndarray of int64, shape (n_runs,)
    """

    keys: Keys
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Keys) -> Counts:
        """Count equal keys."""
        return cls(*np.unique(keys, return_counts=True))

    def __add__(self, other: Counts) -> Counts:
        keys, places = np.unique(np.concatenate([self.keys, other.keys]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([self.counts, other.counts]), len(keys))
        return Counts(keys, counts.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Successors:
    """The tokens observed after each context, with their discounted probabilities.

    Parameters
    ----------
    contexts : ndarray of int64, shape (n_contexts,)
        Encoded contexts in ascending order.
    starts : ndarray of int64, shape (n_contexts + 1,)
        Index of each context's first token.
    counts : ndarray of int64, shape (n_contexts,)
        Number of occurrences of each context that were followed by a token.
    tokens, probabilities : ndarrays, shape (n_seen,)
        Tokens are in ascending order within a context.
    backoff : ndarray of float64, shape (n_contexts,)
        Back-off weight: multiplies the shorter context's probability of tokens not observed after this context.
    """

    contexts: Keys
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    backoff: NDArray[np.float64]

    def place(self, context: int) -> int | None:
        """Return the index of a context; None if it was not observed."""
        place = int(np.searchsorted(self.contexts, context))
        return place if place < len(self.contexts) and self.contexts[place] == context else None

    def over(self, shorter: NDArray[np.float64], context: int) -> NDArray[np.float64]:
        """Return the probabilities of all tokens after `context`, given those after the shorter context."""
        place = self.place(context)
        if place is None:
            return shorter
        probabilities = self.backoff[place] * shorter
        seen = slice(self.starts[place], self.starts[place + 1])
        probabilities[self.tokens[seen]] = self.probabilities[seen]
        return probabilities


@dataclass(frozen=True, eq=False)
class KatzTrigram:
    """Probabilities of the next token given the last two.

    Parameters
    ----------
    unigrams : ndarray of float64, shape (vocabulary_size,)
        Relative frequency of each token with add-one smoothing.
    bigrams, trigrams : Successors
        Tokens observed after one token and after two.
    """

    unigrams: NDArray[np.float64]
    bigrams: Successors
    trigrams: Successors

    @classmethod
    def count(cls, sequences: Iterable[Tokens], vocabulary_size: int) -> KatzTrigram:
        """Count the n-grams of token sequences; n-grams do not extend across sequences.

        Raises
        ------
        InputError
            If a token is outside the vocabulary, or no sequence has three tokens.
        """
        single, pairs, triples = _count_runs(sequences, vocabulary_size)
        unigrams = (single + 1) / (single.sum() + vocabulary_size)
        bigrams = _discounted(pairs, vocabulary_size, unigrams[pairs.keys % vocabulary_size])
        after_one = _after_one(bigrams, triples.keys % vocabulary_size**2, vocabulary_size)
        return cls(unigrams, bigrams, _discounted(triples, vocabulary_size, after_one))

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens in the vocabulary."""
        return len(self.unigrams)

    def probabilities(self, first: int, second: int) -> NDArray[np.float64]:
        """Return the probability of every token after `first` and `second`: array of shape (vocabulary_size,), sum 1."""
        after_one = self.bigrams.over(self.unigrams, second)
        return self.trigrams.over(after_one, first * self.vocabulary_size + second)


def good_turing_discounts(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the discount factors of the counts 1, 2, ... `DISCOUNTED` (Katz 1987, equation 17).

    With little data, the counts of counts are irregular and some factors fall outside of (0, 1]. In this case, a constant is
    subtracted from each count instead (absolute discounting, Ney, Essen and Kneser 1994).
    """
    r = np.arange(1, DISCOUNTED + 1)
    met = np.bincount(np.minimum(counts, DISCOUNTED + 2), minlength=DISCOUNTED + 3).astype(
        float
    )  # how many counts are r
    if met[1] == 0:
        return np.ones(DISCOUNTED)
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = (DISCOUNTED + 1) * met[DISCOUNTED + 1] / met[1]
        factors = ((r + 1) * met[r + 1] / (r * met[r]) - beyond) / (1 - beyond)
    if ((factors > 0) & (factors <= 1)).all():
        return factors
    return (r - met[1] / (met[1] + 2 * met[2])) / r if met[2] else (r - 0.5) / r


def _discounted(runs: Counts, size: int, shorter: NDArray[np.float64]) -> Successors:
    """Return discounted probabilities of observed n-grams; `shorter` has those of the same tokens after the shorter context."""
    factors = np.append(good_turing_discounts(runs.counts), 1.0)[np.minimum(runs.counts, DISCOUNTED + 1) - 1]
    contexts, starts = np.unique(runs.keys // size, return_index=True)
    tokens = (runs.keys % size).astype(np.int32)
    totals = np.add.reduceat(runs.counts, starts)
    lengths = np.diff(np.append(starts, len(tokens)))
    probabilities = factors * runs.counts / np.repeat(totals, lengths)
    kept = np.add.reduceat(probabilities, starts)
    covered = np.add.reduceat(shorter, starts)
    whole = 1 - covered < NOTHING  # no unseen token remains to receive the discounted mass
    probabilities /= np.repeat(np.where(whole, kept, 1.0), lengths)
    backoff = np.where(whole, 0.0, np.maximum(1 - kept, 0.0) / np.where(whole, 1.0, 1 - covered))
    return Successors(contexts, np.append(starts, len(tokens)), totals, tokens, probabilities, backoff)


def _after_one(bigrams: Successors, pairs: Keys, size: int) -> NDArray[np.float64]:
    """Return the probability of the second token of each pair after the first; all pairs are observed bigrams."""
    seen = np.repeat(bigrams.contexts, np.diff(bigrams.starts)) * size + bigrams.tokens
    return bigrams.probabilities[np.searchsorted(seen, pairs)]


def _count_runs(sequences: Iterable[Tokens], size: int) -> tuple[NDArray[np.int64], Counts, Counts]:
    """Count the unigrams, bigrams and trigrams of sequences."""
    if not 1 <= size <= LARGEST_VOCABULARY:
        raise InputError(f"vocabulary_size must be from 1 to {LARGEST_VOCABULARY}; got {size}")
    single = np.zeros(size, np.int64)
    pairs = triples = Counts(np.empty(0, np.int64), np.empty(0, np.int64))
    for block in _blocks(sequences, size):
        single += np.bincount(np.concatenate(block), minlength=size)
        two = [sequence[:-1] * size + sequence[1:] for sequence in block]
        three = [ahead[:-1] * size + sequence[2:] for ahead, sequence in zip(two, block, strict=True)]
        pairs, triples = pairs + Counts.of(np.concatenate(two)), triples + Counts.of(np.concatenate(three))
    if not len(triples.keys):
        raise InputError("sequences must hold at least three tokens in a row to count trigrams; they hold fewer")
    return single, pairs, triples


def _blocks(sequences: Iterable[Tokens], size: int) -> Iterable[list[NDArray[np.int64]]]:
    """Yield checked, nonempty sequences in groups of about `BLOCK` tokens."""
    block: list[NDArray[np.int64]] = []
    held = 0
    for number, tokens in enumerate(sequences):
        sequence = np.asarray(tokens, np.int64)
        if sequence.ndim != 1:
            raise InputError(f"each of sequences must be one row of tokens; number {number} has shape {sequence.shape}")
        if len(sequence) and not (sequence.min() >= 0 and sequence.max() < size):
            wrong = sequence[(sequence < 0) | (sequence >= size)][0]
            raise InputError(f"tokens must be from 0 to {size - 1} (vocabulary_size); sequence {number} holds {wrong}")
        if len(sequence):
            block.append(sequence)
            held += len(sequence)
        if held >= BLOCK:
            yield block
            block, held = [], 0
    if block:
        yield block
