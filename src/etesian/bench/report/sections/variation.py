"""Variation between runs: coefficients of variation of the time, the passing point and the speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from etesian.bench.analysis import EntryFigures
from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import MISSING, value_and_interval
from etesian.bench.report.model import Cell, Section, Table, estimate_cell

PLACE = 60
SCOPE = "race"

_PARTS = {"time": "time", "passing_point": "passing point", "speed": "speed"}
_SYMBOLS = ("circle", "square", "diamond")
_NOTE = (
    "Time = work \u00d7 seconds per unit of work; the passing point is the variation of the work, the speed that of the seconds "
    "per unit. The evaluation step is the share of the time between the last measurement short of the target and the first "
    "one at it; smaller differences cannot be resolved."
)


def build(context: RaceContext) -> Section:
    """Make the section."""
    known = [each for each in context.drawn if each.variation.time.value is not None]
    figure = _figure(known) if known else None
    note = _NOTE + (context.drawn_note if known else "")
    table = _table(context)
    is_known = any(each.reached > 1 for each in context.entries)
    return Section("variation", "Variation", table, figure, note, on_terminal=None if is_known else ())


def _table(context: RaceContext) -> Table:
    horizon = context.entries[0].horizon
    headings = ["entry", "mean time", f"mean within {horizon:.3g} s", "variation of the time", "of the passing point"]
    headings += ["of the speed", "evaluation step", "runs for ±5%"]
    rows = []
    for each in context.entries:
        spread = each.variation
        cells = [
            estimate_cell("mean_seconds", each.mean, "s"),
            estimate_cell("restricted_mean_seconds", each.restricted_mean, "s"),
            estimate_cell("cv", spread.time, "%"),
            estimate_cell("cv_passing_point", spread.passing_point, "%"),
            estimate_cell("cv_speed", spread.speed, "%"),
            estimate_cell("evaluation_step_share", spread.evaluation_step, "%"),
            Cell(str(each.runs_needed.get(0.05, MISSING))),
        ]
        rows.append(context.row(each.name, cells))
    return Table(f"Variation, {context.race.race}", headings, rows)


def _figure(entries: Sequence[EntryFigures]) -> chart.Figure:
    marks: list[object] = [chart.row_label(each.name, 0.42 - row) for row, each in enumerate(entries)]
    for part, (name, words) in enumerate(_PARTS.items()):
        known = [
            (estimate, 0.1 - row - 0.2 * part)
            for row, each in enumerate(entries)
            for estimate in [getattr(each.variation, name)]
            if estimate.value is not None
        ]
        bounded = [(e, y) for e, y in known if e.low is not None and e.high is not None and math.isfinite(e.high)]
        color = chart.FILLS[part]
        ends = [e.low for e, _ in bounded], [e.high for e, _ in bounded], [y for _, y in bounded]
        marks.append(chart.segments(*ends, color=color, width=2, name=words))
        texts = [f"{words}: " + " (".join(filter(None, value_and_interval(e, "%"))) for e, _ in known]
        texts = [text + ")" * text.count("(") for text in texts]
        values = [e.value for e, _ in known], [y for _, y in known]
        marks.append(chart.dots(*values, texts, color=color, symbol=_SYMBOLS[part], name=words))
    x = chart.axis("coefficient of variation", is_share=True, from_zero=True)
    return chart.figure(70 + 56 * len(entries), x, chart.row_axis(len(entries)), marks)
