"""Runs of one workload as arrays of times and outcomes."""

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
    """Times to target of n runs, including those that never reach it.

    Parameters
    ----------
    seconds : array (n,)
        Time to target where it was reached, infinite where it never is, and the time of censoring where the budget ran
        out.
    arrived : boolean array (n,)
        True for runs that reached the target.
    censored : boolean array (n,)
        True for runs that ran out of time. Runs that are neither stay at risk forever.
    spent : array (n,)
        Time that each run took, whatever its outcome.
    limit
        Longest possible time of a run: the largest budget, or without budgets the largest time spent.
    seeds
        Seed of each run, to pair runs of two workloads.
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
        """Times to target of the runs that reached it, shape (reached,)."""
        return self.seconds[self.arrived]

    @classmethod
    def of_runs(cls, runs: Sequence[Run]) -> Arrivals:
        """Collect the runs of one workload.

        Raises
        ------
        ValueError
            If there are no runs, their targets differ, or a run is marked as reached without a measurement at the
            target.
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
    """Raise `ValueError` for no runs, different targets, or runs wrongly marked as reached."""
    if not runs:
        raise ValueError("runs must hold at least one run; got none")
    targets = sorted({str(run.target) for run in runs})
    if len(targets) > 1:
        raise ValueError(f"runs must have one target in common; got {', '.join(targets)}: analyze each separately")
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
    """Return the latest arrival in the slice in which this budget ran out; 0 if there is none.

    All these runs were stopped by the same rule, at their first measurement past the budget. A microsecond between them
    is noise, and must not remove the censored ones from the risk set earlier.
    """
    if budget is None:
        return 0.0
    same_rule = (run.seconds for run in runs if run.outcome == "reached" and run.budget_seconds == budget)
    return max((seconds for seconds in same_rule if seconds is not None and seconds > budget), default=0.0)
