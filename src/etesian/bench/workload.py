"""The contract between the harness and the methods that it times: `Workload`, `Target` and `Suite`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

_COMPARISONS = {">=": "at_least", "<=": "at_most"}
_TARGET = re.compile(r"\s*(?P<metric>[^<>=\s]+)\s*(?P<comparison>>=|<=)\s*(?P<threshold>\S+)\s*")


@runtime_checkable
class Workload(Protocol):
    """A method to time. Only `advance` runs on the clock.

    A workload may also be `Counting`, `Synchronizing`, `Concluding` or `WithResources`.
    """

    @property
    def name(self) -> str:
        """Name under which the runs are stored; an ordinary attribute is enough."""

    def prepare(self, seed: int) -> None:
        """Load data, compile and warm up, off the clock. Called once, before everything else."""

    def advance(self) -> bool:
        """Do one slice of work, on the clock. Return False if there was none left to do."""

    def measure(self) -> Mapping[str, float]:
        """Return the metrics of the present state, off the clock. Must not change the state."""


@runtime_checkable
class Counting(Protocol):
    """A workload that states the amount of work in one slice."""

    @property
    def units(self) -> Mapping[str, float]:
        """Work per slice, such as ``{"examples": 60_000}``. Read once, after `prepare`; the harness does the counting."""


@runtime_checkable
class Synchronizing(Protocol):
    """A workload whose `advance` may return before its work is done, such as one on a GPU."""

    def synchronize(self) -> object:
        """Wait for that work. Called on the clock, at the end of each slice."""


@runtime_checkable
class Concluding(Protocol):
    """A workload with metrics that must not influence a run, such as accuracy on held-out data."""

    def conclude(self) -> Mapping[str, Any]:
        """Return these metrics at the end of a run, after its outcome is decided.

        Each is a number, or an array of bool with one value for each example, whose mean is the metric.
        """


@runtime_checkable
class WithResources(Protocol):
    """A workload that states the resources of a run on a cluster."""

    @property
    def resources(self) -> Mapping[str, float]:
        """Amount of each resource, such as ``{"cores": 4, "gpus": 1}``."""


@dataclass(frozen=True)
class Target:
    """A metric and the threshold to reach.

    Parameters
    ----------
    metric
        Name of one of the metrics that `Workload.measure` returns.
    threshold
        Finite threshold, in the unit of the metric.
    direction
        ``"at_least"`` for metrics to maximize (accuracy), ``"at_most"`` for metrics to minimize (loss).
    """

    metric: str
    threshold: float
    direction: Literal["at_least", "at_most"] = "at_least"

    def __post_init__(self) -> None:
        if self.direction not in ("at_least", "at_most"):
            raise ValueError(f"direction must be 'at_least' or 'at_most'; got {self.direction!r}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number; got {self.threshold!r}")
        object.__setattr__(self, "threshold", float(self.threshold))  # 3 and 3.0 are the same target, also as text

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse a target such as ``"accuracy>=0.93"`` or ``"loss<=3.28"``."""
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
        """Return True if a value of the metric is at the target; values that are not finite never are."""
        compare = operator.ge if self.direction == "at_least" else operator.le
        return math.isfinite(value) and compare(value, self.threshold)

    def __str__(self) -> str:
        sign = ">=" if self.direction == "at_least" else "<="
        return f"{self.metric}{sign}{self.threshold!r}"


@dataclass(frozen=True)
class Suite:
    """Workloads with a common target.

    A file for ``etesian bench run`` defines `suite`: a Suite, or a function without arguments that returns one. Entry
    points of the group ``etesian.workloads`` refer to such functions too.

    Parameters
    ----------
    name
        Name under which the runs are stored.
    workloads
        At least one workload, with distinct names. Stored as a tuple.
    target
        Target of every workload.
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
    """Raise `ValueError` unless the budget is a positive, finite number of seconds, or None."""
    if budget_seconds is not None and not 0 < budget_seconds < math.inf:
        raise ValueError(f"budget_seconds must be a positive number, or None for no limit; got {budget_seconds!r}")
