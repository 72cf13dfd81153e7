"""Kernels of `sparse_scaling.py` and `sparse_roofline.py`: problems, with bytes and operations per update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import data
import numpy as np
from timing import seconds_of

from etesian.sparse import SGD, Epochs, Linear, Ratings, WordPairs, Workers
from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION
from etesian.sparse.problems.penalties import L2

PENALTY, STEP_SIZE = 0.02, 0.01


@dataclass(frozen=True, eq=False)
class Kernel:
    """A problem, and the minimum cost of one of its updates in any implementation.

    Parameters
    ----------
    name
        Name for tables.
    problem
        Name of the problem.
    step_size
        Step size, small enough for every schedule.
    row_bytes
        Size of one variable: its row of factors, or its coefficient with its state.
    moved_bytes
        Bytes of variables that one update reads and writes on average.
    streamed_bytes
        Size of the data of one update, read once per epoch.
    operations
        Additions and multiplications of one update.
    dtype
        Number type of the arithmetic.
    """

    name: str
    problem: Any
    step_size: float
    row_bytes: int
    moved_bytes: float
    streamed_bytes: float
    operations: float
    dtype: Any

    @property
    def n_updates(self) -> int:
        """Number of updates in an epoch."""
        return int(self.problem.touches.shape[0])

    def working_set(self) -> int:
        """Bytes of variables and data that an epoch accesses."""
        return int(self.problem.touches.shape[1] * self.row_bytes + self.n_updates * self.streamed_bytes)


def all_kernels(*, toy: bool) -> Iterator[Kernel]:
    """Make ratings, word pairs, a mesh and scattered rows; at toy size the same, small."""
    n = 20_000 if toy else 2_000_000
    user, item, rating = data.power_law_ratings(n)
    for rank in (8, 16) if toy else (32, 128):
        yield ratings_kernel(user, item, rating, rank)
    yield words_kernel(*data.power_law_pairs(n // 2), 16 if toy else 100)
    X, y = data.differences_along(data.mesh_edges(500 if toy else 100_000))
    for reduction in ("saga", "svrg"):
        yield linear_kernel(f"mesh, {reduction}", X, y, "squared", reduction)
    X, y = data.scattered_rows(n // 10, n_features=n // 5)
    yield linear_kernel("logistic, saga", X, y, "logistic", "saga")


def ratings_kernel(user: np.ndarray, item: np.ndarray, rating: np.ndarray, rank: int) -> Kernel:
    """Matrix completion in float32; per pair of numbers a dot product, two errors, two penalties and two steps."""
    problem = Ratings(user, item, rating, int(user.max()) + 1, int(item.max()) + 1, rank, PENALTY, biased=False)
    return Kernel(f"ratings, rank {rank}", problem, STEP_SIZE, row_bytes=4 * rank, moved_bytes=16 * rank, streamed_bytes=12,
                  operations=12 * rank, dtype=np.float32)  # fmt: skip


def words_kernel(left: np.ndarray, right: np.ndarray, count: np.ndarray, n_dimensions: int) -> Kernel:
    """Word embedding in float32; per pair of numbers a sum, its square and one gradient for both."""
    problem = WordPairs(left, right, count, int(right.max()) + 1, n_dimensions)
    return Kernel(f"words, {n_dimensions} dimensions", problem, STEP_SIZE, row_bytes=4 * n_dimensions, streamed_bytes=16,
                  moved_bytes=16 * n_dimensions, operations=7 * n_dimensions, dtype=np.float32)  # fmt: skip


def linear_kernel(name: str, X: data.csr_array, y: np.ndarray, loss: str, reduction: Any) -> Kernel:
    """SAGA or SVRG in float64. Exponentials (of the loss and of missed steps) count as one operation.

    A variable is a coefficient, its mean gradient and its count of steps, 8 bytes each: SAGA writes all, SVRG not the
    mean. A row has its slope in memory, which SAGA writes; streamed are columns and values, and 36 bytes of a row's
    own.
    """
    problem = Linear(X, y, (REGRESSION | CLASSIFICATION)[loss], L2(1.0 / len(y)), reduction=reduction)
    n_nonzero = X.nnz / X.shape[0]
    writes = reduction == "saga"
    return Kernel(
        name,
        problem,
        0.05 / problem.smoothness(),
        row_bytes=24,
        moved_bytes=n_nonzero * (48 if writes else 40) + (16 if writes else 8),
        streamed_bytes=36 + 12 * n_nonzero,
        operations=n_nonzero * (17 if writes else 15) + 4,
        dtype=np.float64,
    )


class TimedWorkers(Workers):
    """Workers that measure the time of updates separately from that of sums."""

    update_seconds = 0.0

    def run(self, *given: Any) -> None:
        """Execute a plan on the clock."""
        self.update_seconds += seconds_of(lambda: super(TimedWorkers, self).run(*given))


@dataclass
class Contender:
    """One schedule of a kernel. All contenders use the same memory and initial values, since the location of rows affects times."""

    kernel: Kernel
    schedule: Any
    n_workers: int

    def __post_init__(self) -> None:
        self.workers = TimedWorkers(self.n_workers)
        self.epochs = Epochs(self.kernel.problem, self.workers, method=SGD(self.kernel.step_size), schedule=self.schedule,
                             random_state=data.SEED)  # fmt: skip

    def epoch(self, values: tuple[np.ndarray, ...], memory: Any) -> tuple[float, float]:
        """Return the seconds of one epoch and of its updates."""
        for array, value in zip(memory, values, strict=True):
            array[...] = value
        self.epochs.variables = memory
        before = self.workers.update_seconds
        seconds = seconds_of(self.epochs.advance)
        return seconds, self.workers.update_seconds - before


def interleave(contenders: list[Contender], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of epochs and of their updates, each of shape (rounds, n_contenders), after a warm-up round."""
    memory = contenders[0].epochs.variables
    values = tuple(array.copy() for array in memory)
    seconds = np.array([[each.epoch(values, memory) for each in contenders] for _ in range(rounds + 1)])[1:]
    return seconds[:, :, 0], seconds[:, :, 1]


def variables_after(contender: Contender, n_epochs: int) -> list[bytes]:
    """Return the bits of the variables after some epochs."""
    for _ in range(n_epochs):
        contender.epochs.advance()
    return [np.ascontiguousarray(array).tobytes() for array in contender.epochs.variables]
