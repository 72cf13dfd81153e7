"""Plan: an order of updates, cut into batches, each batch cut into one list per worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ScheduleWarning(UserWarning):
    """Warning that the requested schedule is not predicted to be faster than a serial run on this data.

    The run is serial instead if that gives the same result; a merged plan is kept. For fewer than 10,000 updates, where
    little time is at stake, the warning is issued once per process.
    """


@dataclass(frozen=True, eq=False)
class Copies:
    """Hot variables, of which each list of a batch changes a copy of its own; the changes are merged when the batch ends.

    The number of lists, and so the result, is the same for any number of workers: a worker runs some neighboring lists.

    Parameters
    ----------
    hot : array of shape (n_hot,)
        Indices of the variables.
    lists : array of shape (n_batches, n_lists + 1)
        ``order[lists[b, k]:lists[b, k + 1]]`` is list k of batch b.
    """

    hot: NDArray[np.int64]
    lists: NDArray[np.int64]

    @property
    def n_lists(self) -> int:
        """Number of lists in each batch."""
        return self.lists.shape[1] - 1

    def __len__(self) -> int:
        """Number of rows of all copies, which follow the rows of the variables, list by list."""
        return self.n_lists * len(self.hot)

    def offsets(self, n_workers: int) -> NDArray[np.int64]:
        """Return the bounds of the shares of workers, as in `Plan`: neighboring lists, or none if there are fewer lists."""
        return np.ascontiguousarray(self.lists[:, np.arange(n_workers + 1) * self.n_lists // n_workers])

    def steps(self) -> NDArray[np.int64]:
        """Return the position of each update of a plan in its list: array of shape (n_updates,)."""
        starts = np.repeat(self.lists[:, :-1].ravel(), np.diff(self.lists, axis=1).ravel())
        return np.arange(len(starts)) - starts

    def rename(self, indptr: NDArray[Any], indices: NDArray[Any], n_variables: int) -> NDArray[Any]:
        """Return the variables of updates in plan order, a CSR pattern, with hot ones replaced by the copies of their list."""
        rank = np.full(n_variables, -1)
        rank[self.hot] = np.arange(len(self.hot))
        n_batches = len(self.lists)
        list_of = np.repeat(np.tile(np.arange(self.n_lists), n_batches), np.diff(self.lists, axis=1).ravel())
        copied = np.repeat(list_of, np.diff(indptr)) * len(self.hot) + rank[indices] + n_variables
        fits = n_variables + len(self) <= np.iinfo(indices.dtype).max
        return np.where(rank[indices] >= 0, copied, indices).astype(indices.dtype if fits else np.int64)


@dataclass(frozen=True, eq=False)
class Plan:
    """An order of updates, cut into batches, each batch cut into one list per worker.

    Parameters
    ----------
    schedule
        Name of the schedule; never ``"auto"``, which chooses among the others.
    order : array of shape (n_updates,)
        Updates in plan order: by batch, then by worker. Data is laid out in this order.
    offsets : array of shape (n_batches, n_workers + 1)
        ``order[offsets[b, p]:offsets[b, p + 1]]`` is the list of worker p in batch b.
    synchronized
        True if a barrier follows each batch.
    batch_size
        Number of updates in a batch; the last batch may have fewer.
    predicted_speedup
        Predicted speed-up over one worker if all updates take equally long and memory bandwidth is no bottleneck.
    note
        Remark for the user, such as the reason for a serial plan.
    steps : array of shape (n_updates,), or None
        Position of each update of `order` in the serial order of the plan (the sampled order, or a blocked plan's own),
        for problems that count the steps between two touches of a variable. None unless requested.
    copies
        Copies of hot variables in a merged plan that exempts some; otherwise None.
    """

    schedule: str
    order: NDArray[np.int64]
    offsets: NDArray[np.int64]
    synchronized: bool
    batch_size: int
    predicted_speedup: float
    note: str | None = None
    steps: NDArray[np.int64] | None = None
    copies: Copies | None = None

    @property
    def n_workers(self) -> int:
        """Number of lists in each batch."""
        return self.offsets.shape[1] - 1

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch."""
        return self.offsets.shape[0]

    @property
    def is_reproducible(self) -> bool:
        """Return True if the result depends on the seed alone: true of all but lock-free plans for several workers."""
        return self.schedule != "lock_free" or self.n_workers == 1

    def batches(self) -> Iterator[list[NDArray[np.int64]]]:
        """Yield each batch as a list with one array of updates per worker."""
        for cuts in self.offsets:
            yield [self.order[start:stop] for start, stop in pairwise(cuts)]

    def __str__(self) -> str:
        text = (
            f"{self.schedule} plan: {len(self.order):,} updates in {self.n_batches:,} batches of {self.batch_size:,} "
            f"for {self.n_workers} worker{'s' * (self.n_workers > 1)}, predicted speed-up {self.predicted_speedup:.2f}"
        )
        return text if self.note is None else f"{text} ({self.note})"


@dataclass(frozen=True)
class Sizes:
    """Options of a plan; see `etesian.sparse.schedules.makers.make_plan`."""

    n_workers: int
    batch_size: int | None = None
    n_blocks: int | None = None
    n_lists: int | None = None


def balance_of(offsets: NDArray[np.int64]) -> float:
    """Return the speed-up over one worker if all updates take equally long: all updates over those of the longest lists."""
    return float((offsets[-1, -1] - offsets[0, 0]) / np.diff(offsets, axis=1).max(axis=1).sum())
