"""Figures and findings in words that need no statistics to be read."""

from __future__ import annotations

import math
from typing import Literal

from etesian.bench.record import Outcome
from etesian.bench.statistics import Estimate, Summary, WorkloadSummary
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


def verdict(summary: Summary) -> str:
    """One sentence that says what the runs showed."""
    goal = target_words(summary.target)
    if not any(each.outcomes.get("reached") for each in summary.workloads):
        return f"No run reached {goal}."
    if len(summary.workloads) == 1:
        return _alone(summary.workloads[0], goal)
    rated = [each for each in summary.workloads if each.ratio and each.ratio.estimate.value is not None]
    if not rated:
        return f"Too few runs reached {goal} to compare times."
    best = min(rated, key=_ratio_value)
    return _compared(best, summary.baseline, goal, summary.confidence) + _shortfall(best)


def _digits(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}"


def _ratio_value(workload: WorkloadSummary) -> float:
    assert workload.ratio is not None
    assert workload.ratio.estimate.value is not None
    return workload.ratio.estimate.value


def _alone(workload: WorkloadSummary, goal: str) -> str:
    reached = workload.outcomes.get("reached", 0)
    start = f"{workload.workload} reached {goal} in {reached} of {workload.runs} runs"
    if workload.median.value is None or math.isinf(workload.median.value):
        return f"{start}: too few for a median time."
    within = f" ({interval(workload.median, 's')})" if workload.median.has_interval else ""
    return f"{start}; the median time is {number(workload.median.value, 's')}{within}."


def _compared(best: WorkloadSummary, baseline: str, goal: str, confidence: float) -> str:
    assert best.ratio is not None
    ratio = best.ratio.estimate
    times = f"{number(ratio.value)} times as long as {baseline}"
    if ratio.low is None or ratio.high is None:
        return f"To reach {goal}, {best.workload} took {times}; with so few runs there is no interval to that."
    within = f"{number(confidence, '%')} interval {interval(ratio)}"
    if ratio.high < 1:
        return f"To reach {goal}, {best.workload} takes {times} ({within})."
    if ratio.low > 1:
        return f"Nothing reaches {goal} sooner than {baseline}: {best.workload}, the closest, takes {times} ({within})."
    return f"No workload is shown to reach {goal} sooner than {baseline}: {best.workload} takes {times} ({within})."


def _shortfall(best: WorkloadSummary) -> str:
    reached = best.outcomes.get("reached", 0)
    return "" if reached == best.runs else f" It reached the target in {reached} of its {best.runs} runs."
