"""Runs of one workload as arrays: who arrived, when, and what the others cost. The one place that reads outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.bench.record import NEVER, Run

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Times to target of n runs, those that never arrive included.

    Parameters
    ----------
    seconds : array (n,)
        Time to target where it was reached; infinite where it never will be; where the budget ran out, the time up to
        which the run is known not to have arrived.
    arrived : boolean array (n,)
        The target was reached.
    censored : boolean array (n,)
        The budget ran out first. Runs that are neither will never arrive: they stay at risk for ever.
    spent : array (n,)
        Time that the run really took, whatever came of it.
    limit
        The longest that a run could have taken: the largest budget, or where there is none the largest time spent.
    seeds
        One a run, to pair runs of two workloads.
    """

    seconds: Floats
    arrived: Flags
    censored: Flags
    spent: Floats
    limit: float
    seeds: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def times(self) -> Floats:
        """Times to target of the runs that arrived, shape (reached,)."""
        return self.seconds[self.arrived]

    @classmethod
    def of_runs(cls, runs: Sequence[Run]) -> Arrivals:
        """Read the runs of one workload.

        Raises
        ------
        ValueError
            There are no runs, they ran towards different targets, or one says that it reached a target that none of its
            measurements reached.
        """
        check_runs(runs)
        spent = np.array([_spent(run) for run in runs])
        arrived = np.array([run.outcome == "reached" for run in runs])
        censored = np.array([run.outcome == "out_of_time" for run in runs])
        seconds = np.array([_seconds(run, runs) for run in runs])
        budgets = [run.budget_seconds for run in runs if run.budget_seconds is not None]
        limit = max([*budgets, float(spent.max())])
        return cls(seconds, arrived, censored, spent, limit, tuple(run.seed for run in runs))


def check_runs(runs: Sequence[Run]) -> None:
    """Raise `ValueError` for no runs, for different targets, and for a run that reached nothing but says so."""
    if not runs:
        raise ValueError("runs must hold at least one run; got none")
    targets = sorted({str(run.target) for run in runs})
    if len(targets) > 1:
        raise ValueError(f"runs must have one target in common; got {', '.join(targets)}: summarize each by itself")
    for run in runs:
        if run.outcome == "reached" and run.seconds is None:
            raise ValueError(
                f"{run.workload}, seed {run.seed}, is marked 'reached', but no measurement of it has {run.target}"
            )


def _spent(run: Run) -> float:
    return run.points[-1].seconds if run.points else 0.0


def _seconds(run: Run, runs: Sequence[Run]) -> float:
    if run.outcome in NEVER:
        return np.inf
    if run.outcome == "out_of_time":
        return max(_spent(run), _latest_overrun(run.budget_seconds, runs))
    assert run.seconds is not None
    return run.seconds


def _latest_overrun(budget: float | None, runs: Sequence[Run]) -> float:
    """When the last of those that arrived in the slice in which this budget ran out did so; 0 when none.

    Such runs and those that did not arrive in that slice were stopped by one rule: at their first measurement past the
    budget. A microsecond between them is noise, and must not take the latter out of the risk set first.
    """
    if budget is None:
        return 0.0
    same_rule = (run.seconds for run in runs if run.outcome == "reached" and run.budget_seconds == budget)
    return max((seconds for seconds in same_rule if seconds is not None and seconds > budget), default=0.0)
