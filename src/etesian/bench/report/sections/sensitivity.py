"""Sensitivity to the target: times, ranking and winner at every threshold around the official one."""

from __future__ import annotations

import math

from etesian.bench.analysis import Sensitivity
from etesian.bench.report import chart
from etesian.bench.report.context import RaceContext
from etesian.bench.report.model import Cell, Row, Section, Table, number_cell, words_cell

PLACE = 20
SCOPE = "race"


def build(context: RaceContext) -> Section | None:
    """Make the section; None where the runs say nothing about other thresholds."""
    around = context.race.sensitivity
    if around is None:
        return None
    inexact = "" if around.is_exact else " The ends of the intervals below are approximate."
    winners = _winners(around)
    is_contest = len(context.entries) > 1 and len(around.winners) > 1
    return Section(
        "thresholds",
        "Sensitivity to the target",
        _table(context, around),
        _figure(context, around),
        f"Entries are ranked by their median time at each threshold, regardless of the target of the runs.{inexact}"
        + context.drawn_note,
        more=(winners,),
        control="threshold",
        on_terminal=(winners,) if is_contest else (),
    )


def _table(context: RaceContext, around: Sensitivity) -> Table:
    drawn = [each.name for each in context.drawn]
    places = [around.entries.index(name) for name in drawn]
    rows = []
    for row in around.rows:
        reaching = Cell(f"{sum(map(math.isfinite, row.seconds))} of {len(row.seconds)}")
        cells = [words_cell(", ".join(row.winners)), reaching, number_cell(row.kendall_tau)]
        cells += [number_cell(row.weighted_tau), *(number_cell(row.seconds[at], "s") for at in places)]
        rows.append(Row(f"{row.threshold:.6g}", cells))
    headings = ["threshold", "winner", "entries with a time", "Kendall's tau", "weighted tau", *drawn]
    return Table(f"Median times by threshold of {context.race.race.target.metric}", headings, rows)


def _winners(around: Sensitivity) -> Table:
    rows = [
        Row(f"{each.easiest:.6g}", [Cell(f"{each.hardest:.6g}"), words_cell(", ".join(each.winners) or "none")])
        for each in around.winners
    ]
    return Table("Winner by threshold", ["beyond", "up to", "winner"], rows)


def _figure(context: RaceContext, around: Sensitivity) -> chart.Figure:
    target = context.race.race.target
    thresholds = [row.threshold for row in around.rows]
    lines = []
    for each in context.drawn:
        at = around.entries.index(each.name)
        lines.append(
            chart.line(
                thresholds,
                [row.seconds[at] for row in around.rows],
                each.name,
                context.marks[each.name],
                is_stepped=True,
            )
        )
    known = [seconds for mark in lines for seconds in mark["y"] if seconds]
    ticks = chart.log_ticks(known) if known else None
    return chart.figure(
        340,
        chart.axis(f"threshold of {target.metric}", span=(thresholds[0], thresholds[-1])),
        chart.axis("median seconds", is_log=bool(known), ticks=ticks),
        [*lines, chart.rule("x", target.threshold)],
    )
