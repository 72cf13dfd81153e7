"""What every statistic returns: an `Estimate`, a value with its interval or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy import special

CONFIDENCE = 0.95
"""The share of cases in which intervals are to hold the truth, unless another is asked for."""


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and from how many runs the interval can be believed.

    Parameters
    ----------
    value
        Infinite for a time that is never reached; None where it cannot be computed, and then `reason` says why.
    low, high
        Ends of the interval; infinite where it has no upper end; both None where there is no interval.
    runs
        How many runs it rests on.
    reliable_from
        From how many runs on the interval covers as it says. Below, it is given all the
        same, but may be too narrow or too wide.
    reason
        Why the value or the interval is missing.
    """

    value: float | None
    low: float | None
    high: float | None
    runs: int
    reliable_from: int = 2
    reason: str | None = None

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval at all."""
        return self.low is not None

    @property
    def is_reliable(self) -> bool:
        """Whether there is an interval, and runs enough for it to cover as it says."""
        return self.has_interval and self.runs >= self.reliable_from

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name as JSON allows them: null stands for infinite and for missing."""
        fields = {name: finite_or_none(value) for name, value in asdict(self).items()}
        return fields | {"is_reliable": self.is_reliable}

    def scaled(self, factor: float) -> Estimate:
        """Give the same in another unit: value and interval times a positive number."""
        value, low, high = (None if each is None else each * factor for each in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)

    @classmethod
    def missing(cls, reason: str, *, runs: int, value: float | None = None, reliable_from: int = 2) -> Estimate:
        """Give a value, if there is one, without an interval."""
        return cls(value, None, None, runs, reliable_from, reason)


def check_confidence(confidence: float) -> None:
    """Raise `ValueError` unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95; got {confidence!r}")


def normal_quantile(confidence: float) -> float:
    """Give the standard normal deviations that hold the middle `confidence` of the distribution."""
    return float(special.ndtri((1 + confidence) / 2))


def student_quantile(degrees: float, confidence: float) -> float:
    """Like `normal_quantile`, for Student's t."""
    return float(special.stdtrit(degrees, (1 + confidence) / 2))


def finite_or_none(value: Any) -> Any:
    """Give null for a number that JSON cannot hold, and anything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
