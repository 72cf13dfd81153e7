"""The whole contract between the harness and what it times: `Workload` and `Target`. Knows nothing of running or storing."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

_COMPARISONS = {">=": "at_least", "<=": "at_most"}
_TARGET = re.compile(r"\s*(?P<metric>[^<>=\s]+)\s*(?P<comparison>>=|<=)\s*(?P<threshold>\S+)\s*")


@runtime_checkable
class Workload(Protocol):
    """One thing to time. Only `advance` runs on the clock.

    Two more attributes are read where they are there. `units`, a mapping such as ``{"examples": 60_000}``, says what one
    slice of work is worth: it is read once, after `prepare`, and the harness does the counting. `synchronize()` waits for
    work that `advance` left running (on a GPU, say) and is called on the clock, at the end of each slice.
    """

    name: str

    def prepare(self, seed: int) -> None:
        """Load data, compile, warm up: all that should not count. Runs once, before the clock."""

    def advance(self) -> bool:
        """Do one slice of work, on the clock. False when there was none left to do."""

    def measure(self) -> Mapping[str, float]:
        """Metrics of the state reached so far, off the clock. Changes nothing."""


@dataclass(frozen=True)
class Target:
    """A metric and the threshold that counts as having arrived.

    Parameters
    ----------
    metric
        A name among those that the workload's `measure` returns.
    threshold
        In the metric's own unit; finite.
    direction
        ``"at_least"`` for metrics that should be high (accuracy), ``"at_most"`` for those that should be low (loss).
    """

    metric: str
    threshold: float
    direction: Literal["at_least", "at_most"] = "at_least"

    def __post_init__(self) -> None:
        if self.direction not in ("at_least", "at_most"):
            raise ValueError(f"direction must be 'at_least' or 'at_most'; got {self.direction!r}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number; got {self.threshold!r}")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target as people write it: ``"accuracy>=0.93"`` or ``"loss<=3.28"``."""
        match = _TARGET.fullmatch(text)
        if match is None:
            raise ValueError(f"a target reads like 'accuracy>=0.93' or 'loss<=3.28'; got {text!r}")
        try:
            threshold = float(match["threshold"])
        except ValueError:
            raise ValueError(f"the threshold of {text!r} must be a number; got {match['threshold']!r}") from None
        direction = _COMPARISONS[match["comparison"]]
        return cls(match["metric"], threshold, direction)  # type: ignore[arg-type]

    def is_reached(self, value: float) -> bool:
        """Whether a value of the metric has arrived; NaN never has."""
        compare = operator.ge if self.direction == "at_least" else operator.le
        return compare(value, self.threshold)

    def __str__(self) -> str:
        sign = ">=" if self.direction == "at_least" else "<="
        return f"{self.metric}{sign}{self.threshold!r}"
