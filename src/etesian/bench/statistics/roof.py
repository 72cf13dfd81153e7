"""How much of what the machine can do was done: operations and bytes against measured peaks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Roofline:
    """Rate of a computation under the roof of its machine.

    Parameters
    ----------
    operations_per_second
        Attained.
    intensity
        Operations per byte moved; None where bytes are not known.
    roof
        Operations per second that the machine allows at this intensity.
    share
        Attained over allowed.
    bound
        What the roof is made of at this intensity: arithmetic, or memory traffic.
    """

    operations_per_second: float
    intensity: float | None
    roof: float
    share: float
    bound: Literal["arithmetic", "memory"]

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return asdict(self)


def roofline(
    operations: float,
    seconds: float,
    *,
    peak_operations_per_second: float,
    bytes_moved: float | None = None,
    peak_bytes_per_second: float | None = None,
) -> Roofline:
    """Place a computation under the roof of its machine.

    Parameters
    ----------
    operations, bytes_moved
        Done in all; without bytes the roof is the peak of arithmetic.
    seconds
        Taken.
    peak_operations_per_second, peak_bytes_per_second
        What was measured on the machine, not what its data sheet says.

    Raises
    ------
    ValueError
        A figure is not a positive number, or only one of the two about bytes is given.

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
        raise ValueError("bytes_moved and peak_bytes_per_second must be given both or not at all")
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
