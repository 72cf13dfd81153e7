"""The page's figures of bars and intervals: variation, attribution, use of time, generalization."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etesian.bench.analysis import Attribution, EntryFigures, Generalization
from etesian.bench.analysis.attribution import TimeUse
from etesian.bench.report.curves import rounded
from etesian.bench.report.marks import Mark
from etesian.bench.report.times_figure import Figure, plain, shortened
from etesian.bench.report.wording import interval, number
from etesian.bench.statistics import Estimate, Ratio

# Colors of parts, not of entries: told apart by pattern too.
_FILLS = (("#4c78a8", ""), ("#e07b00", "/"), ("#009e73", "x"), ("#cc5fa0", "."), ("#b8860b", "|"), ("#7a78d8", "\\"))
_PARTS_OF_VARIATION = {"time": "time", "passing_point": "passing point", "speed": "speed"}


def variation_figure(entries: Sequence[EntryFigures]) -> Figure:
    """Coefficients of variation with their intervals: of the time, of the passing point and of the speed."""
    traces = []
    for row, (part, words) in enumerate(_PARTS_OF_VARIATION.items()):
        estimates = [getattr(each.variation, part) for each in entries]
        trace = _intervals(estimates, [-k - 0.22 * (row - 1) for k in range(len(entries))], words, row)
        traces.append(trace)
    layout = {
        "xaxis": {"title": {"text": "coefficient of variation"}, "tickformat": ".1~%", "rangemode": "tozero"},
        **_rows_layout([each.name for each in entries]),
    }
    return {"data": traces, "layout": layout, "height": 110 + 56 * len(entries)}


def attribution_figure(attributions: Sequence[Attribution], baseline: str) -> Figure:
    """Speed-up as bars on a logarithmic scale, where its two parts add up to the whole."""
    parts = ("statistical", "throughput")
    names = ("less work until the target", "more work a second")
    traces = []
    for row, (part, words) in enumerate(zip(parts, names, strict=True)):
        factors = [_factor(getattr(each, part)) for each in attributions]
        traces.append(_factor_bars(factors, words, row))
    wholes = [_factor(each.speedup) for each in attributions]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "speed-up",
            "x": [math.log2(whole) for whole in wholes],
            "y": _rows(len(wholes)),
            "text": [number(whole) for whole in wholes],
            "marker": {"symbol": "diamond", "size": 10, "color": "#888888", "line": {"width": 1}},
            "hovertemplate": "speed-up %{text}<extra></extra>",
        }
    )
    powers = _powers([*wholes, *(_factor(getattr(each, part)) for each in attributions for part in parts)])
    layout = {
        "barmode": "relative",
        "xaxis": {
            "title": {"text": f"times as fast as {plain(baseline)}"},
            "tickvals": powers,
            "ticktext": [number(2.0**power) for power in powers],
        },
        **_rows_layout([each.entry for each in attributions]),
    }
    return {"data": traces, "layout": layout, "height": 130 + 44 * len(attributions)}


def time_use_figure(uses: Sequence[TimeUse]) -> Figure:
    """Shares of the time that the runs record."""
    things = list(dict.fromkeys(name for each in uses for name in each.shares))
    traces = []
    for row, thing in enumerate(things):
        values = [each.shares[thing].value if thing in each.shares else None for each in uses]
        bars = _bars([rounded(value) for value in values], thing, row)
        traces.append({**bars, "hovertemplate": f"{plain(thing)} %{{x:.1%}}<extra></extra>"})
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "share of the time"}, "tickformat": ".0%", "range": [0, 1]},
        **_rows_layout([each.entry for each in uses]),
    }
    return {"data": traces, "layout": layout, "height": 120 + 44 * len(uses)}


def generalization_figure(entries: Sequence[Generalization], marks: Mapping[str, Mark]) -> Figure:
    """The metric tuned for, hollow, and the same on fresh data, filled, on one line for each entry."""
    traces = []
    for row, each in zip(_rows(len(entries)), entries, strict=True):
        mark = marks[each.entry]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [rounded(each.tuned), rounded(each.fresh)],
                "y": [row, row],
                "line": {"color": mark.color, "width": 2},
                "marker": {"symbol": ["circle-open", "circle"], "size": 11, "color": mark.color, "line": {"width": 2}},
                "text": ["tuned for", "fresh"],
                "hovertemplate": "%{text}: %{x}<extra></extra>",
                "showlegend": False,
            }
        )
    layout = {
        "xaxis": {"title": {"text": f"○ tuned for, ● {plain(entries[0].metric)}"}},
        **_rows_layout([each.entry for each in entries]),
    }
    return {"data": traces, "layout": layout, "height": 110 + 44 * len(entries), "legend": False}


def _factor(ratio: Ratio | None) -> float:
    assert ratio is not None
    assert ratio.estimate.value is not None
    return ratio.estimate.value


def _factor_bars(factors: Sequence[float], words: str, row: int) -> Figure:
    text = [number(factor) for factor in factors]
    bars = _bars([math.log2(factor) for factor in factors], words, row)
    return {**bars, "text": text, "textposition": "none", "hovertemplate": f"{words}: %{{text}}<extra></extra>"}


def _bars(values: Sequence[float | None], words: str, row: int) -> Figure:
    color, shape = _FILLS[row % len(_FILLS)]
    return {
        "type": "bar",
        "orientation": "h",
        "name": plain(words),
        "x": list(values),
        "y": _rows(len(values)),
        "width": 0.4,
        "marker": {"color": color, "pattern": {"shape": shape, "fillmode": "overlay", "fgcolor": "#ffffff", "size": 6}},
    }


def _intervals(estimates: Sequence[Estimate], rows: Sequence[float], words: str, index: int) -> Figure:
    """Dots with the intervals of these estimates; one without an upper end is drawn without an interval."""
    known = [(each, row) for each, row in zip(estimates, rows, strict=True) if each.value is not None]
    ends = [
        (each.value - each.low, each.high - each.value)
        if each.low is not None and each.high is not None and math.isfinite(each.high) and each.value is not None
        else (0.0, 0.0)
        for each, _ in known
    ]
    color = _FILLS[index][0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": words,
        "x": [rounded(each.value) for each, _ in known],
        "y": [row for _, row in known],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(above) for _, above in ends],
            "arrayminus": [rounded(below) for below, _ in ends],
            "color": color,
            "thickness": 2,
            "width": 4,
        },
        "marker": {"color": color, "symbol": ("circle", "square", "diamond")[index], "size": 8},
        "text": [f"{number(each.value, '%')} ({interval(each, '%')})" for each, _ in known],
        "hovertemplate": f"{words}: %{{text}}<extra></extra>",
    }


def _rows(count: int) -> list[int]:
    return [-k for k in range(count)]


def _rows_layout(names: Sequence[str]) -> Figure:
    """One row for each name, which stands above it: beside it there is no room on a narrow screen."""
    labels = [
        {"text": shortened(name), "xref": "paper", "x": 0, "xanchor": "left", "y": 0.4 - k, "showarrow": False}
        for k, name in enumerate(names)
    ]
    return {
        "yaxis": {"range": [0.4 - len(names), 0.6], "visible": False},
        "annotations": labels,
        "hovermode": "closest",
    }


def _powers(factors: Sequence[float]) -> list[float]:
    """Powers of two, at most nine of them, that reach around these factors."""
    exponents = [math.log2(factor) for factor in factors]
    low, high = math.floor(min([*exponents, -1])), math.ceil(max([*exponents, 1]))
    step = max(1, math.ceil((high - low) / 8))
    return [float(power) for power in range(step * math.floor(low / step), high + step, step)]
