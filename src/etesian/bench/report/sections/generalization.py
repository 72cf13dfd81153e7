"""Held-out evaluation: the metric that stopped the runs, and the same metric on data that had no influence on them."""

from __future__ import annotations

from collections.abc import Sequence

from etesian.bench.analysis import Generalization
from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import number, p_value
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, number_cell

PLACE = 110
SCOPE = "race"

_NOTE = (
    "The metric that decided when to stop, and the same metric on held-out data, at the end of the runs that reached the "
    "target."
)


def build(context: RaceContext) -> Section | None:
    """Make the section; None where no run has a held-out metric."""
    entries = context.race.generalization
    if not entries:
        return None
    names = {each.name for each in context.drawn}
    drawn = [each for each in entries if each.entry in names]
    figure = _figure(context, drawn) if drawn else None
    return Section("generalization", "Held-out evaluation", _table(context, entries), figure, _NOTE)


def _table(context: RaceContext, entries: Sequence[Generalization]) -> Table:
    rows = []
    for each in entries:
        p = None if each.disagreement is None else each.disagreement.p_value
        difference = estimate_cell("difference", each.examples or each.difference)
        cells = [number_cell(each.tuned), number_cell(each.fresh), estimate_cell("gap", each.gap), difference]
        rows.append(context.row(each.entry, [*cells, Cell(p_value(p), "p_value", p)]))
    headings = ["entry", "tuned", "held-out", "held-out - tuned", f"held-out - {context.race.baseline}", "p (McNemar)"]
    return Table("Held-out evaluation", headings, rows)


def _figure(context: RaceContext, drawn: Sequence[Generalization]) -> chart.Figure:
    """Join the tuned metric, hollow, and the held-out metric, filled, by a line."""
    marks: list[object] = []
    for row, each in enumerate(drawn):
        look, y = context.marks[each.entry], [-0.05 - row]
        marks += [
            chart.row_label(each.entry, 0.42 - row, mark=look),
            chart.segments([min(each.tuned, each.fresh)], [max(each.tuned, each.fresh)], y, color=look.color, width=2),
            chart.dots([each.tuned], y, [f"tuned: {number(each.tuned)}"], color=look.color, is_hollow=True),
            chart.dots([each.fresh], y, [f"held-out: {number(each.fresh)}"], color=look.color),
        ]
    x = chart.axis(f"○ tuned, ● {drawn[0].metric}")
    return chart.figure(chart.row_height(len(drawn)), x, chart.row_axis(len(drawn)), marks, legend=False)
