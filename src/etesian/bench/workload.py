"""The whole contract between the harness and what it times: `Workload`, `Target`, `Suite`. Knows nothing of running."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

_COMPARISONS = {">=": "at_least", "<=": "at_most"}
_TARGET = re.compile(r"\s*(?P<metric>[^<>=\s]+)\s*(?P<comparison>>=|<=)\s*(?P<threshold>\S+)\s*")


@runtime_checkable
class Workload(Protocol):
    """One thing to time. Only `advance` runs on the clock.

    Four more attributes are read where they are there. `units`, a mapping such as ``{"examples": 60_000}``, says what one
    slice of work is worth: it is read once, after `prepare`, and the harness does the counting. `synchronize()` waits for
    work that `advance` left running (on a GPU, say) and is called on the clock, at the end of each slice. `conclude()` is
    called once, after the outcome is decided, and returns more metrics of the state at the end: those of data that should
    decide nothing. For each it gives a number, or an array of bool, one for each example, whose mean is the metric.
    `resources`, such as ``{"cores": 4, "gpus": 1}``, says what a run needs of a cluster.
    """

    @property
    def name(self) -> str:
        """Under which its runs are kept; an ordinary attribute will do."""

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
        object.__setattr__(self, "threshold", float(self.threshold))  # 3 and 3.0 are one target, also as text

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
        """Whether a value of the metric has arrived; one that is not finite never has."""
        compare = operator.ge if self.direction == "at_least" else operator.le
        return math.isfinite(value) and compare(value, self.threshold)

    def __str__(self) -> str:
        sign = ">=" if self.direction == "at_least" else "<="
        return f"{self.metric}{sign}{self.threshold!r}"


@dataclass(frozen=True)
class Suite:
    """Workloads that race for the same target.

    A file for ``etesian bench run`` defines `suite`, one of these or a function without arguments that returns one; the
    entry points of the group ``etesian.workloads`` name such functions too.

    Parameters
    ----------
    name
        Under which the runs are stored.
    workloads
        At least one; their names differ. Kept as a tuple.
    target
        What each of them is to reach.
    budget_seconds
        Time on the clock after which a run is stopped; None for no limit.
    """

    name: str
    workloads: Sequence[Workload]
    target: Target
    budget_seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "workloads", tuple(self.workloads))
        if not self.name:
            raise ValueError("name must not be empty: runs are stored under it")
        if not self.workloads:
            raise ValueError(f"workloads of the suite {self.name!r} must hold at least one; got none")
        strangers = [workload for workload in self.workloads if not isinstance(workload, Workload)]
        if strangers:
            raise TypeError(f"workloads must have name, prepare, advance and measure; got {strangers[0]!r}")
        names = [workload.name for workload in self.workloads]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"workloads of the suite {self.name!r} must have names that differ; got {twice[0]!r} twice"
            )
        check_budget(self.budget_seconds)


def check_budget(budget_seconds: float | None) -> None:
    """Refuse a budget that is not a positive, finite number of seconds or None."""
    if budget_seconds is not None and not 0 < budget_seconds < math.inf:
        raise ValueError(f"budget_seconds must be a positive number, or None for no limit; got {budget_seconds!r}")
