"""Numbers, intervals and lists as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from etesian.bench.record import Outcome
from etesian.bench.statistics import Estimate
from etesian.bench.workload import Target

OUTCOMES: dict[Outcome, str] = {
    "reached": "reached the target",
    "out_of_time": "ran out of time",
    "exhausted": "no work left",
    "diverged": "diverged",
    "failed": "failed",
}

Unit = Literal["s", "%", ""]
MISSING = "\u2013"

_MOST_NAMES = 4
_ROUNDING = 1e-9  # relative width below which the ends of an interval are equal
_MOST_DECIMALS = 12


def number(value: float | None, unit: Unit = "") -> str:
    """Format a number with three significant digits and its unit."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞"
    scaled = 100 * value if unit == "%" else value
    if _is_extreme(scaled):
        return f"{scaled:.2e}{_suffix(unit)}"
    text = f"{scaled:,.{_decimals(scaled, 3)}f}"
    return _without_zeros(text) + _suffix(unit)


def interval(estimate: Estimate, unit: Unit = "") -> str:
    """Format the ends of an interval; empty without an interval."""
    return value_and_interval(estimate, unit)[1]


def value_and_interval(estimate: Estimate, unit: Unit = "") -> tuple[str, str]:
    """Format a value and its interval with as many decimals as the width of the interval needs.

    Three significant digits are the minimum; a narrow interval adds digits until its ends differ, with a second digit
    of the width where its first one is 1. An interval of zero width is left out.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None or value is None:
        return number(value, unit), ""
    if high is None or math.isinf(high):
        return number(value, unit), f"{number(low, unit)} or more"
    scale = 100.0 if unit == "%" else 1.0
    figures = [scale * each for each in (value, low, high) if math.isfinite(each)]
    width = scale * (high - low)
    if width <= _ROUNDING * max(map(abs, figures)):
        return number(value, unit), ""
    texts = (_scientific if any(map(_is_extreme, figures)) else _decimal)(figures, width)
    if math.isinf(value):
        texts.insert(0, "∞")
    suffix = _suffix(unit)
    return texts[0] + suffix * math.isfinite(value), f"{texts[1]} to {texts[2]}{suffix}"


def _decimal(figures: Sequence[float], width: float) -> list[str]:
    decimals = max(_decimals(max(figures, key=abs), 3), _decimals(width, _digits_of(width)))
    texts = [f"{each:,.{decimals}f}" for each in figures]
    while decimals and all(text.endswith("0") for text in texts):
        decimals -= 1
        texts = [f"{each:,.{decimals}f}" for each in figures]
    return texts


def _scientific(figures: Sequence[float], width: float) -> list[str]:
    exponents = [math.floor(math.log10(abs(each))) for each in (max(figures, key=abs), width)]
    digits = max(2, exponents[0] - exponents[1] + _digits_of(width) - 1)
    return ["0" if each == 0 else f"{each:.{digits}e}" for each in figures]


def p_value(p: float | None, *, alpha: float | None = None) -> str:
    """Format a p value with two significant digits, and with more where rounding would move it to or across `alpha`."""
    if p is None or math.isnan(p):
        return MISSING
    for digits in range(2, 10):
        text = f"{p:.{digits}g}"
        if alpha is None or ((float(text) < alpha) == (p < alpha) and (float(text) != alpha or p == alpha)):
            break
    return text


def target_words(target: Target) -> str:
    """Format a target with mathematical signs."""
    return f"{target.metric} {'≥' if target.direction == 'at_least' else '≤'} {target.threshold:g}"


def ending(outcome: Outcome, *, arrived: bool) -> str:
    """Describe how a run ended relative to the target of the race."""
    if arrived:
        return OUTCOMES["reached"]
    return "stopped at an easier target" if outcome == "reached" else OUTCOMES[outcome]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a count: "1 run", "2 runs"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def ranged(counts: Sequence[int], noun: str) -> str:
    """Format a range of counts: "1 run", or "1 to 4 runs" when they differ."""
    low, high = min(counts), max(counts)
    return counted(high, noun) if low == high else f"{low} to {high} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Join names: "a", "a and b", "a, b and 7 others"."""
    shown = list(names[:_MOST_NAMES])
    if len(names) > len(shown):
        shown = [*shown[:-1], f"{len(names) - len(shown) + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def seconds_words(seconds: float) -> str:
    """Format a duration with three significant digits."""
    return f"{seconds:.3g} s"


def _suffix(unit: Unit) -> str:
    return {"s": "\u00a0s", "%": "%", "": ""}[unit]


def _is_extreme(value: float) -> bool:
    return value != 0 and not 1e-4 <= abs(value) < 1e6


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return 0
    return min(_MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def _digits_of(width: float) -> int:
    """Return how many digits of a width to show: two where the first one is 1."""
    return 2 if f"{width:e}"[0] == "1" else 1


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
