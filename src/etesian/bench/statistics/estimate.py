"""Result of every statistic: a value with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from scipy import special

from etesian.bench.statistics.figures import Figures

CONFIDENCE = 0.95
"""Default confidence level of all intervals."""


@dataclass(frozen=True)
class Estimate(Figures):
    """A value with its interval.

    Parameters
    ----------
    value
        Infinite for a time that is never reached; None if it cannot be computed, with the reason in `reason`.
    low, high
        Ends of the interval; infinite for no upper end; both None without an interval.
    runs
        Number of runs.
    reliable_from
        Number of runs from which on the interval has its nominal coverage. Intervals from fewer runs may be too narrow or
        too wide.
    reason
        Reason for a missing value or interval.
    """

    value: float | None
    low: float | None
    high: float | None
    runs: int
    reliable_from: int = 2
    reason: str | None = None

    @property
    def has_interval(self) -> bool:
        """True if there is an interval."""
        return self.low is not None

    @property
    def is_reliable(self) -> bool:
        """True if there is an interval with its nominal coverage."""
        return self.has_interval and self.runs >= self.reliable_from

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values; null stands for infinite and missing values."""
        return super().as_dict() | {"is_reliable": self.is_reliable}

    def scaled(self, factor: float) -> Estimate:
        """Return value and interval multiplied by a positive number."""
        value, low, high = (None if each is None else each * factor for each in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)

    @classmethod
    def missing(cls, reason: str, *, runs: int, value: float | None = None, reliable_from: int = 2) -> Estimate:
        """Make an estimate without an interval, and possibly without a value."""
        return cls(value, None, None, runs, reliable_from, reason)


def check_confidence(confidence: float) -> None:
    """Raise `ValueError` unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95; got {confidence!r}")


def normal_quantile(confidence: float) -> float:
    """Return the two-sided quantile of the standard normal distribution."""
    return float(special.ndtri((1 + confidence) / 2))


def student_quantile(degrees: float, confidence: float) -> float:
    """Return the two-sided quantile of Student's t distribution."""
    return float(special.stdtrit(degrees, (1 + confidence) / 2))
