"""Co-occurrence counts of words."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.arguments import check_integer

BLOCK = 1_000_000  # words per block, which limits memory


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """Co-occurrence counts of pairs of distinct words within a window.

    Parameters
    ----------
    words
        Vocabulary, most frequent word first; ties in alphabetical order.
    word_counts : array of shape (n_words,)
        Number of occurrences of each word.
    left, right : arrays of shape (n_pairs,)
        Indices of the two words of each pair, sorted, with ``left < right``.
    count : array of shape (n_pairs,)
        Number of co-occurrences of each pair, in either order.
    """

    words: tuple[str, ...]
    word_counts: NDArray[np.int64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    count: NDArray[np.float64]


def count_cooccurrences(
    sentences: Iterable[Iterable[str] | str],
    *,
    window: int = 5,
    min_count: int = 5,
    keep: Collection[str] = (),
) -> Cooccurrence:
    """Count pairs of words that are at most `window` words apart in a sentence.

    Parameters
    ----------
    sentences
        Sentences, each a sequence of words or a string that is split at whitespace. They are read once.
    window
        Maximum distance, at least 1. Rare words are removed first, so they do not count as distance.
    min_count
        Minimum number of occurrences of a word.
    keep
        Words that are kept even if they are rare.
    """
    check_integer("window", window, at_least=1)
    check_integer("min_count", min_count, at_least=1)
    names, ids, lengths = _read(sentences)
    occurrences = np.bincount(ids, minlength=len(names))
    kept = [word for word, i in names.items() if occurrences[i] >= min_count or word in keep]
    kept.sort(key=lambda word: (-occurrences[names[word]], word))
    if len(kept) < 2:
        raise ValueError(
            f"sentences must contain at least two distinct words that occur {min_count} times or more (min_count); "
            f"found {len(kept)} among {len(names)} different words"
        )
    new_id = np.full(len(names), -1, np.int64)
    new_id[[names[word] for word in kept]] = np.arange(len(kept))
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    ids = new_id[ids]
    sentence, ids = sentence[ids >= 0], ids[ids >= 0]
    keys, counts = _count_pairs(ids, sentence, window, len(kept))
    left, right = np.divmod(keys, len(kept))
    word_counts = np.bincount(ids, minlength=len(kept))
    return Cooccurrence(
        tuple(kept), word_counts, left.astype(np.int32), right.astype(np.int32), counts.astype(np.float64)
    )


def add_cooccurrences(a: Cooccurrence, b: Cooccurrence) -> Cooccurrence:
    """Add the counts of two texts; the sum is exact unless a word was removed from only one of them."""
    occurrences = Counter(dict(zip(a.words, a.word_counts.tolist(), strict=True)))
    occurrences.update(dict(zip(b.words, b.word_counts.tolist(), strict=True)))
    words = sorted(occurrences, key=lambda word: (-occurrences[word], word))
    place = {word: number for number, word in enumerate(words)}
    keys, counts = [], []
    for part in (a, b):
        new_id = np.array([place[word] for word in part.words], np.int64)
        left, right = new_id[part.left], new_id[part.right]
        keys.append(np.minimum(left, right) * len(words) + np.maximum(left, right))
        counts.append(part.count)
    merged, pair = np.unique(np.concatenate(keys), return_inverse=True)
    left, right = np.divmod(merged, len(words))
    return Cooccurrence(
        tuple(words),
        np.array([occurrences[word] for word in words], np.int64),
        left.astype(np.int32),
        right.astype(np.int32),
        np.bincount(pair, weights=np.concatenate(counts), minlength=len(merged)).astype(np.float64),
    )


def as_sentences(sentences: Iterable[Iterable[str] | str]) -> Iterator[Sequence[str]]:
    """Convert sentences to sequences of words; strings are split at whitespace."""
    if isinstance(sentences, str):
        raise TypeError("sentences must be an iterable of sentences; got one string: put it in a list, or split it")
    for number, sentence in enumerate(sentences):
        try:
            words = sentence.split() if isinstance(sentence, str) else list(sentence)
        except TypeError:
            raise TypeError(f"sentence {number} must be a string or hold strings; got {sentence!r}") from None
        for word in words:
            if not isinstance(word, str):
                raise TypeError(f"sentence {number} must be a string or hold strings; got {word!r} in it")
        yield words


def _read(sentences: Iterable[Iterable[str] | str]) -> tuple[dict[str, int], NDArray[np.int64], NDArray[np.int64]]:
    """Number words in order of appearance; return the numbers, the text as numbers, and the lengths of sentences."""
    names: dict[str, int] = {}
    ids, lengths = array("q"), array("q")
    for words in as_sentences(sentences):
        ids.extend([names.setdefault(word, len(names)) for word in words])
        lengths.append(len(words))
    return names, np.array(ids, np.int64), np.array(lengths, np.int64)


def _count_pairs(
    ids: NDArray[np.int64], sentence: NDArray[np.int64], window: int, n_words: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs as ``smaller * n_words + larger``, sorted, and their counts."""
    keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for start in range(0, len(ids), BLOCK):
        met = [keys_at_distance for distance in range(1, window + 1)
               if len(keys_at_distance := _pairs_at(ids, sentence, start, distance, n_words))]  # fmt: skip
        new, times = np.unique(np.concatenate([np.empty(0, np.int64), *met]), return_counts=True)
        merged, place = np.unique(np.concatenate([keys, new]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, times]), minlength=len(merged)).astype(np.int64)
        keys = merged
    return keys, counts


def _pairs_at(
    ids: NDArray[np.int64], sentence: NDArray[np.int64], start: int, distance: int, n_words: int
) -> NDArray[np.int64]:
    """Return the pairs at one distance with the first word in the block that begins at `start`."""
    first, second = slice(start, min(start + BLOCK, len(ids) - distance)), start + distance
    if first.stop <= start:
        return np.empty(0, np.int64)
    a = ids[first]
    b = ids[second : second + len(a)]
    together = (sentence[first] == sentence[second : second + len(a)]) & (a != b)
    a, b = a[together], b[together]
    return np.minimum(a, b) * n_words + np.maximum(a, b)
