"""Times to target: a dot for each run; runs without a time are at the right margin."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from etesian.bench.analysis import EntryFigures
from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import MISSING, ending, number, value_and_interval
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, number_cell

PLACE = 40
SCOPE = "race"

_MARGIN = 1.1  # position of runs without a time, as a multiple of the longest time
_SYMBOLS = {"reached": "arrow", "out_of_time": "arrow", "exhausted": "cross", "diverged": "fork", "failed": "ban"}
_NOTE = (
    "A dot is a run; the line to its left reaches back to its last measurement short of the target. The bar below the dots "
    "is the median with its interval; a bar that ends at the right margin has no upper end. Runs without a time are at the "
    "right margin: ▷ out of time, \u00d7 no work left, ⅄ diverged, ⊘ failed."
)


def build(context: RaceContext) -> Section:
    """Make the section."""
    return Section(
        "times", "Times to target", _table(context), _figure(context), _NOTE + context.drawn_note, on_terminal=()
    )


def _table(context: RaceContext) -> Table:
    rows = []
    for each in context.entries:
        first, last = each.curve.seconds[:1], each.curve.seconds[-1:]
        grid = MISSING if each.grid is None else f"{number(each.grid[0])} and {number(each.grid[1], 's')}"
        cells = [number_cell(first[0] if first else None, "s"), estimate_cell("median_seconds", each.median, "s")]
        cells += [
            number_cell(last[0] if last else None, "s"),
            Cell(grid),
            Cell(str(each.censored)),
            Cell(str(each.never)),
        ]
        rows.append(context.row(each.name, cells))
    headings = ["entry", "first", "median", "last", "median measured between", "out of time", "never"]
    return Table(f"Times to target, {context.race.race}", headings, rows)


def _figure(context: RaceContext) -> chart.Figure:
    margin = _MARGIN * _longest_time(context)
    marks = [mark for row, each in enumerate(context.drawn) for mark in _row(context, each, -row, margin)]
    has_margin = any(each.reached < each.runs for each in context.drawn)
    if has_margin:
        marks.append(chart.rule("x", margin / 1.05, "no time"))
    most = max(each.runs for each in context.drawn)
    return chart.figure(
        70 + len(context.drawn) * min(56 + 10 * most, 180),
        chart.axis("seconds to target", span=(0.0, margin * (1.06 if has_margin else 0.98))),
        chart.row_axis(len(context.drawn)),
        marks,
        legend=False,
    )


def _longest_time(context: RaceContext) -> float:
    times = [each.curve.seconds[-1] for each in context.drawn if each.curve.seconds]
    ends = [each.median.high for each in context.drawn if each.median.high is not None]
    return max([*times, *(end for end in ends if math.isfinite(end))], default=0.0) or context.entries[0].horizon


def _row(context: RaceContext, each: EntryFigures, row: int, margin: float) -> Iterator[dict[str, object] | None]:
    entry, mark = context.runs_of[each.name], context.marks[each.name]
    passage = entry.curves.passage(context.race.race.target.threshold, context.options.rule)
    heights = row + np.array(_offsets(len(entry.runs)))
    arrived = np.flatnonzero(passage.arrived)
    before, after = np.nan_to_num(passage.before[arrived]).tolist(), passage.after[arrived].tolist()
    yield chart.row_label(each.name, row + 0.42, mark=mark)
    yield chart.segments(before, after, heights[arrived].tolist(), color=mark.color, width=1, name=each.name)
    texts = [f"seed {entry.runs[k].seed}: {number(float(passage.after[k]), 's')}" for k in arrived]
    yield chart.dots(after, heights[arrived].tolist(), texts, color=mark.color, symbol=mark.symbol, name=each.name)
    yield from _median(each, row - 0.34, margin, mark.color)
    for outcome, symbol in _SYMBOLS.items():
        rows = [k for k, run in enumerate(entry.runs) if run.outcome == outcome and not passage.arrived[k]]
        texts = [f"seed {entry.runs[k].seed}: {ending(outcome, arrived=False)}" for k in rows]  # type: ignore[arg-type]
        at = [margin] * len(rows)
        yield chart.dots(at, heights[rows].tolist(), texts, color=mark.color, symbol=symbol, name=each.name)


def _median(each: EntryFigures, y: float, margin: float, color: str) -> Iterator[dict[str, object] | None]:
    median = each.median
    if each.runs < 2 or median.low is None or median.high is None or median.value is None:
        return
    text, ends = value_and_interval(median, "s")
    tip = f"median {text}" + (f" ({ends})" if ends else "")
    low, high = min(median.low, margin), min(median.high, margin)
    yield chart.segments([low], [high], [y], color=color, width=5, texts=[tip], name=each.name)
    if math.isfinite(median.value):
        yield chart.dots([median.value], [y], [tip], color=color, symbol="tick", name=each.name)


def _offsets(count: int) -> list[float]:
    """Spread runs over the height of a row, in their order."""
    return np.linspace(0.24, -0.2, count).tolist() if count > 1 else [0.0]
