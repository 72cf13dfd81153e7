"""ConflictReport: conflicts between updates, predicted speed-ups, and a recommended schedule.

Predictions use the sparsity pattern only: they count updates and barriers, and assume that all updates take equally
long.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, issparse

from etesian._shared.files import atomic_write
from etesian.sparse.problems.pairs import pair_touches
from etesian.sparse.schedules.conflicts import (
    BARRIER_UPDATES,
    LARGEST_BATCH,
    SMALLEST_BATCH,
    Touches,
    as_touches,
    best_batch_size,
    measure_balance,
)
from etesian.sparse.schedules.hot_variables import predict_speedup
from etesian.sparse.schedules.levels import best_capacity, levels_of
from etesian.sparse.schedules.merged import plan_merged
from etesian.sparse.schedules.plan import Sizes
from etesian.sparse.schedules.serial import WORTH_PLANNING
from etesian.sparse.speedup_chart import speedup_svg

WORKERS = (2, 4, 8, 16, 32, 64)
N_HOTTEST = 5
HUB = 0.1  # smallest fraction of updates for which the verdict names a variable

UpdatesAre = Literal["rows", "elements", "edges"]


@dataclass(frozen=True)
class HotVariable:
    """A variable that many updates touch.

    Parameters
    ----------
    name
        Name given by the caller, or kind and index.
    share
        Fraction of the updates that touch it.
    """

    name: str
    share: float


@dataclass(frozen=True)
class BatchComponents:
    """Components of batches of one size.

    Parameters
    ----------
    batch_size
        Number of updates in a batch.
    largest_component
        Number of updates in the largest component found, as a fraction of the batch.
    speedups
        Predicted speed-up for each of the `workers` of the report.
    """

    batch_size: int
    largest_component: float
    speedups: tuple[float, ...]


@dataclass(frozen=True)
class ConflictReport:
    """Conflicts between updates, and predicted speed-ups.

    Parameters
    ----------
    n_updates, n_variables
        Number of updates and of variables.
    mean_touches, most_touches
        Mean and maximum number of variables that an update touches.
    hottest
        Variables touched by the most updates, in descending order.
    workers
        Numbers of workers for which speed-ups are predicted.
    batches
        Components by batch size.
    components, levels
        Predicted speed-ups of ``"conflict_free"`` and ``"levels"`` plans for each number of workers, at their best
        sizes.
    n_single_levels
        Number of levels of single updates, which is the length of the longest chain of dependent updates.
    single_levels
        Predicted speed-ups for each number of workers if every such level ends in a barrier.
    n_exempt, merged
        Number of hot variables that a ``"merged"`` plan exempts, and its predicted speed-ups; None and empty unless
        updates are rows.
    """

    n_updates: int
    n_variables: int
    mean_touches: float
    most_touches: int
    hottest: tuple[HotVariable, ...]
    workers: tuple[int, ...]
    batches: tuple[BatchComponents, ...]
    components: tuple[float, ...]
    levels: tuple[float, ...]
    n_single_levels: int
    single_levels: tuple[float, ...]
    n_exempt: int | None = None
    merged: tuple[float, ...] = ()

    @property
    def most_parallel(self) -> float:
        """Number of updates over the longest chain, an upper bound on the speed-up of any exact schedule."""
        return self.n_updates / self.n_single_levels

    @property
    def verdict(self) -> str:
        """Recommended schedule, as a sentence."""
        by_components, by_levels = max(self.components), max(self.levels)
        if max(by_components, by_levels) < WORTH_PLANNING:
            text = "One component at any batch size: threads are not predicted to help."
        elif by_components < WORTH_PLANNING:
            text = (
                f"One component at any batch size, but levels split it: schedule='levels', {self._reach(self.levels)}."
            )
        elif by_levels > by_components * WORTH_PLANNING:
            text = (
                f"Batches split into small components: schedule='conflict_free', {self._reach(self.components)}; "
                f"schedule='levels' is faster still, {self._reach(self.levels)}."
            )
        else:
            text = f"Batches split into small components: schedule='conflict_free', {self._reach(self.components)}."
        hubs = [f"{hot.name} ({hot.share:.0%})" for hot in self.hottest if hot.share >= HUB]
        if hubs:
            text += f" Hot variables that connect updates: {', '.join(hubs)}."
        if self.n_exempt and max(self.merged) > max(by_components, by_levels) * WORTH_PLANNING:
            text += (
                f" Linear models may exempt the hottest {self.n_exempt:,}: schedule='merged', {self._reach(self.merged)}; "
                "its result is not the serial run's, but the same for any number of workers."
            )
        return text

    def _reach(self, speedups: tuple[float, ...]) -> str:
        best = int(np.argmax(speedups))
        return f"predicted up to {speedups[best]:.1f} times as fast, with {self.workers[best]} workers"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as numbers, strings, lists and dictionaries, for JSON."""
        return {**asdict(self), "most_parallel": self.most_parallel, "verdict": self.verdict}

    def __str__(self) -> str:
        rows = [
            (f"components, batches of {b.batch_size:,} (largest {b.largest_component:.0%})", b.speedups)
            for b in self.batches
        ]
        rows += [
            ("components, best batch size", self.components),
            ("levels", self.levels),
            ("levels of single updates", self.single_levels),
        ]
        if self.n_exempt is not None:
            rows.append((f"merged, {self.n_exempt:,} hot variables exempt", self.merged))
        width = max(len(label) for label, _ in rows)
        lines = [
            f"{self.n_updates:,} updates of {self.n_variables:,} variables, each touches {self.mean_touches:.1f} "
            f"(at most {self.most_touches:,})",
            f"longest chain {self.n_single_levels:,} updates: at most {self.most_parallel:,.1f} at once",
            "hottest: " + ", ".join(f"{hot.name} in {hot.share:.1%}" for hot in self.hottest),
            "predicted speed-up".ljust(width) + "".join(f"{f'{p} workers':>12}" for p in self.workers),
            *(label.ljust(width) + "".join(f"{value:12.1f}" for value in values) for label, values in rows),
            self.verdict,
        ]
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a plot of the predicted speed-up by number of workers, with the ideal line, to an SVG file."""
        lines = {"components": self.components, "levels": self.levels}
        with atomic_write(path, "w") as file:
            file.write(speedup_svg(self.workers, lines))


def inspect_conflicts(
    X: Any, *, updates: UpdatesAre = "rows", names: Sequence[str] | None = None, random_state: int = 0
) -> ConflictReport:
    """Analyze the conflicts between updates, and predict speed-ups, without running an update.

    Parameters
    ----------
    X : scipy sparse matrix or array of shape (n_rows, n_columns)
        Matrix that defines the updates.
    updates
        Definition of an update. ``"rows"``: a row touches its stored columns, as in a feature matrix. ``"elements"``: a
        stored element touches its row and its column, as in a matrix of ratings. ``"edges"``: a stored element off the
        diagonal of a square matrix is an undirected edge, which touches both of its vertices.
    names
        Names of the variables: columns for ``"rows"``, rows followed by columns for ``"elements"``, vertices for
        ``"edges"``.
    random_state
        Seed of the order of the updates.

    Raises
    ------
    TypeError
        If `X` is not a scipy sparse matrix or array.
    ValueError
        If `updates` is invalid, an adjacency matrix is not square, there are no updates, or the number of names is
        wrong.
    """
    touches, called = _read_touches(X, updates)
    if touches.shape[0] == 0:
        raise ValueError(f"X must contain at least one update; with updates={updates!r} it contains none")
    if names is not None:
        if len(names) != touches.shape[1]:
            raise ValueError(f"names must name {touches.shape[1]:,} variables; got {len(names):,}")
        called = [str(name) for name in names]
    order = np.random.default_rng(random_state).permutation(touches.shape[0])
    report = _measure(as_touches(touches), order, called)
    return _with_merged(report, touches, order) if updates == "rows" else report


def _read_touches(X: Any, updates: UpdatesAre) -> tuple[csr_array, Any]:
    """Return the touches, and the names of the variables."""
    if not issparse(X):
        raise TypeError(f"X must be a scipy sparse matrix or array; got {type(X).__name__}")
    matrix: Any = X
    if updates == "rows":
        return csr_array(matrix), _Numbered("column", 0)
    elements: Any = coo_array(matrix)
    if updates == "elements":
        touches = pair_touches(elements.row, elements.col + matrix.shape[0], sum(matrix.shape))
        return touches, _Numbered("row", matrix.shape[0])
    if updates == "edges":
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"X must be square for updates='edges'; got shape {matrix.shape}")
        ends = np.sort(np.stack([elements.row, elements.col], axis=1), axis=1)
        ends = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
        return pair_touches(ends[:, 0], ends[:, 1], matrix.shape[0]), _Numbered("vertex", matrix.shape[0])
    raise ValueError(f"updates must be 'rows', 'elements' or 'edges'; got {updates!r}")


@dataclass(frozen=True)
class _Numbered:
    """Names such as "row 3", and "column 0" from `n_first` on."""

    kind: str
    n_first: int

    def __getitem__(self, variable: int) -> str:
        return f"{self.kind} {variable}" if variable < self.n_first else f"column {variable - self.n_first}"


def _measure(touches: Touches, order: NDArray[np.int64], called: Any) -> ConflictReport:
    counts, n = np.bincount(touches.indices, minlength=touches.n_variables), len(order)
    hottest = np.argsort(-counts, kind="stable")[:N_HOTTEST]
    widths = np.bincount(levels_of(touches, order))
    return ConflictReport(
        n_updates=n,
        n_variables=touches.n_variables,
        mean_touches=len(touches.indices) / n,
        most_touches=touches.longest,
        hottest=tuple(HotVariable(called[int(v)], float(counts[v] / n)) for v in hottest if counts[v] > 0),
        workers=WORKERS,
        batches=_components_by_batch_size(touches, order),
        components=tuple(max(1.0, best_batch_size(touches, order, n_workers=p).predicted_speedup) for p in WORKERS),
        levels=tuple(max(1.0, best_capacity(touches, order, n_workers=p).predicted_speedup) for p in WORKERS),
        n_single_levels=len(widths),
        single_levels=tuple(float(n / (-(-widths // p) + BARRIER_UPDATES).sum()) for p in WORKERS),
    )


def _with_merged(report: ConflictReport, touches: csr_array, order: NDArray[np.int64]) -> ConflictReport:
    copies = plan_merged(touches, order, Sizes(1)).copies
    assert copies is not None
    speedups = tuple(predict_speedup(copies, n_workers=p, mean_touches=report.mean_touches) for p in WORKERS)
    return replace(report, n_exempt=len(copies.hot), merged=tuple(max(1.0, speedup) for speedup in speedups))


def _components_by_batch_size(touches: Touches, order: NDArray[np.int64]) -> tuple[BatchComponents, ...]:
    rows: list[BatchComponents] = []
    size = SMALLEST_BATCH
    while size <= LARGEST_BATCH and (size <= len(order) or not rows):
        balances = [measure_balance(touches, order, batch_size=size, n_workers=p) for p in WORKERS]
        speedups = tuple(balance.predicted_speedup for balance in balances)
        rows.append(BatchComponents(balances[0].batch_size, balances[0].largest_component, speedups))
        size *= 2
    return tuple(rows)
