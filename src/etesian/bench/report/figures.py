"""The page's two figures as plotly's own JSON: lists of numbers, colors left to the page where they depend on its theme."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etesian.bench.record import Point, Run
from etesian.bench.report.marks import Mark
from etesian.bench.report.wording import OUTCOMES, interval, number, target_words
from etesian.bench.statistics import Summary, WorkloadSummary, by_workload

Figure = dict[str, Any]
POINTS_DRAWN = 400
_MARGIN = 1.1  # where runs without a time stand, as a multiple of the longest time
_NEVER_SYMBOLS = {
    "out_of_time": "triangle-right-open",
    "exhausted": "x-thin-open",
    "diverged": "y-down-open",
    "failed": "x",
}


def curves_figure(runs: Sequence[Run], marks: Mapping[str, Mark]) -> Figure:
    """Metric over time on the clock, a line for each run, and the target."""
    target = runs[0].target
    seen: set[str] = set()
    traces = []
    for run in runs:
        if run.points:
            traces.append(_curve(run, marks[run.workload], is_first=run.workload not in seen))
            seen.add(run.workload)
    layout = {
        "xaxis": {"title": {"text": "seconds on the clock"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": plain(target.metric)}, "range": _metric_range(runs)},
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target.threshold, "y1": target.threshold}],
        "annotations": [_target_label(target_words(target), target.threshold, target.direction)],
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "height": 400}


def times_figure(runs: Sequence[Run], summary: Summary, marks: Mapping[str, Mark]) -> Figure:
    """Times to target as dots, a row for each workload; runs without a time stand at the right margin."""
    margin = _MARGIN * _longest_time(runs, summary)
    traces, labels = [], []
    for row, (workload, group) in enumerate(by_workload(runs).items()):
        traces += _row(group, summary.workloads[row], -row, margin, marks[workload])
        labels.append(_row_label(workload, -row))
    rows = len(summary.workloads)
    layout = {
        "xaxis": {
            "title": {"text": "seconds to target"},
            "range": [0, margin * 1.08],
            "tickvals": _ticks(margin / _MARGIN),
        },
        "yaxis": {"range": [0.45 - rows, 0.62], "visible": False},
        "annotations": labels,
        "hovermode": "closest",
    }
    if any(run.outcome != "reached" for run in runs):
        layout["shapes"] = [
            {"type": "line", "yref": "paper", "x0": margin / 1.05, "x1": margin / 1.05, "y0": 0, "y1": 1}
        ]
        labels.append(_margin_label(margin))
    return {"data": traces, "layout": layout, "height": 110 + rows * _row_height(runs), "legend": False}


def plain(text: str) -> str:
    """Keep plotly from reading a name as markup."""
    return html.escape(text, quote=False)


def _curve(run: Run, mark: Mark, *, is_first: bool) -> Figure:
    points = _thin(run)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_rounded(point.seconds) for point in points],
        "y": [_rounded(point.metrics.get(run.target.metric)) for point in points],
        "line": {"color": mark.color, "dash": mark.dash, "width": 1.6},
        "opacity": 0.8,
        "name": plain(run.workload),
        "legendgroup": plain(run.workload),
        "showlegend": is_first,
        "hovertemplate": f"{plain(run.workload)}, seed {run.seed}<br>%{{x}} s: %{{y}}<extra></extra>",
    }


def _thin(run: Run) -> list[Point]:
    """At most so many points of a run, evenly taken, the passing ones always among them."""
    points = run.points
    if len(points) <= POINTS_DRAWN:
        return list(points)
    chosen = set(np.linspace(0, len(points) - 1, POINTS_DRAWN).astype(int).tolist())
    passing = run.passing
    if passing is not None:
        last = points.index(passing[1])
        chosen |= {max(last - 1, 0), last}
    return [points[k] for k in sorted(chosen)]


def _metric_range(runs: Sequence[Run]) -> list[float] | None:
    """What to show of the metric: nearly all values and the target; a diverging run must not flatten the others."""
    metric, threshold = runs[0].target.metric, runs[0].target.threshold
    values = np.array([point.metrics.get(metric, math.nan) for run in runs for point in run.points], dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = (
        np.quantile(values, [0.005, 0.98])
        if runs[0].target.direction == "at_most"
        else np.quantile(values, [0.02, 0.995])
    )
    low, high = min(low, threshold), max(high, threshold)
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return [float(low - pad), float(high + pad)]


def _target_label(words: str, threshold: float, direction: str) -> Figure:
    below = direction == "at_most"
    return {
        "text": f"target: {plain(words)}",
        "xref": "paper",
        "x": 0 if below else 1,
        "xanchor": "left" if below else "right",
        "y": threshold,
        "yanchor": "top" if below else "bottom",
        "showarrow": False,
    }


def _longest_time(runs: Sequence[Run], summary: Summary) -> float:
    times = [run.seconds for run in runs if run.outcome == "reached" and run.seconds is not None]
    ends = [each.median.high for each in summary.workloads if each.median.high is not None]
    return max([*times, *(end for end in ends if math.isfinite(end))], default=0.0) or summary.horizon


def _ticks(longest: float) -> list[float]:
    """Four to eight round numbers up to the longest time: none where runs without a time stand."""
    magnitude = 10.0 ** math.floor(math.log10(longest))
    step = next(step for step in (0.2, 0.5, 1, 2) if longest / (step * magnitude) <= 8) * magnitude
    return [_exact(k * step) for k in range(int(longest / step + 1e-9) + 1)]


def _row(runs: Sequence[Run], summary: WorkloadSummary, row: int, margin: float, mark: Mark) -> list[Figure]:
    heights = {id(run): row + offset for run, offset in zip(runs, _offsets(len(runs)), strict=True)}
    reached = [run for run in runs if run.outcome == "reached"]
    traces = [_median_trace(summary, row, margin, mark), _reached_trace(reached, heights, mark)]
    for outcome, symbol in _NEVER_SYMBOLS.items():
        without = [run for run in runs if run.outcome == outcome]
        if without:
            traces.append(_without_time(without, heights, margin, mark, symbol, OUTCOMES[without[0].outcome]))
    return [trace for trace in traces if trace["x"]]


def _row_height(runs: Sequence[Run]) -> int:
    """Pixels for a row: enough to tell the runs of one apart, within what a page can hold."""
    most = max(len(group) for group in by_workload(runs).values())
    return min(64 + 11 * most, 320)


def _offsets(count: int) -> list[float]:
    """Heights within a row, one below the other in the order of the runs."""
    return np.linspace(0.24, -0.2, count).tolist() if count > 1 else [0.0]


def _reached_trace(runs: Sequence[Run], heights: Mapping[int, float], mark: Mark) -> Figure:
    passing = [run.passing for run in runs]
    steps = [after.seconds - (before.seconds if before else 0.0) for before, after in filter(None, passing)]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_rounded(run.seconds) for run in runs],
        "y": [heights[id(run)] for run in runs],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0] * len(runs),
            "arrayminus": [_rounded(step) for step in steps],
            "color": mark.color,
            "thickness": 1,
            "width": 0,
        },
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 8},
        "text": [f"seed {run.seed}" for run in runs],
        "hovertemplate": "%{text}: %{x} s<extra></extra>",
    }


def _median_trace(summary: WorkloadSummary, row: int, margin: float, mark: Mark) -> Figure:
    """A thick bar from end to end of the median's interval, and the median on it."""
    median, y = summary.median, row - 0.36
    if median.low is None or median.high is None or median.value is None:
        return {"x": []}
    ends = [min(end, margin) for end in (median.low, median.value, median.high)]
    is_finite = math.isfinite(median.value)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [_rounded(end) for end in ends],
        "y": [y] * 3,
        "line": {"color": mark.color, "width": 5},
        "marker": {
            "color": mark.color,
            "symbol": "line-ns",
            "size": [0, 16 if is_finite else 0, 0],
            "line": {"color": mark.color, "width": 3},
        },
        "opacity": 0.75,
        "hovertemplate": f"median {number(median.value, 's')} ({interval(median, 's')})<extra></extra>",
    }


def _without_time(
    runs: Sequence[Run], heights: Mapping[int, float], margin: float, mark: Mark, symbol: str, words: str
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [margin] * len(runs),
        "y": [heights[id(run)] for run in runs],
        "marker": {"color": mark.color, "symbol": symbol, "size": 9, "line": {"width": 2, "color": mark.color}},
        "text": [f"seed {run.seed}: {words}" for run in runs],
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
    }


def _row_label(workload: str, row: int) -> Figure:
    name = workload if len(workload) <= 40 else workload[:39] + "…"
    return {"text": plain(name), "xref": "paper", "x": 0, "xanchor": "left", "y": row + 0.4, "showarrow": False}


def _margin_label(margin: float) -> Figure:
    return {
        "text": "no time",
        "x": margin,
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "showarrow": False,
    }


def _rounded(value: float | None) -> float | None:
    """Six digits, which is more than a screen has; None for what JSON cannot say."""
    return _exact(value) if value is not None and math.isfinite(value) else None


def _exact(value: float) -> float:
    return float(f"{value:.6g}")
