"""Arrivals: the share of runs that have reached the target, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.model import Section, Table, estimate_cell, number_cell

PLACE = 50
SCOPE = "race"

_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def build(context: RaceContext) -> Section | None:
    """Make the section; None for single runs."""
    if not any(each.runs > 1 for each in context.entries):
        return None
    note = "Share of runs that have reached the target (Kaplan-Meier), with pointwise intervals." + context.drawn_note
    return Section("arrivals", "Arrivals", _table(context), _figure(context), note, on_terminal=())


def _table(context: RaceContext) -> Table:
    rows = []
    for each in context.entries:
        steps = list(zip(each.curve.seconds, each.curve.shares, strict=True))
        cells = [number_cell(_first_at(steps, share), "s") for share in _SHARES]
        rows.append(context.row(each.name, [*cells, estimate_cell("reached_share", each.share, "%")]))
    headings = ["entry", *(f"{share:.0%} after" for share in _SHARES), "in the end"]
    return Table(f"Arrivals, {context.race.race}", headings, rows)


def _first_at(steps: Sequence[tuple[float, float]], share: float) -> float:
    return next((seconds for seconds, arrived in steps if arrived >= share - 1e-9), math.inf)


def _figure(context: RaceContext) -> chart.Figure:
    bands, lines = [], []
    for each in context.drawn:
        curve, mark = each.curve, context.marks[each.name]
        if not curve.seconds:
            continue
        seconds = [0.0, *curve.seconds]
        bands.append(chart.band(seconds, [0.0, *curve.low], [0.0, *curve.high], each.name, mark.color))
        lines.append(chart.line(seconds, [0.0, *curve.shares], each.name, mark, is_stepped=True))
    y = chart.axis("share of runs at the target", span=(0.0, 1.04), is_share=True)
    return chart.figure(340, chart.axis("seconds on the clock", from_zero=True), y, [*bands, *lines])
