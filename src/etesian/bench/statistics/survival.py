"""The Kaplan-Meier curve of censored runs, and its median; runs that never arrive stay at risk forever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, check_confidence
from etesian.bench.statistics.success import wilson

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class ArrivalCurve:
    """Share of runs that have arrived as a step function of time.

    Parameters
    ----------
    times : array (arrived,)
        Sorted times of arrivals.
    shares : array (arrived,)
        Share that has arrived just after each.
    at_risk : array (arrived,)
        Number of runs at risk just before each.
    followed
        Last time at which a run was observed; infinite if a run never arrives.
    """

    times: Floats
    shares: Floats
    at_risk: NDArray[np.int64]
    followed: float

    @property
    def weights(self) -> Floats:
        """Share that arrives at each step, shape (arrived,)."""
        return np.diff(self.shares, prepend=0.0)

    def effective_runs(self, time: float) -> float:
        """Return the number of uncensored runs with the same information about the curve at `time`.

        It is the number at risk divided by the share left; without censoring, the number of runs.

        References
        ----------
        Peto et al. (1977).
        """
        step = min(int(np.searchsorted(self.times, time)), len(self.times) - 1)
        share_left = 1.0 - (self.shares[step - 1] if step > 0 else 0.0)
        return round(float(self.at_risk[step] / share_left), 6)  # avoids rounding errors in integers

    def time_of(self, share: float) -> float:
        """Return when `share` has arrived, interpolated between arrivals; infinite beyond the last."""
        if share > self.shares[-1] + _ROUNDING:
            return np.inf
        return float(np.interp(share, self.shares, self.times))


def kaplan_meier(arrivals: Arrivals) -> ArrivalCurve:
    """Estimate the curve of arrivals, with one step for each run.

    References
    ----------
    Kaplan and Meier (1958).
    """
    order = time_order(arrivals)
    arrived = arrivals.arrived[order]
    at_risk = np.arange(len(arrivals), 0, -1)
    shares = np.asarray(1.0 - np.cumprod(1.0 - arrived / at_risk), dtype=np.float64)
    seconds = arrivals.seconds[order]
    return ArrivalCurve(seconds[arrived], shares[arrived], at_risk[arrived], float(seconds[-1]))


def arrival_band(curve: ArrivalCurve, *, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return pointwise intervals of the share that has arrived, at each step of the curve.

    These are Wilson's intervals for the effective number of runs.

    Returns
    -------
    low, high : array (arrived,)

    References
    ----------
    Rothman, Estimation of confidence limits for the cumulative probability of survival in life table analysis (1978).
    """
    check_confidence(confidence)
    ends = [
        wilson(float(share), curve.effective_runs(float(time)), confidence)
        for time, share in zip(curve.times, curve.shares, strict=True)
    ]
    low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    return low, high


def weighted_medians(arrivals: Arrivals, counts: NDArray[np.int64]) -> Floats:
    """Return Kaplan-Meier medians of weighted runs.

    Where exactly half has arrived over a stretch of time, the median is its middle; it is infinite where at most half
    arrives.

    Parameters
    ----------
    arrivals
        The n runs.
    counts : array (draws, n)
        Weight of each run, in the order of `arrivals`.

    Returns
    -------
    array (draws,)
    """
    order = time_order(arrivals)
    counts = counts[:, order]
    at_risk = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    left = np.cumprod(1.0 - counts * arrivals.arrived[order] / np.maximum(at_risk, 1), axis=1)
    seconds = arrivals.seconds[order]
    return (_first(left <= 0.5 + _ROUNDING, seconds) + _first(left < 0.5 - _ROUNDING, seconds)) / 2


def time_order(arrivals: Arrivals) -> NDArray[np.intp]:
    """Return the order of the runs in time, with arrivals before censored runs at equal times."""
    return np.lexsort((~arrivals.arrived, arrivals.seconds))


def _first(holds: NDArray[np.bool_], seconds: Floats) -> Floats:
    return np.where(holds.any(axis=1), seconds[holds.argmax(axis=1)], np.inf)
