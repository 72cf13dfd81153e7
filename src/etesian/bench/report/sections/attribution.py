"""Attribution of speed-ups: less work to the target, or more work per second."""

from __future__ import annotations

import math

from etesian.bench.analysis import Attribution
from etesian.bench.report import chart
from etesian.bench.report.context import MOST_DRAWN, RaceContext
from etesian.bench.report.format import MISSING, number
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, number_cell, words_cell
from etesian.bench.statistics import Ratio

PLACE = 90
SCOPE = "race"

_PARTS = {"statistical": "less work to the target", "throughput": "more work per second"}
_NOTE = (
    "Speed-up = (less work to the target) \u00d7 (more work per second), over the runs that reached the target. On this scale "
    "the two bars add up to the diamond."
)


def build(context: RaceContext) -> Section | None:
    """Make the section; None without a baseline."""
    order = {each.name: place for place, each in enumerate(context.entries)}
    ranked = sorted(context.race.attribution, key=lambda each: order[each.entry])
    if not ranked:
        return None
    known = [each for each in ranked if _is_known(each)]
    refused = [each for each in ranked if not _is_known(each)]
    figure = _figure(context, known[:MOST_DRAWN]) if known else None
    table = _table(context, known, refused)
    return Section(
        "attribution", "Sources of the speed-up", table, figure, _NOTE, on_terminal=(table,) if known else ()
    )


def _table(context: RaceContext, known: list[Attribution], refused: list[Attribution]) -> Table:
    rows = [context.row(each.entry, _cells(each)) for each in known]
    rows += [context.row(each.entry, [Cell(MISSING)] * 5 + [words_cell(each.refusal or "")]) for each in refused]
    headings = [
        "entry",
        "speed-up",
        "less work",
        "throughput",
        "scaling efficiency",
        "throughput by step",
        "differs in",
    ]
    return Table(f"Speed-up over {context.race.baseline}", headings, rows)


def _cells(each: Attribution) -> list[Cell]:
    parts = {"speedup": each.speedup, "statistical": each.statistical, "throughput": each.throughput}
    cells = [estimate_cell(key, None if part is None else part.estimate) for key, part in parts.items()]
    steps = "; ".join(f"{step.axis} \u00d7 {number(step.factor)}" for step in each.steps)
    return [
        *cells,
        number_cell(each.scaling_efficiency, "%"),
        words_cell(steps),
        words_cell(", ".join(each.differs_in)),
    ]


def _figure(context: RaceContext, drawn: list[Attribution]) -> chart.Figure:
    """Draw the two parts end to end on a logarithmic scale, from 1."""
    rows = [-0.05 - row for row in range(len(drawn))]
    marks: list[object] = [chart.row_label(each.entry, 0.42 - row) for row, each in enumerate(drawn)]
    starts = [0.0] * len(drawn)
    for part, (name, words) in enumerate(_PARTS.items()):
        logs = [math.log2(_factor(getattr(each, name))) for each in drawn]
        ends = [start + log for start, log in zip(starts, logs, strict=True)]
        texts = [f"{words}: {number(2.0**log)}" for log in logs]
        marks.append(chart.bars(starts, ends, rows, texts, name=words, part=part))
        starts = ends
    wholes = [math.log2(_factor(each.speedup)) for each in drawn]
    texts = [f"speed-up: {number(2.0**log)}" for log in wholes]
    marks.append(chart.dots(wholes, rows, texts, color="#888888", symbol="diamond", name="speed-up"))
    low, high = math.floor(min([*starts, *wholes, -1.0])), math.ceil(max([*starts, *wholes, 1.0]))
    step = max(1, math.ceil((high - low) / 8))
    ticks = {float(power): number(2.0**power) for power in range(low, high + 1, step)}
    label = f"times as fast as {chart.shortened(context.race.baseline or '')}"
    x = chart.axis(label, span=(low, high), ticks=ticks)
    return chart.figure(chart.row_height(len(drawn)), x, chart.row_axis(len(drawn)), marks)


def _is_known(each: Attribution) -> bool:
    return all(ratio is not None and _factor(ratio) > 0 for ratio in (each.speedup, each.statistical, each.throughput))


def _factor(ratio: Ratio | None) -> float:
    return 0.0 if ratio is None or ratio.estimate.value is None else ratio.estimate.value
