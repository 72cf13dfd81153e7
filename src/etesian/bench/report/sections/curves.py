"""The metric over time: one line for each run, drawn by the page, and the table of runs."""

from __future__ import annotations

import math

import numpy as np

from etesian.bench.analysis import RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import MISSING, ending, number, target_words
from etesian.bench.report.model import Cell, Row, Section, Table, words_cell
from etesian.bench.statistics import Passage

PLACE = 30
SCOPE = "race"

_HEADINGS = ("entry", "seed", "outcome", "target passed between", "measurements", "first value", "last value", "time")


def build(context: RaceContext) -> Section:
    """Make the section."""
    target = context.race.race.target
    figure = chart.figure(
        400,
        chart.axis("seconds on the clock", from_zero=True),
        chart.axis(target.metric, span=_whole_range(context.race)),
        [chart.rule("y", target.threshold, f"target: {target_words(target)}")],
        **_focus(context),
    )
    note = "Each line is a run. Hover over an entry, or select it, to highlight its runs."
    table = Table(f"Runs, {context.race.race}", _HEADINGS, _rows(context))
    return Section("curves", f"{target.metric} over time", table, figure, note, control="entries", on_terminal=())


def _rows(context: RaceContext) -> list[Row]:
    """One row for each run, without links: there may be thousands."""
    rows = []
    for entry in context.race.race.entries:
        passage = entry.curves.passage(context.race.race.target.threshold, context.options.rule)
        rows += [Row(entry.name, _cells(entry, passage, k)) for k in range(len(entry.runs))]
    return rows


def _cells(entry: Entry, passage: Passage, row: int) -> list[Cell]:
    run, curves = entry.runs[row], entry.curves
    sign = 1.0 if curves.target.direction == "at_least" else -1.0
    count = int(curves.lengths[row])
    ends = curves.heights[row, [0, count - 1]].tolist() if count else [math.nan] * 2
    return [
        Cell(str(run.seed)),
        words_cell(ending(run.outcome, arrived=bool(passage.arrived[row]))),
        Cell(_passed_between(passage, row)),
        Cell(str(count)),
        *(Cell(number(sign * height if math.isfinite(height) else None)) for height in ends),
        Cell(number(float(curves.spent[row]), "s") if run.points else MISSING),
    ]


def _passed_between(passage: Passage, row: int) -> str:
    if not passage.arrived[row]:
        return MISSING
    before = float(passage.before[row])
    return f"{number(0.0 if math.isnan(before) else before)} and {number(float(passage.after[row]), 's')}"


def _whole_range(race: RaceAnalysis) -> list[float] | None:
    """Show nearly all values and the target, so that a diverging run does not flatten the others."""
    target = race.race.target
    sign = 1.0 if target.direction == "at_least" else -1.0
    values = sign * np.concatenate([entry.curves.heights.ravel() for entry in race.race.entries])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ends = (0.005, 0.98) if target.direction == "at_most" else (0.02, 0.995)
    low, high = np.quantile(values, ends)
    return _padded(min(low, target.threshold), max(high, target.threshold))


def _focus(context: RaceContext) -> dict[str, dict[str, list[float]]]:
    """Return the window around the target that is drawn first; nothing where no drawn run comes near it."""
    race = context.race
    around, sign = race.sensitivity, 1.0 if race.race.target.direction == "at_least" else -1.0
    if around is None:
        return {}
    easiest, hardest = around.rows[0].threshold, around.rows[-1].threshold
    width = abs(hardest - easiest)
    first, last = math.inf, 0.0
    for each in context.drawn:
        curves = context.runs_of[each.name].curves
        near = curves.heights >= sign * easiest - width
        if near.any():
            first, last = min(first, float(curves.seconds[near].min())), max(last, float(curves.seconds[near].max()))
    if not math.isfinite(first) or last <= first:
        return {}
    low, high = sorted((easiest - sign * width, hardest + 0.1 * sign * width))
    return {"focus": {"x": [max(0.0, first - 0.05 * (last - first)), last + 0.02 * (last - first)], "y": [low, high]}}


def _padded(low: float, high: float) -> list[float] | None:
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return [float(low - pad), float(high + pad)] if math.isfinite(high - low) else None
