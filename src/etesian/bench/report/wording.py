"""Figures and findings in words that need no statistics to be read."""

from __future__ import annotations

import math
from typing import Literal

from etesian.bench.record import Outcome
from etesian.bench.statistics import Estimate
from etesian.bench.workload import Target

OUTCOMES: dict[Outcome, str] = {
    "reached": "reached the target",
    "out_of_time": "budget ran out",
    "exhausted": "no work left",
    "diverged": "diverged",
    "failed": "failed",
}

Unit = Literal["s", "%", ""]
MISSING = "\u2013"


def target_words(target: Target) -> str:
    """Write a target as people read it."""
    return f"{target.metric} {'≥' if target.direction == 'at_least' else '≤'} {target.threshold:g}"


def number(value: float | None, unit: Unit = "") -> str:
    """Three digits and the unit; a dash for what is missing and the sign for what is infinite."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞"
    if unit == "%":
        return f"{_digits(100 * value)}%"
    return _digits(value) + ("\u00a0s" if unit == "s" else "")


def interval(estimate: Estimate, unit: Unit = "") -> str:
    """Write the ends of an interval, or nothing where there is none."""
    if not estimate.has_interval:
        return ""
    if estimate.high is None or math.isinf(estimate.high):
        return f"{number(estimate.low, unit)} or more"
    low = number(estimate.low, unit).rstrip("%s\u00a0")  # the unit once, after the upper end
    return f"{low} to {number(estimate.high, unit)}"


def ending(outcome: Outcome, *, arrived: bool) -> str:
    """Say how a run ended, as seen from the target that it is measured against."""
    if arrived:
        return OUTCOMES["reached"]
    return "stopped at an easier target" if outcome == "reached" else OUTCOMES[outcome]


def _digits(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}"
