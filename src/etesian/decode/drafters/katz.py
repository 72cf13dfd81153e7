"""Katz's back-off trigram: the probability of each token after any two.

Trigrams that were counted keep their counts, discounted by Good and Turing's rule where they are small. The mass that the discounts
free is shared among the other tokens in proportion to the next shorter context (Katz 1987, "Estimation of probabilities from sparse
data").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.errors import InputError

DISCOUNTED = 5  # counts up to this one are discounted, as Katz has it: larger ones are reliable
BLOCK = 4_000_000  # tokens counted together: bounds memory, whatever the length of the text
NOTHING = 1e-13  # of a probability: what rounding leaves of none
LARGEST_VOCABULARY = 1 << 21  # so that three tokens fit into one 64-bit key

Keys = NDArray[np.int64]
Tokens = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Counts:
    """How often runs of tokens were met; a run is one number, ``(first * vocabulary_size + second) * ...``.

    Parameters
    ----------
    keys : ndarray of int64, shape (n_runs,)
        Ascending.
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
    """The tokens that were seen after each context, with their discounted probabilities.

    Parameters
    ----------
    contexts : ndarray of int64, shape (n_contexts,)
        Ascending keys.
    starts : ndarray of int64, shape (n_contexts + 1,)
        Where the tokens of each context begin.
    counts : ndarray of int64, shape (n_contexts,)
        How often each context was followed by anything.
    tokens, probabilities : ndarrays, shape (n_seen,)
        Tokens ascend within a context.
    backoff : ndarray of float64, shape (n_contexts,)
        The factor of the shorter context's probability for tokens that were not seen after this one.
    """

    contexts: Keys
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    backoff: NDArray[np.float64]

    def place(self, context: int) -> int | None:
        """Where a context stands; None for one that was never seen."""
        place = int(np.searchsorted(self.contexts, context))
        return place if place < len(self.contexts) and self.contexts[place] == context else None

    def over(self, shorter: NDArray[np.float64], context: int) -> NDArray[np.float64]:
        """Probabilities of all tokens after `context`, from those after the shorter one."""
        place = self.place(context)
        if place is None:
            return shorter
        probabilities = self.backoff[place] * shorter
        seen = slice(self.starts[place], self.starts[place + 1])
        probabilities[self.tokens[seen]] = self.probabilities[seen]
        return probabilities


@dataclass(frozen=True, eq=False)
class KatzTrigram:
    """Probabilities of the next token, given the last two.

    Parameters
    ----------
    unigrams : ndarray of float64, shape (vocabulary_size,)
        Each token's share of the text, with one added to every count.
    bigrams, trigrams
        Continuations seen after one token, and after two.
    """

    unigrams: NDArray[np.float64]
    bigrams: Successors
    trigrams: Successors

    @classmethod
    def count(cls, sequences: Iterable[Tokens], vocabulary_size: int) -> KatzTrigram:
        """Count sequences of tokens; no run reaches from one into the next.

        Raises
        ------
        InputError
            If a token does not belong to the vocabulary, or there are no three tokens in a row.
        """
        single, pairs, triples = _count_runs(sequences, vocabulary_size)
        unigrams = (single + 1) / (single.sum() + vocabulary_size)
        bigrams = _discounted(pairs, vocabulary_size, unigrams[pairs.keys % vocabulary_size])
        after_one = _after_one(bigrams, triples.keys % vocabulary_size**2, vocabulary_size)
        return cls(unigrams, bigrams, _discounted(triples, vocabulary_size, after_one))

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are."""
        return len(self.unigrams)

    def probabilities(self, first: int, second: int) -> NDArray[np.float64]:
        """Return the probability of every token after `first` and `second`: array of shape (vocabulary_size,), sum 1."""
        after_one = self.bigrams.over(self.unigrams, second)
        return self.trigrams.over(after_one, first * self.vocabulary_size + second)


def good_turing_discounts(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Factors by which counts of 1, 2, ... `DISCOUNTED` shrink: array of shape (DISCOUNTED,).

    Katz (1987), equation 17. On few data the counts of counts are no smooth sequence and the rule gives factors outside of
    (0, 1]; then a constant is subtracted from each count in its place (absolute discounting, Ney, Essen and Kneser 1994).
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
    """Probabilities of what was seen; `shorter` holds those of the same tokens after their contexts less the first."""
    factors = np.append(good_turing_discounts(runs.counts), 1.0)[np.minimum(runs.counts, DISCOUNTED + 1) - 1]
    contexts, starts = np.unique(runs.keys // size, return_index=True)
    tokens = (runs.keys % size).astype(np.int32)
    totals = np.add.reduceat(runs.counts, starts)
    lengths = np.diff(np.append(starts, len(tokens)))
    probabilities = factors * runs.counts / np.repeat(totals, lengths)
    kept = np.add.reduceat(probabilities, starts)
    covered = np.add.reduceat(shorter, starts)
    whole = 1 - covered < NOTHING  # nobody is left to share what the discounts set free
    probabilities /= np.repeat(np.where(whole, kept, 1.0), lengths)
    backoff = np.where(whole, 0.0, np.maximum(1 - kept, 0.0) / np.where(whole, 1.0, 1 - covered))
    return Successors(contexts, np.append(starts, len(tokens)), totals, tokens, probabilities, backoff)


def _after_one(bigrams: Successors, pairs: Keys, size: int) -> NDArray[np.float64]:
    """Probability of the second token of each pair after the first; every pair was seen, as part of a triple."""
    seen = np.repeat(bigrams.contexts, np.diff(bigrams.starts)) * size + bigrams.tokens
    return bigrams.probabilities[np.searchsorted(seen, pairs)]


def _count_runs(sequences: Iterable[Tokens], size: int) -> tuple[NDArray[np.int64], Counts, Counts]:
    """How often each token, each pair and each triple occurs."""
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
    """Sequences of one token or more, checked, about `BLOCK` tokens at once."""
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
