"""Options of an analysis; the only place that defines their defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from etesian.bench.errors import InputError
from etesian.bench.statistics import CONFIDENCE, Rule
from etesian.bench.statistics.curves import check_rule

PerEntry = float | Mapping[str, float] | None
"""A figure for all entries, or for some by name; None to use the details of the runs."""


@dataclass(frozen=True)
class Options:
    """Options of an analysis.

    Parameters
    ----------
    level
        Confidence level of the intervals.
    seed
        Seed of the bootstrap.
    rule
        Rule that decides when a run has reached a threshold.
    mlperf_rule
        If True, rank entries by MLPerf's Olympic mean instead of the median; entries without one have no time.
    price
        Price per hour. None for ``cost_per_hour`` in the details of the runs.
    watts
        Power in watts. None for ``watts`` in the details of the runs.
    baseline
        Entry that the others are compared with, in races that have it; None for the fastest.
    fresh
        Metric on held-out data; None for the metric of the target with the prefix ``fresh_``.
    alpha
        Significance level at which a mean is shown to reach the target (fixed schedules).
    any_code
        If True, pool runs of one workload whose code or arguments differ; otherwise they are entries of their own.

    Raises
    ------
    InputError
        If an option is invalid.
    """

    level: float = CONFIDENCE
    seed: int = 0
    rule: Rule = "first_passage"
    mlperf_rule: bool = False
    price: PerEntry = None
    watts: PerEntry = None
    baseline: str | None = None
    fresh: str | None = None
    alpha: float = 0.01
    any_code: bool = False

    def __post_init__(self) -> None:
        for name, share in (("level", self.level), ("alpha", self.alpha)):
            if not 0 < share < 1:
                raise InputError(f"{name} must lie between 0 and 1, such as {getattr(Options, name)}; got {share!r}")
        try:
            check_rule(self.rule)
        except ValueError as error:
            raise InputError(str(error)) from None
        for name, figure in (("price", self.price), ("watts", self.watts)):
            for value in figure.values() if isinstance(figure, Mapping) else [figure]:
                if value is not None and not (math.isfinite(value) and value >= 0):
                    raise InputError(f"{name} must be a number that is not negative; got {value!r}")


def figure_of(figure: PerEntry, entry: str) -> float | None:
    """Return the figure for an entry."""
    return figure.get(entry) if isinstance(figure, Mapping) else figure
