"""Plan: an order of updates, cut into batches, each batch cut into one list per worker. Knows nothing of how one is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ScheduleWarning(UserWarning):
    """A schedule was asked for that cannot help on this data.

    The run is serial instead, where that gives the same result; a merged plan is carried out as asked. For data of fewer than
    10,000 updates, where little time can be lost, the warning is given once per process.
    """


@dataclass(frozen=True, eq=False)
class Copies:
    """Variables that each list of a batch works on in a copy of its own; what all copies gained is merged when the batch ends.

    Lists are there for the result, workers for the time: a worker carries out some neighboring lists, so the number of lists, and
    with it the result, is the same for any number of workers.

    Parameters
    ----------
    hot : array of shape (n_hot,)
        The variables.
    lists : array of shape (n_batches, n_lists + 1)
        ``order[lists[b, k]:lists[b, k + 1]]`` is list k of batch b.
    """

    hot: NDArray[np.int64]
    lists: NDArray[np.int64]

    @property
    def n_lists(self) -> int:
        """Lists in each batch."""
        return self.lists.shape[1] - 1

    def __len__(self) -> int:
        """Rows that all copies take, list by list; they stand behind those of the `n_variables` themselves."""
        return self.n_lists * len(self.hot)

    def offsets(self, n_workers: int) -> NDArray[np.int64]:
        """Where the shares of workers begin and end, as in a `Plan`: neighboring lists; none for some if workers are many."""
        return np.ascontiguousarray(self.lists[:, np.arange(n_workers + 1) * self.n_lists // n_workers])

    def steps(self) -> NDArray[np.int64]:
        """Return the place of each update of a plan in its list: array of shape (n_updates,)."""
        starts = np.repeat(self.lists[:, :-1].ravel(), np.diff(self.lists, axis=1).ravel())
        return np.arange(len(starts)) - starts

    def rename(self, indptr: NDArray[Any], indices: NDArray[Any], n_variables: int) -> NDArray[Any]:
        """Return the variables of updates in plan order, a CSR pattern, with its list's copy in the place of each hot one."""
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
        Which maker made it; never ``"auto"``, which is a choice among the others.
    order : array of shape (n_updates,)
        The updates in plan order: batch by batch, within a batch worker by worker. Data is laid out in this order.
    offsets : array of shape (n_batches, n_workers + 1)
        ``order[offsets[b, p]:offsets[b, p + 1]]`` is the list of worker p in batch b.
    synchronized
        Whether workers wait for one another at the end of each batch.
    batch_size
        Updates in a batch; the last batch may have fewer.
    predicted_speedup
        Over one worker, if all updates cost the same and memory keeps up.
    note
        What the reader should know, such as why a serial plan was made in place of the one asked for.
    steps : array of shape (n_updates,), or None
        The place of each update of `order` in the order that a serial run of the plan has (the sampled one; for blocked plans
        their own), for problems that count the steps between two touches of a variable; None where nobody asked.
    copies
        What lists work on in copies, in a merged plan that exempts some variables; None elsewhere.
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
        """Lists in each batch."""
        return self.offsets.shape[1] - 1

    @property
    def n_batches(self) -> int:
        """Batches in an epoch."""
        return self.offsets.shape[0]

    @property
    def is_reproducible(self) -> bool:
        """Whether the result depends on the seed alone: always, but for a lock-free plan of several workers."""
        return self.schedule != "lock_free" or self.n_workers == 1

    def batches(self) -> Iterator[list[NDArray[np.int64]]]:
        """Each batch, as one array of updates per worker."""
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
    """What a maker of plans may be asked for; see `etesian.sparse.schedules.makers.make_plan`."""

    n_workers: int
    batch_size: int | None = None
    n_blocks: int | None = None
    n_lists: int | None = None


def balance_of(offsets: NDArray[np.int64]) -> float:
    """Return the speed-up over one worker if all updates cost the same: updates over what the busiest lists hold."""
    return float((offsets[-1, -1] - offsets[0, 0]) / np.diff(offsets, axis=1).max(axis=1).sum())
