"""The Olympic mean, MLPerf's figure for a set of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etesian.bench.statistics.arrivals import Arrivals
from etesian.bench.statistics.figures import Figures


@dataclass(frozen=True)
class OlympicMean(Figures):
    """Mean of the times without the best and the worst.

    Parameters
    ----------
    seconds
        None if the rule gives none.
    dropped
        Number of times left out at each end.
    reason
        Reason for a missing mean.
    """

    seconds: float | None
    dropped: int
    reason: str | None = None


def olympic_mean(arrivals: Arrivals, *, dropped: int = 1) -> OlympicMean:
    """Average the times without the best and the worst; an unfinished run counts as the slowest.

    Parameters
    ----------
    arrivals
        Runs of one entry.
    dropped
        Number of times to leave out at each end: 1, or 4 for the 40 runs of 3D U-Net. More unfinished runs make the set
        invalid.

    Raises
    ------
    ValueError
        If `dropped` is below 1.

    References
    ----------
    MLPerf training rules, section on run results.
    """
    if dropped < 1:
        raise ValueError(f"dropped must be at least 1; got {dropped!r}")
    missing = int(np.sum(~arrivals.arrived))
    if missing > dropped:
        return OlympicMean(None, dropped, f"{missing} runs did not arrive, and the rule allows {dropped}")
    if len(arrivals) <= 2 * dropped:
        return OlympicMean(None, dropped, f"{len(arrivals)} runs leave none when {dropped} are dropped at each end")
    times = np.sort(np.where(arrivals.arrived, arrivals.seconds, np.inf))
    return OlympicMean(float(times[dropped:-dropped].mean()), dropped)
