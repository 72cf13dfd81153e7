"""The page's line figures as plotly's own JSON: arrivals, times by threshold, profiles. Those of bars have a file beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from etesian.bench.analysis import RaceAnalysis, Sensitivity
from etesian.bench.report.curves import rounded
from etesian.bench.report.marks import Mark
from etesian.bench.report.times_figure import Figure, plain
from etesian.bench.report.wording import number, target_words
from etesian.bench.statistics import Profile

MOST_DRAWN = 12
"""Entries in a figure; more cannot be told apart. The tables hold all."""


def drawn_names(race: RaceAnalysis) -> list[str]:
    """Choose the entries for the figures: the fastest, and the baseline."""
    names = list(race.standing.names)
    fastest = names[:MOST_DRAWN]
    if race.baseline is None or race.baseline in fastest:
        return fastest
    return [*fastest[:-1], race.baseline]


def curves_layout(race: RaceAnalysis) -> Figure:
    """Everything of the figure of curves but the curves, which the page draws itself from those that it holds."""
    target = race.race.target
    is_below = target.direction == "at_most"
    label = {
        "text": f"target: {plain(target_words(target))}",
        "xref": "paper",
        "x": 0 if is_below else 1,
        "xanchor": "left" if is_below else "right",
        "y": target.threshold,
        "yanchor": "top" if is_below else "bottom",
        "showarrow": False,
    }
    layout = {
        "xaxis": {"title": {"text": "seconds on the clock"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": plain(target.metric)}, "range": _metric_range(race)},
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target.threshold, "y1": target.threshold}],
        "annotations": [label],
        "hovermode": "closest",
    }
    return {"data": [], "layout": layout, "height": 400}


def arrivals_figure(race: RaceAnalysis, names: Sequence[str], marks: Mapping[str, Mark]) -> Figure:
    """Share of runs that have arrived over time, with its band."""
    figures = {each.name: each for each in race.entries}
    traces = []
    for name in names:
        curve = figures[name].curve
        if not curve.seconds:
            continue
        band = {"name": plain(name), "legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
        steps = [0.0, *curve.seconds]
        for shares, fill in ((curve.low, {}), (curve.high, {"fill": "tonexty", "fillcolor": marks[name].color + "22"})):
            traces.append({**_steps(steps, [0.0, *shares]), **band, **fill, "line": {"width": 0, "shape": "hv"}})
        line = _line(name, marks[name])
        traces.append({**_steps(steps, [0.0, *curve.shares]), **line})
    layout = {
        "xaxis": {"title": {"text": "seconds on the clock"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "share of runs at the target"}, "range": [0, 1.04], "tickformat": ".0%"},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "height": 360}


def thresholds_figure(
    race: RaceAnalysis, around: Sensitivity, names: Sequence[str], marks: Mapping[str, Mark]
) -> Figure:
    """Median time to target of each entry, as a function of the threshold."""
    target = race.race.target
    thresholds = [row.threshold for row in around.rows]
    traces = []
    for name in names:
        at = around.entries.index(name)
        seconds = [rounded(row.seconds[at]) for row in around.rows]
        traces.append({"x": thresholds, "y": seconds, "type": "scatter", "mode": "lines", **_line(name, marks[name])})
    official = {"type": "line", "yref": "paper", "x0": target.threshold, "x1": target.threshold, "y0": 0, "y1": 1}
    layout = {
        "xaxis": {"title": {"text": f"threshold of {plain(target.metric)}"}, "range": [thresholds[0], thresholds[-1]]},
        "yaxis": {
            "title": {"text": "median seconds"},
            **_logarithmic([y for trace in traces for y in trace["y"] if y]),
        },
        "shapes": [official],
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "height": 360}


def profiles_figure(profiles: Mapping[str, Profile], marks: Mapping[str, Mark], *, horizon: float = 4.0) -> Figure:
    """Share of the tasks on which an entry takes at most so many times as long as the fastest."""
    ranked = sorted(profiles, key=lambda name: -profiles[name].score)[:MOST_DRAWN]
    traces = []
    for name in ranked:
        profile = profiles[name]
        ratios, shares = [1.0, *profile.ratios, horizon], [0.0, *profile.shares]
        traces.append({**_steps(ratios, [*shares, shares[-1]]), **_line(name, marks[name])})
    layout = {
        "xaxis": {"title": {"text": "times as long as the fastest"}, "range": [1, horizon]},
        "yaxis": {"title": {"text": "share of the races"}, "range": [0, 1.04], "tickformat": ".0%"},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout, "height": 360}


def _steps(x: Sequence[float], y: Sequence[float]) -> Figure:
    return {"type": "scatter", "mode": "lines", "x": [rounded(each) for each in x], "y": [rounded(each) for each in y]}


def _line(name: str, mark: Mark) -> Figure:
    return {
        "name": plain(name),
        "legendgroup": name,
        "line": {"color": mark.color, "dash": mark.dash, "width": 2, "shape": "hv"},
        "hovertemplate": f"{plain(name)}<br>%{{x}}: %{{y}}<extra></extra>",
    }


def _logarithmic(values: Sequence[float]) -> Figure:
    """A logarithmic axis with its numbers written out: 1, 2 and 5 of each power of ten, fewer where these are many."""
    if not values:
        return {}
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    leading = (1,) if len(powers) > 4 else (1, 2, 5) if len(powers) > 2 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    ticks = [first * 10.0**power for power in powers for first in leading]
    return {"type": "log", "tickvals": ticks, "ticktext": [number(tick) for tick in ticks]}


def _metric_range(race: RaceAnalysis) -> list[float] | None:
    """What to show of the metric: nearly all values and the target; a diverging run must not flatten the others."""
    target = race.race.target
    sign = 1.0 if target.direction == "at_least" else -1.0
    values = sign * np.concatenate([entry.curves.heights.ravel() for entry in race.race.entries])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ends = (0.005, 0.98) if target.direction == "at_most" else (0.02, 0.995)
    low, high = np.quantile(values, ends)
    low, high = min(low, target.threshold), max(high, target.threshold)
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return [float(low - pad), float(high + pad)] if math.isfinite(high - low) else None
