"""Figures as JSON that `chart.js` draws as SVG: two axes and a list of marks.

Coordinates are data values; None leaves a gap. A figure is ``{"height", "x", "y", "marks"}``, and optionally ``focus``
(the window of both axes that is drawn first) and ``legend`` (False to leave it out).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from etesian.bench.report.marks import Mark
from etesian.bench.report.model import Figure

Numbers = Sequence[float | None]

FILLS = ("#4c78a8", "#e07b00", "#009e73", "#cc5fa0", "#b8860b", "#7a78d8")
"""Colors of the parts of a whole, as opposed to entries; bars also differ by pattern."""

_ROW = 44  # pixels of a row that holds one bar


def figure(height: int, x: Mapping[str, Any], y: Mapping[str, Any], marks: Sequence[Any], **more: Any) -> Figure:
    """Join axes and marks; marks that are None are left out."""
    return {"height": height, "x": x, "y": y, "marks": [mark for mark in marks if mark is not None], **more}


def axis(
    label: str = "",
    *,
    span: Sequence[float] | None = None,
    is_log: bool = False,
    is_share: bool = False,
    from_zero: bool = False,
    ticks: Mapping[float, str] | None = None,
    is_hidden: bool = False,
) -> dict[str, Any]:
    """Describe an axis.

    Parameters
    ----------
    label
        Title of the axis.
    span
        First and last value; None for the range of the marks.
    is_log, is_share, from_zero, is_hidden
        Logarithmic scale; tick labels in percent; range extended to zero; not drawn.
    ticks
        Positions of the ticks and their labels; None for round numbers.
    """
    flags = {"log": is_log, "share": is_share, "fromZero": from_zero, "hidden": is_hidden}
    return {
        "label": label,
        **({} if span is None else {"span": [rounded(each) for each in span]}),
        **({} if ticks is None else {"ticks": [[at, text] for at, text in ticks.items()]}),
        **{name: True for name, is_set in flags.items() if is_set},
    }


def line(x: Numbers, y: Numbers, name: str, mark: Mark, *, is_stepped: bool = False) -> dict[str, Any]:
    """Draw a line for an entry."""
    look = {"name": name, "color": mark.color, "dash": mark.dash}
    return {"kind": "line", "x": _clean(x), "y": _clean(y), "step": is_stepped, **look}


def band(x: Numbers, low: Numbers, high: Numbers, name: str, color: str) -> dict[str, Any]:
    """Fill the area between two step functions."""
    return {"kind": "band", "x": _clean(x), "low": _clean(low), "high": _clean(high), "name": name, "color": color}


def dots(
    x: Numbers,
    y: Numbers,
    texts: Sequence[str],
    *,
    color: str,
    symbol: str = "circle",
    name: str = "",
    is_hollow: bool = False,
) -> dict[str, Any] | None:
    """Draw symbols with tooltips; None without any."""
    if not len(x):
        return None
    look = {"color": color, "symbol": symbol, "hollow": is_hollow, "name": name}
    return {"kind": "dots", "x": _clean(x), "y": _clean(y), "texts": list(texts), **look}


def segments(
    low: Numbers, high: Numbers, y: Numbers, *, color: str, width: float, texts: Sequence[str] = (), name: str = ""
) -> dict[str, Any] | None:
    """Draw horizontal line segments; None without any."""
    if not len(low):
        return None
    ends = {"low": _clean(low), "high": _clean(high), "y": _clean(y)}
    return {"kind": "segments", **ends, "color": color, "width": width, "texts": list(texts), "name": name}


def bars(low: Numbers, high: Numbers, y: Numbers, texts: Sequence[str], *, name: str, part: int) -> dict[str, Any]:
    """Draw horizontal bars for one part of a whole."""
    ends = {"low": _clean(low), "high": _clean(high), "y": _clean(y)}
    return {"kind": "bars", **ends, "texts": list(texts), "name": name, "color": FILLS[part % len(FILLS)], "part": part}


def rule(name: str, at: float, label: str = "") -> dict[str, Any]:
    """Draw a dashed line across the figure at a value of the axis `name` ("x" or "y")."""
    return {"kind": "rule", "axis": name, "at": rounded(at), "label": label}


def row_label(text: str, y: float, *, mark: Mark | None = None) -> dict[str, Any]:
    """Write a label above a row, at the left edge."""
    return {"kind": "label", "text": shortened(text), "y": y, "color": None if mark is None else mark.color}


def row_axis(count: int) -> dict[str, Any]:
    """Describe the hidden axis of `count` rows, the first at 0 and the last at 1 - count."""
    return axis(span=(0.4 - count, 0.65), is_hidden=True)


def row_height(count: int) -> int:
    """Return the height in pixels of a figure with one bar in each row."""
    return 70 + _ROW * count


def log_ticks(values: Sequence[float]) -> dict[float, str]:
    """Choose ticks of a logarithmic axis: fewer for each power of ten where there are many powers."""
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    leading = (1,) if len(powers) > 4 else (1, 2, 5) if len(powers) > 2 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    return {tick: f"{tick:,.6g}" for power in powers for first in leading for tick in [first * 10.0**power]}


def shortened(name: str, most: int = 48) -> str:
    """Cut a name to the space that a figure has for it."""
    return name if len(name) <= most else name[: most - 1] + "…"


def rounded(value: float | None) -> float | None:
    """Round to six significant digits; None for values that JSON cannot hold."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _clean(values: Numbers) -> list[float | None]:
    return [rounded(each) for each in values]
