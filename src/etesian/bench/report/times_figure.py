"""Times to target as dots, a row for each entry; runs without a time stand at the right margin."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etesian.bench.analysis import EntryFigures, RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.record import Run
from etesian.bench.report.curves import rounded
from etesian.bench.report.marks import Mark
from etesian.bench.report.wording import ending, interval, number
from etesian.bench.statistics import Passage, Rule

Figure = dict[str, Any]
_MARGIN = 1.1  # where runs without a time stand, as a multiple of the longest time
_NEVER_SYMBOLS = {
    "reached": "triangle-right-open",  # a target of its own, and was stopped there
    "out_of_time": "triangle-right-open",
    "exhausted": "x-thin-open",
    "diverged": "y-down-open",
    "failed": "x",
}


def times_figure(race: RaceAnalysis, names: Sequence[str], marks: Mapping[str, Mark], rule: Rule) -> Figure:
    """Draw the times of these entries, the first on top."""
    entries = {entry.name: entry for entry in race.race.entries}
    figures = {each.name: each for each in race.entries}
    passages = {name: entries[name].curves.passage(race.race.target.threshold, rule) for name in names}
    longest = _longest_time([figures[name] for name in names], list(passages.values()))
    margin = _MARGIN * longest
    traces, labels = [], []
    for row, name in enumerate(names):
        traces += _row(entries[name], passages[name], figures[name], -row, margin, marks[name])
        labels.append(_row_label(name, -row))
    most = max(len(entries[name].runs) for name in names)
    layout = {
        "xaxis": {"title": {"text": "seconds to target"}, "range": [0, margin * 1.08], "tickvals": _ticks(longest)},
        "yaxis": {"range": [0.45 - len(names), 0.62], "visible": False},
        "annotations": labels,
        "hovermode": "closest",
    }
    if not all(passage.arrived.all() for passage in passages.values()):
        line = {"type": "line", "yref": "paper", "x0": margin / 1.05, "x1": margin / 1.05, "y0": 0, "y1": 1}
        layout["shapes"] = [line]
        labels.append(_margin_label(margin))
    return {"data": traces, "layout": layout, "height": 110 + len(names) * _row_height(most), "legend": False}


def plain(text: str) -> str:
    """Keep plotly from reading a name as markup."""
    return html.escape(text, quote=False)


def shortened(name: str, most: int = 40) -> str:
    """Cut a name to what a figure has room for."""
    return plain(name if len(name) <= most else name[: most - 1] + "…")


def _longest_time(figures: Sequence[EntryFigures], passages: Sequence[Passage]) -> float:
    times = [float(passage.after[passage.arrived].max()) for passage in passages if passage.arrived.any()]
    ends = [each.median.high for each in figures if each.median.high is not None]
    return max([*times, *(end for end in ends if math.isfinite(end))], default=0.0) or figures[0].horizon


def _ticks(longest: float) -> list[float | None]:
    """Four to eight round numbers up to the longest time: none where runs without a time stand."""
    magnitude = 10.0 ** math.floor(math.log10(longest))
    step = next(step for step in (0.2, 0.5, 1, 2) if longest / (step * magnitude) <= 8) * magnitude
    return [rounded(k * step) for k in range(int(longest / step + 1e-9) + 1)]


def _row(entry: Entry, passage: Passage, figures: EntryFigures, row: int, margin: float, mark: Mark) -> list[Figure]:
    heights = row + np.array(_offsets(len(entry.runs)))
    traces = [_median_trace(figures, row, margin, mark), _arrived_trace(entry, passage, heights, mark)]
    for outcome, symbol in _NEVER_SYMBOLS.items():
        rows = [k for k, run in enumerate(entry.runs) if run.outcome == outcome and not passage.arrived[k]]
        if rows:
            runs = [entry.runs[k] for k in rows]
            traces.append(_without_time(runs, heights[rows].tolist(), margin, mark, symbol))
    return [trace for trace in traces if trace["x"]]


def _row_height(most_runs: int) -> int:
    """Pixels for a row: enough to tell the runs of one apart, within what a page can hold."""
    return min(64 + 11 * most_runs, 200)


def _offsets(count: int) -> list[float]:
    """Heights within a row, one below the other in the order of the runs."""
    return np.linspace(0.24, -0.2, count).tolist() if count > 1 else [0.0]


def _arrived_trace(entry: Entry, passage: Passage, heights: np.ndarray[Any, Any], mark: Mark) -> Figure:
    rows = np.flatnonzero(passage.arrived)
    steps = passage.after[rows] - np.nan_to_num(passage.before[rows])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(seconds) for seconds in passage.after[rows].tolist()],
        "y": heights[rows].tolist(),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0] * len(rows),
            "arrayminus": [rounded(step) for step in steps.tolist()],
            "color": mark.color,
            "thickness": 1,
            "width": 0,
        },
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 8},
        "text": [f"seed {entry.runs[k].seed}" for k in rows],
        "hovertemplate": "%{text}: %{x} s<extra></extra>",
    }


def _median_trace(figures: EntryFigures, row: int, margin: float, mark: Mark) -> Figure:
    """A thick bar from end to end of the median's interval, and the median on it; of one run the dot tells all."""
    median, y = figures.median, row - 0.33
    if figures.runs < 2 or median.low is None or median.high is None or median.value is None:
        return {"x": []}
    ends = [min(end, margin) for end in (median.low, median.value, median.high)]
    is_finite = math.isfinite(median.value)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [rounded(end) for end in ends],
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


def _without_time(runs: Sequence[Run], heights: Sequence[float], margin: float, mark: Mark, symbol: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [margin] * len(runs),
        "y": heights,
        "marker": {"color": mark.color, "symbol": symbol, "size": 9, "line": {"width": 2, "color": mark.color}},
        "text": [f"seed {run.seed}: {ending(run.outcome, arrived=False)}" for run in runs],
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
    }


def _row_label(name: str, row: int) -> Figure:
    return {"text": shortened(name), "xref": "paper", "x": 0, "xanchor": "left", "y": row + 0.42, "showarrow": False}


def _margin_label(margin: float) -> Figure:
    return {"text": "no time", "x": margin, "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
