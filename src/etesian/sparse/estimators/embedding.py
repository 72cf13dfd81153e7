"""WordEmbedding: word vectors from co-occurrence counts."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from etesian._shared.files import atomic_write
from etesian.sparse.arguments import check_integer, check_number
from etesian.sparse.cooccurrence import Cooccurrence, add_cooccurrences, as_sentences, count_cooccurrences
from etesian.sparse.epochs import Order, Seed
from etesian.sparse.estimators.held_out import hold_out
from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.problems.pairs import KnownRows
from etesian.sparse.problems.words import WordPairs
from etesian.sparse.schedules.makers import Schedule
from etesian.sparse.stopping import Callback

Sentences = Iterable[Iterable[str] | str]


class WordEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Minimizer):
    """Word embedding from co-occurrence counts, fit in parallel with the same result as in serial.

    The objective is the sum over pairs of words of A (log A - |v + v'|^2 - C)^2, where A is their co-occurrence count
    (Pan et al. 2016, section 5). It is minimized by SGD; C is solved for in closed form after every epoch.

    Parameters
    ----------
    n_dimensions
        Number of dimensions of the vectors, at least 1.
    window
        Maximum distance between the two words of a pair in a sentence.
    min_count
        Minimum number of occurrences of a word. Rarer words are dropped.
    max_weight
        Upper limit of the weight of a pair, above 0, so that very frequent pairs do not dominate.
    step_size, step_decay, max_iter, schedule, n_jobs, random_state, callback, verbose
        See `etesian.sparse.driver.minimize`. The step size applies to a pair of weight `max_weight`.
    tol
        Tolerance of the stopping criterion, as in `SparseClassifier`: a fit has converged when the length of a gradient
        step, with each word scaled to curvature 1, is at most `tol` times the square root of twice the objective,
        which has not risen. A fit that reaches `max_iter` before warns with the value reached. The default None runs
        `max_iter` epochs, as gensim and GloVe do. A constant step size levels off at about 0.1; smaller values
        need `step_decay` below 1. scikit-learn's ``NMF(solver="cd")`` compares the gradient with that of the first epoch.
    early_stopping
        If True, hold out pairs and monitor their loss in place of the objective. The vectors are those of the epoch
        with the lowest held-out loss.
    validation_fraction
        Fraction of the pairs to hold out.
    n_iter_no_change
        Number of consecutive epochs without an improvement of the held-out loss by the fraction `tol` of itself (any
        improvement if `tol` is None) after which to stop; for `early_stopping`.
    warm_start
        True if `fit` starts from the current vectors of known words.
    order
        Order of the updates: ``"each_epoch"`` for a new order in every epoch, ``"fixed"`` to repeat the first; see
        `etesian.sparse.driver.minimize`.

    Attributes
    ----------
    vectors_ : array of shape (n_words, n_dimensions)
        Word vectors, float32.
    words_ : tuple of str
        Word of each row, most frequent first.
    vocabulary_ : dict of str to int
        Row of each word.
    word_counts_ : array of shape (n_words,)
        Number of occurrences of each word.
    shift_ : float
        Constant C.
    cooccurrence_ : Cooccurrence
        Counts so far, to which `partial_fit` adds.
    n_iter_, objective_, plan_, outcome_
        Number of epochs, objective after each epoch (empty if `tol` is None and there is no callback), last plan, and
        outcome of the fit, such as ``"converged"`` or ``"max_iter"``; see `etesian.sparse.driver.Result`.
    validation_loss_
        Loss on the held-out pairs after each epoch; empty without `early_stopping`.
    """

    vectors_: NDArray[np.float32]
    words_: tuple[str, ...]
    vocabulary_: dict[str, int]
    cooccurrence_: Cooccurrence

    def __init__(
        self,
        n_dimensions: int = 100,
        *,
        window: int = 10,
        min_count: int = 5,
        max_weight: float = 100.0,
        step_size: float = 0.01,
        step_decay: float = 1.0,
        max_iter: int = 50,
        tol: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 1,
        warm_start: bool = False,
        schedule: Schedule = "conflict_free",
        n_jobs: int | None = -1,
        random_state: Seed = None,
        order: Order = "each_epoch",
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_dimensions = n_dimensions
        self.window = window
        self.min_count = min_count
        self.max_weight = max_weight
        self.step_size = step_size
        self.step_decay = step_decay
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.schedule = schedule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.order = order
        self.callback = callback
        self.verbose = verbose

    def fit(self, sentences: Sentences | Cooccurrence, y: object = None) -> Self:
        """Fit word vectors.

        Parameters
        ----------
        sentences
            Sentences, each a sequence of words or a string that is split at whitespace; or the result of
            `etesian.sparse.count_cooccurrences`.
        y
            Ignored, present for API consistency.
        """
        self._check_parameters()
        counted = self._count(sentences)
        return self._fit(counted, known=self._known(counted) if self.warm_start and self._is_fitted() else None)

    def partial_fit(self, sentences: Sentences | Cooccurrence, y: object = None) -> Self:
        """Add the counts of more text, and run one epoch over all counts at the initial step size.

        Known words keep their vectors, and all of their occurrences count. New words that occur `min_count` times in
        the new text are added with random vectors. The first call is a `fit` of one epoch. No pairs are held out.

        Parameters
        ----------
        sentences, y
            See `fit`.
        """
        self._check_parameters()
        if not self._is_fitted():
            return self._fit(self._count(sentences), epochs=1)
        counted = add_cooccurrences(self.cooccurrence_, self._count(sentences, keep=self.vocabulary_))
        return self._fit(counted, epochs=1, known=self._known(counted), epochs_before=self.n_iter_)

    def _is_fitted(self) -> bool:
        return hasattr(self, "vectors_")

    def _check_parameters(self) -> None:
        check_integer("n_dimensions", self.n_dimensions, at_least=1)
        check_number("max_weight", self.max_weight, "above 0", lambda value: value > 0)
        self._check_stopping()

    def _count(self, sentences: Sentences | Cooccurrence, keep: Collection[str] = ()) -> Cooccurrence:
        if isinstance(sentences, Cooccurrence):
            return sentences
        return count_cooccurrences(sentences, window=self.window, min_count=self.min_count, keep=keep)

    def _known(self, counted: Cooccurrence) -> KnownRows:
        """Return the vectors of the last fit, by index of their words in `counted`."""
        if self.vectors_.shape[1] != self.n_dimensions:
            raise ValueError(
                f"n_dimensions must equal that of the last fit, {self.vectors_.shape[1]}, to continue it; "
                f"got {self.n_dimensions}"
            )
        known = [(row, self.vocabulary_[word]) for row, word in enumerate(counted.words) if word in self.vocabulary_]
        rows, old_rows = np.array(known, np.int64).reshape(-1, 2).T
        return KnownRows(rows, self.vectors_[old_rows])

    def _fit(
        self,
        counted: Cooccurrence,
        *,
        epochs: int | None = None,
        known: KnownRows | None = None,
        epochs_before: int = 0,
    ) -> Self:
        if len(counted.count) == 0:
            raise ValueError("sentences must contain at least one pair of words; each has only one word")
        rng = self._generator(epochs_before)
        is_held = np.zeros(len(counted.count), bool)
        if self.early_stopping and epochs is None:
            is_held = hold_out(counted.left, counted.right, fraction=self.validation_fraction, rng=rng.spawn(1)[0])
        result = self._minimize(
            self._problem(counted, ~is_held, known),
            held_out=self._problem(counted, is_held) if is_held.any() else None,
            max_iter=epochs or self.max_iter,
            tol=self.tol if epochs is None else None,
            random_state=rng,
        )
        self._keep(counted, *result.variables)
        return self._finish(result, epochs_before=epochs_before)

    def _problem(self, counted: Cooccurrence, chosen: NDArray[np.bool_], known: KnownRows | None = None) -> WordPairs:
        return WordPairs(
            counted.left[chosen],
            counted.right[chosen],
            counted.count[chosen],
            n_words=len(counted.words),
            n_dimensions=self.n_dimensions,
            max_weight=self.max_weight,
            known=known,
        )

    def _keep(self, counted: Cooccurrence, vectors: NDArray[np.float32], shift: NDArray[np.float32]) -> None:
        self.vectors_, self.shift_ = vectors, float(shift[0])
        self.cooccurrence_ = counted
        self.words_, self.word_counts_ = counted.words, counted.word_counts
        self.vocabulary_ = {word: row for row, word in enumerate(counted.words)}

    @property
    def _n_features_out(self) -> int:
        return self.vectors_.shape[1]

    def transform(self, sentences: Sentences) -> NDArray[np.float32]:
        """Return the mean vector of the known words of each sentence, or 0 if no word is known.

        Parameters
        ----------
        sentences
            Sentences, each a sequence of words or a string that is split at whitespace.

        Returns
        -------
        array of shape (n_sentences, n_dimensions)
            Mean vector of each sentence.
        """
        check_is_fitted(self)
        rows, ends = [], [0]
        for sentence in as_sentences(sentences):
            rows += [self.vocabulary_[word] for word in sentence if word in self.vocabulary_]
            ends.append(len(rows))
        share = np.repeat(1 / np.maximum(np.diff(ends), 1), np.diff(ends)).astype(np.float32)
        return csr_array((share, rows, ends), shape=(len(ends) - 1, len(self.words_))) @ self.vectors_

    def vector(self, word: str) -> NDArray[np.float32]:
        """Return the vector of one word, of shape (n_dimensions,)."""
        check_is_fitted(self)
        if word not in self.vocabulary_:
            raise KeyError(
                f"{word!r} is not in the vocabulary of {len(self.words_):,} words with at least {self.min_count} occurrences"
            )
        return self.vectors_[self.vocabulary_[word]]

    def most_similar(self, word: str | NDArray[np.floating], n: int = 10) -> list[tuple[str, float]]:
        """Return the n words with the highest cosine similarity to a word or vector, with their cosines in descending order."""
        check_integer("n", n, at_least=1)
        given = self.vector(word) if isinstance(word, str) else np.asarray(word)
        if given.dtype.kind not in "iuf" or given.shape != self.vectors_.shape[1:]:
            raise ValueError(f"word must be a word, or a vector of {self.vectors_.shape[1]} numbers; got {word!r:.60}")
        lengths = np.linalg.norm(self.vectors_, axis=1) * np.linalg.norm(given)
        cosine = self.vectors_ @ given / np.maximum(lengths, np.finfo(np.float32).tiny)
        order = np.argsort(-cosine, kind="stable")
        if isinstance(word, str):
            order = order[order != self.vocabulary_[word]]
        return [(self.words_[row], float(cosine[row])) for row in order[:n]]

    def save_word2vec(self, path: str | os.PathLike[str]) -> None:
        """Write the vectors in word2vec's text format: a line of sizes, then a word and its numbers on each line."""
        check_is_fitted(self)
        spaced = next((word for word in self.words_ if not word or any(c.isspace() for c in word)), None)
        if spaced is not None:
            raise ValueError(f"word2vec's text format separates by white space, so it cannot hold the word {spaced!r}")
        with atomic_write(path, "w") as file:
            file.write(f"{len(self.words_)} {self.vectors_.shape[1]}\n")
            for word, vector in zip(self.words_, self.vectors_, strict=True):
                file.write(f"{word} {' '.join(map(repr, vector.tolist()))}\n")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = tags.input_tags.sparse = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # vectors are float32
        tags.no_validation = True  # words, not features
        return tags
