"""WordEmbedding: vectors of words from the company they keep."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from etesian.sparse.cooccurrence import Cooccurrence, count_cooccurrences
from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.minimize import Callback, Seed
from etesian.sparse.plan import Schedule
from etesian.sparse.problems.factors import WordPairs


class WordEmbedding(Minimizer):
    """Embed words so that log counts of pairs are squared norms of sums, on all cores with the serial run's exact result.

    Minimized is the sum over pairs of A (log A - |v + v'|^2 - C)^2, where A counts how often two words stand near one another
    (Pan et al. 2016, section 5), by SGD; C is solved in closed form after every epoch.

    Parameters
    ----------
    n_dimensions
        Numbers in a vector, at least 1.
    window
        Words at most this far apart in a sentence make a pair.
    min_count
        Words that occur less often are left out.
    max_weight
        Pairs that were met more often weigh no more than this, so that "of the" does not outweigh the rest; above 0.
    step_size, step_decay, max_iter, tol, schedule, n_jobs, random_state, callback, verbose
        See `etesian.sparse.minimize`. A step size is for a pair of weight `max_weight`, the heaviest.

    Attributes
    ----------
    vectors_ : array of shape (n_words, n_dimensions)
        float32.
    words_ : tuple of str
        The word of each row, most frequent first.
    vocabulary_ : dict of str to int
        The row of each word.
    word_counts_ : array of shape (n_words,)
        How often each word occurs.
    shift_ : float
        C.
    n_iter_, objective_, plan_, outcome_
        Epochs, the objective after each, the plan, and how the fit ended.
    """

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
        tol: float | None = 1e-4,
        schedule: Schedule = "conflict_free",
        n_jobs: int | None = -1,
        random_state: Seed = None,
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
        self.schedule = schedule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose

    def fit(self, sentences: Iterable[Sequence[str] | str] | Cooccurrence, y: None = None) -> Self:
        """Fit vectors to text.

        Parameters
        ----------
        sentences
            Sentences, each a sequence of words or a string, which is split at white space; or what
            `etesian.sparse.count_cooccurrences` made of them.
        y
            Not used; here for pipelines.
        """
        if self.n_dimensions < 1:
            raise ValueError(f"n_dimensions must be at least 1; got {self.n_dimensions}")
        if not self.max_weight > 0:
            raise ValueError(f"max_weight must be above 0; got {self.max_weight}")
        counted = sentences
        if not isinstance(counted, Cooccurrence):
            counted = count_cooccurrences(counted, window=self.window, min_count=self.min_count)
        if len(counted.count) == 0:
            raise ValueError("no two words stand near one another: sentences must be longer than one word")
        problem = WordPairs(
            counted.left,
            counted.right,
            counted.count,
            n_words=len(counted.words),
            n_dimensions=self.n_dimensions,
            max_weight=self.max_weight,
        )
        result = self._minimize(problem)
        self.vectors_, shift = result.variables
        self.shift_ = float(shift[0])
        self.words_, self.word_counts_ = counted.words, counted.word_counts
        self.vocabulary_ = {word: row for row, word in enumerate(counted.words)}
        return self._finish(result)

    def vector(self, word: str) -> NDArray[np.float32]:
        """Return the vector of one word, of shape (n_dimensions,)."""
        check_is_fitted(self)
        if word not in self.vocabulary_:
            raise KeyError(
                f"{word!r} is not among the {len(self.words_):,} words with at least {self.min_count} occurrences"
            )
        return self.vectors_[self.vocabulary_[word]]

    def most_similar(self, word: str | NDArray[np.floating], n: int = 10) -> list[tuple[str, float]]:
        """Return the n words nearest to a word (itself left out) or to a vector, each with its cosine, nearest first."""
        given = self.vector(word) if isinstance(word, str) else np.asarray(word)
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
        path = Path(path)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            try:
                file.write(f"{len(self.words_)} {self.vectors_.shape[1]}\n")
                for word, vector in zip(self.words_, self.vectors_, strict=True):
                    file.write(f"{word} {' '.join(map(repr, vector.tolist()))}\n")
            except BaseException:
                os.unlink(file.name)
                raise
        Path(file.name).replace(path)
