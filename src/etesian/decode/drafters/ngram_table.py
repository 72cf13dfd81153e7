"""A trigram model reduced for drafting: the most probable successors of each context, in arrays and as a file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.arrays import ArrayFileError, read_arrays
from etesian._shared.documents import check_regular
from etesian._shared.files import atomic_write
from etesian.decode.drafters.katz import LARGEST_VOCABULARY, KatzTrigram
from etesian.decode.drafters.likeliest import Rows, best_successors, most_frequent
from etesian.errors import InputError

FORMAT_VERSION = 1
MOST_SUCCESSORS = 255  # per context, because their number is stored in one byte

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # multiplicative hashing, Knuth, The Art of Computer Programming, volume 3, 6.4


class Lookup(NamedTuple):
    """The arrays of a table that compiled functions read."""

    contexts: NDArray[np.int64]
    slots: NDArray[np.int32]
    starts: NDArray[np.int32]
    tokens: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    logarithms: NDArray[np.float32]
    vocabulary_size: int


@dataclass(frozen=True, eq=False)
class NgramTable:
    """The most probable successors of token pairs, of single tokens and of the empty context.

    Parameters
    ----------
    vocabulary_size : int
    temperature : float
        Temperature at which the counted text was sampled; 1 for human text.
    contexts : ndarray of int64, shape (n_pairs,)
        Pairs, encoded as ``first * vocabulary_size + second``, in ascending order.
    lengths : ndarray of uint8, shape (n_pairs + vocabulary_size + 1,)
        Number of successors of each pair, then of each single token, then of the empty context.
    tokens : ndarray of int32, shape (n_kept,)
        Successors, in descending order of probability within each context.
    probabilities : ndarray of float32, shape (n_kept,)
    """

    vocabulary_size: int
    temperature: float
    contexts: NDArray[np.int64]
    lengths: NDArray[np.uint8]
    tokens: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @classmethod
    def reduce(
        cls,
        trigram: KatzTrigram,
        *,
        temperature: float = 1.0,
        max_contexts: int = 100_000,
        max_successors: int = 6,
        min_probability: float = 0.02,
    ) -> NgramTable:
        """Keep the most frequent pairs and their most probable successors, including those by back-off.

        Parameters
        ----------
        trigram : KatzTrigram
        temperature : float
            Temperature at which the counted text was sampled.
        max_contexts : int
            Maximum number of pairs. Drafts after other pairs depend on the last token only. Pairs that occurred once are dropped.
        max_successors : int
            Maximum number of successors per context, at most 255.
        min_probability : float
            Successors with a lower probability are dropped, except the most probable one of each context.
        """
        if temperature <= 0:
            raise InputError(f"temperature must be above 0; got {temperature}")
        if not 1 <= max_successors <= MOST_SUCCESSORS:
            raise InputError(f"max_successors must be from 1 to {MOST_SUCCESSORS}; got {max_successors}")
        size = trigram.vocabulary_size
        pairs = most_frequent(trigram.trigrams, max_contexts)
        room = np.full(len(trigram.bigrams.contexts), max_successors)  # a pair may replace all of its own successors
        last = np.searchsorted(trigram.bigrams.contexts, pairs.contexts % size)
        np.maximum.at(room, last, max_successors + np.diff(pairs.starts))
        nothing = Rows.of_unigrams(trigram.unigrams)
        singles = best_successors(trigram.bigrams, nothing, np.zeros(len(room), np.int64), np.minimum(room, size), size)
        double = best_successors(pairs, singles, last, np.full(len(last), min(max_successors, size)), size)
        by_token = Rows.scattered(singles, trigram.bigrams.contexts, size)
        kept = [rows.trimmed(max_successors, min_probability) for rows in (double, by_token, nothing)]
        lengths, tokens, probabilities = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        return cls(size, float(temperature), pairs.contexts, lengths, tokens, probabilities)

    def __post_init__(self) -> None:
        if not 1 <= self.vocabulary_size <= LARGEST_VOCABULARY:
            raise InputError(f"vocabulary_size must be from 1 to {LARGEST_VOCABULARY}; got {self.vocabulary_size}")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature must be above 0; got {self.temperature}")
        if len(self.lengths) != len(self.contexts) + self.vocabulary_size + 1:
            raise InputError("lengths must have one entry for each pair and each token, and one for the empty context")
        if not len(self.tokens) == len(self.probabilities) == self.lengths.sum(dtype=np.int64):
            raise InputError("tokens and probabilities must have as many entries as the sum of lengths")
        ends = (self.contexts[:1] >= 0).all() and (self.contexts[-1:] < self.vocabulary_size**2).all()
        if not (ends and (np.diff(self.contexts) > 0).all()):
            raise InputError("contexts must be pairs of tokens in ascending order")
        if len(self.tokens) and not (self.tokens.min() >= 0 and self.tokens.max() < self.vocabulary_size):
            raise InputError(f"tokens must be from 0 to {self.vocabulary_size - 1}")
        if not ((self.probabilities > 0) & (self.probabilities <= 1)).all():
            raise InputError("probabilities must be above 0 and at most 1")

    @cached_property
    def lookup(self) -> Lookup:
        """The arrays of the table with a hash table, starts and logarithms."""
        slots = np.full(1 << int(np.ceil(np.log2(2 * len(self.contexts) + 2))), -1, np.int32)
        _fill_slots(self.contexts, slots)
        starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)]).astype(np.int32)
        logarithms = np.log(self.probabilities)
        return Lookup(self.contexts, slots, starts, self.tokens, self.probabilities, logarithms, self.vocabulary_size)

    def successors(self, first: int, second: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the successors of a pair and their probabilities, most probable first."""
        row = row_of(self.lookup, first, second)
        kept = slice(self.lookup.starts[row], self.lookup.starts[row + 1])
        return self.tokens[kept], self.probabilities[kept]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file atomically.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        small = self.vocabulary_size <= 1 << 16
        content = io.BytesIO()
        np.savez_compressed(
            content,
            allow_pickle=False,
            format=np.int64(FORMAT_VERSION),
            vocabulary_size=np.int64(self.vocabulary_size),
            temperature=np.float64(self.temperature),
            contexts=self.contexts.astype(np.uint32) if small else self.contexts,
            lengths=self.lengths,
            tokens=self.tokens.astype(np.uint16) if small else self.tokens,
            probabilities=self.probabilities.astype(np.float16),
        )
        with atomic_write(path) as file:
            file.write(content.getbuffer())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NgramTable:
        """Read a file written by `save`.

        Raises
        ------
        InputError
            If the file cannot be read, is damaged, is not an N-gram table, or was written by a later version.
        """
        check_regular(path)
        try:
            with open(path, "rb") as file:
                arrays = read_arrays(file)
            version = _number(arrays, "format")
            if version != FORMAT_VERSION:
                raise InputError(f"format {version}; this version of Etesian reads {FORMAT_VERSION}")
            return cls(
                int(_number(arrays, "vocabulary_size")),
                float(_number(arrays, "temperature")),
                _row(arrays, "contexts", np.int64),
                _row(arrays, "lengths", np.uint8),
                _row(arrays, "tokens", np.int32),
                _row(arrays, "probabilities", np.float32),
            )
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        except (ArrayFileError, InputError) as error:
            raise InputError(f"{path} is not a usable N-gram table: {error}") from None


def _number(arrays: dict[str, NDArray[Any]], name: str) -> Any:
    """Return the value of a zero-dimensional array."""
    array = _array(arrays, name)
    if array.shape != () or array.dtype.kind not in "iuf" or not np.isfinite(array):
        raise InputError(f"{name} must be a number; got {array.dtype} of shape {array.shape}")
    return array.item()


def _array(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise InputError(f"array {name!r} is missing")
    return arrays[name]


def _row(arrays: dict[str, NDArray[Any]], name: str, dtype: Any) -> NDArray[Any]:
    """Return a one-dimensional array of another type; refuse values that the conversion would change."""
    array = _array(arrays, name)
    if array.ndim != 1 or array.dtype.kind not in ("f" if dtype is np.float32 else "iu"):
        raise InputError(f"{name} must be a one-dimensional array of numbers; got {array.dtype} of shape {array.shape}")
    converted = array.astype(dtype)
    if array.dtype.kind != "f" and not np.array_equal(converted, array):
        raise InputError(f"{name} must fit into {np.dtype(dtype)}; its values lie from {array.min()} to {array.max()}")
    return converted


@njit(nogil=True, cache=True)
def _slot_of(context: Any, n_slots: Any) -> int:
    """Return the first slot of a context in the hash table; `n_slots` is a power of two."""
    return int(np.int64((np.uint64(context) * _SPREAD) >> np.uint64(32)) & (n_slots - 1))


@njit(nogil=True, cache=True)
def _fill_slots(contexts: Any, slots: Any) -> None:
    for place in range(len(contexts)):
        slot = _slot_of(contexts[place], len(slots))
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = place


@njit(nogil=True, cache=True)
def row_of(table: Any, first: Any, second: Any) -> int:
    """Return the row of a pair, else that of its last token, else that of the empty context."""
    size = table.vocabulary_size
    n_pairs = len(table.contexts)
    nothing = n_pairs + size
    if not 0 <= second < size:
        return nothing
    if 0 <= first < size:
        context = int(first) * size + second
        slot = _slot_of(context, len(table.slots))
        while table.slots[slot] >= 0:
            if table.contexts[table.slots[slot]] == context:
                return int(table.slots[slot])
            slot = (slot + 1) & (len(table.slots) - 1)
    single = n_pairs + int(second)
    return single if table.starts[single] < table.starts[single + 1] else nothing
