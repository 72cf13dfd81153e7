"""Roofline: attained rate of a computation relative to the measured peaks of the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from etesian.bench.statistics.figures import Figures


@dataclass(frozen=True)
class Roofline(Figures):
    """Rate of a computation and its limit.

    Parameters
    ----------
    operations_per_second
        Attained rate.
    intensity
        Operations per byte moved; None if bytes are unknown.
    roof
        Largest possible rate at this intensity.
    share
        Attained rate divided by the largest possible one.
    bound
        Limiting resource at this intensity.
    """

    operations_per_second: float
    intensity: float | None
    roof: float
    share: float
    bound: Literal["arithmetic", "memory"]


def roofline(
    operations: float,
    seconds: float,
    *,
    peak_operations_per_second: float,
    bytes_moved: float | None = None,
    peak_bytes_per_second: float | None = None,
) -> Roofline:
    """Compare the rate of a computation with the limits of its machine.

    Parameters
    ----------
    operations, bytes_moved
        Totals; without bytes the limit is the arithmetic peak.
    seconds
        Time taken.
    peak_operations_per_second, peak_bytes_per_second
        Peaks measured on the machine.

    Raises
    ------
    ValueError
        If a figure is not positive, or only one of the two about bytes is given.

    References
    ----------
    Williams, Waterman and Patterson, Roofline: an insightful visual performance model (2009).
    """
    _check_positive(operations=operations, seconds=seconds, peak_operations_per_second=peak_operations_per_second)
    rate = operations / seconds
    if bytes_moved is None and peak_bytes_per_second is None:
        peak = peak_operations_per_second
        return Roofline(rate, None, peak, rate / peak, "arithmetic")
    if bytes_moved is None or peak_bytes_per_second is None:
        raise ValueError("bytes_moved and peak_bytes_per_second must both be given, or neither")
    _check_positive(bytes_moved=bytes_moved, peak_bytes_per_second=peak_bytes_per_second)
    intensity = operations / bytes_moved
    roof = min(peak_operations_per_second, intensity * peak_bytes_per_second)
    return Roofline(
        rate, intensity, roof, rate / roof, "arithmetic" if roof == peak_operations_per_second else "memory"
    )


def _check_positive(**figures: float) -> None:
    for name, value in figures.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number; got {value!r}")
