"""How runs are to be analyzed: `Options`. Every default stands here, and here only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from etesian.bench.errors import InputError
from etesian.bench.statistics import CONFIDENCE, Rule
from etesian.bench.statistics.curves import check_rule

PerEntry = float | Mapping[str, float] | None
"""A figure for all entries, or for some by name; None where the runs' own details tell."""


@dataclass(frozen=True)
class Options:
    """How runs are to be analyzed.

    Parameters
    ----------
    level
        Of every interval.
    seed
        Of every bootstrap.
    rule
        When a run counts as having arrived.
    mlperf_rule
        Whether entries are ranked by MLPerf's Olympic mean, none where its rule gives none, in place of the median.
    price
        Money per hour. None: what the runs' details give as ``cost_per_hour``.
    watts
        Power drawn. None: what the runs' details give as ``watts``.
    baseline
        Entry that the others are compared with, in the races that have it; None for the fastest.
    fresh
        Metric on data that decided nothing; None for the target's with ``fresh_`` before its name.
    alpha
        Largest p value with which a mean counts as shown to reach the target (fixed schedules).

    Raises
    ------
    InputError
        One of these is not what it should be.
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
                    raise InputError(f"{name} must be a number from 0 on; got {value!r}")


def figure_of(figure: PerEntry, entry: str) -> float | None:
    """Look up what was given for an entry."""
    return figure.get(entry) if isinstance(figure, Mapping) else figure
