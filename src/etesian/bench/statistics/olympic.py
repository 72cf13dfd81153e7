"""MLPerf's figure for a set of runs: the Olympic mean, and when there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.bench.statistics.arrivals import Arrivals


@dataclass(frozen=True)
class OlympicMean:
    """Mean of the times without the best and the worst.

    Parameters
    ----------
    seconds
        None where the rule gives none.
    dropped
        How many were left out at each end.
    reason
        Why there is none.
    """

    seconds: float | None
    dropped: int
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return {"seconds": self.seconds, "dropped": self.dropped, "reason": self.reason}


def olympic_mean(arrivals: Arrivals, *, dropped: int = 1) -> OlympicMean:
    """Drop the best and the worst times and average the rest; a run that did not arrive counts as the slowest.

    Parameters
    ----------
    arrivals
        The runs.
    dropped
        How many to leave out at each end: 1, but 4 for the 40 runs of 3D U-Net. More runs than this that did not
        arrive make the set invalid.

    Raises
    ------
    ValueError
        `dropped` is below 1.

    Notes
    -----
    Source: MLPerf training rules, section on run results.
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
