"""Word vectors: time to a target with serial, conflict-free and lock-free schedules, and equality of the results."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from etesian._shared.files import atomic_write
from etesian.bench import Suite, Target
from etesian.sparse import SGD, Cooccurrence, Epochs, WordPairs, Workers, count_cooccurrences
from etesian.sparse._engine.workers import count_workers
from etesian.sparse.schedules.makers import Schedule
from etesian.suite.english import sentences

TARGET = Target("r2", 0.92)
RACED: tuple[Schedule, ...] = ("serial", "conflict_free", "lock_free")
_ARRAYS = ("word_counts", "left", "right", "count")
N_DIMENSIONS, WINDOW, MIN_COUNT, STEP_SIZE, MAX_EPOCHS = 200, 10, 5, 0.02, 300


def words(folder: str | os.PathLike[str] | None = None) -> Suite:
    """Compare the times of three schedules to `TARGET` on English text from the Python installation.

    Parameters
    ----------
    folder
        Folder of the cached counts. Default: the cache of the user.
    """
    path = save_counts(Path(folder) if folder is not None else _cache_folder())
    return Suite("words", [WordVectors(schedule, str(path)) for schedule in RACED], TARGET, budget_seconds=120)


class WordVectors:
    """Train word vectors, one epoch per slice. The first slice also samples, plans and arranges the data.

    Metrics are `r2`, the share of the weighted variance of log counts that the vectors explain, and `fingerprint`, a
    number made from all bits of the vectors: two runs with equal fingerprints have equal vectors.

    Parameters
    ----------
    schedule
        Schedule: ``"serial"``, ``"conflict_free"`` or ``"lock_free"``.
    counts
        File written by `save_counts`.
    n_jobs
        Number of threads; -1 means all cores.
    """

    def __init__(self, schedule: Schedule, counts: str, *, n_jobs: int = -1) -> None:
        self.name: str = schedule
        self.schedule = schedule
        self.counts = counts
        self.n_jobs = n_jobs

    def prepare(self, seed: int) -> None:
        """Load the counts, start threads, and run an epoch on a copy to compile everything."""
        counted = load_counts(self.counts)
        self._problem = WordPairs(counted.left, counted.right, counted.count, len(counted.words), N_DIMENSIONS)
        self.units = {"pairs": float(len(counted.count))}
        self._seed = seed
        self._workers = Workers(count_workers(self.n_jobs))
        trial = self._start()
        start = trial.variables[0].copy()
        self._variance = _weighted_variance(self._problem)
        self._objective, self._vectors = trial.objective(), start
        trial.advance()
        self._epochs: Epochs | None = None

    def _start(self) -> Epochs:
        return Epochs(
            self._problem, self._workers, method=SGD(STEP_SIZE), schedule=self.schedule, random_state=self._seed
        )

    def advance(self) -> bool:
        """Run one epoch, and solve for the common shift."""
        if self._epochs is None:
            self._epochs = self._start()
        if self._epochs.done == MAX_EPOCHS:
            return False
        self._epochs.advance()
        self._objective, self._vectors = self._epochs.objective(), self._epochs.variables[0]
        return True

    def measure(self) -> Mapping[str, float]:
        """Return the fraction of explained variance and the fingerprint of the vectors."""
        digest = hashlib.sha256(self._vectors.tobytes()).digest()
        return {
            "r2": 1.0 - self._objective / self._variance,
            "fingerprint": float(int.from_bytes(digest[:6], "big")),  # 48 bits: exact in a float
        }


def _weighted_variance(problem: WordPairs) -> float:
    mean = np.average(problem.log_count, weights=problem.weight)
    return float(np.average((problem.log_count - mean) ** 2, weights=problem.weight))


def save_counts(folder: Path, progress: Callable[[float], object] | None = None) -> Path:
    """Count pairs of words unless the folder already has the counts of this Python version, and return the file."""
    path = folder / f"words-python-{platform.python_version()}-window-{WINDOW}-min-{MIN_COUNT}.npz"
    if path.exists():
        return path
    counted = count_cooccurrences(sentences(progress), window=WINDOW, min_count=MIN_COUNT)
    with atomic_write(path, make_parents=True) as file:
        np.savez(file, words=np.array(counted.words), **{name: getattr(counted, name) for name in _ARRAYS})
    return path


def load_counts(path: str | os.PathLike[str]) -> Cooccurrence:
    """Read a file of `save_counts`."""
    with np.load(path, allow_pickle=False) as file:
        return Cooccurrence(tuple(file["words"].tolist()), *(file[name] for name in _ARRAYS))


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etesian"
