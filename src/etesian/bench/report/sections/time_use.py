"""Use of time and machine: shares of the recorded time, and the attained share of the machine's limits."""

from __future__ import annotations

from etesian.bench.report import chart
from etesian.bench.report.context import MOST_DRAWN, RaceContext
from etesian.bench.report.format import MISSING, number
from etesian.bench.report.model import Section, Table, estimate_cell, words_cell

PLACE = 100
SCOPE = "race"


def build(context: RaceContext) -> Section | None:
    """Make the section; None where no run records its use of time."""
    uses = context.race.time_use
    if not uses:
        return None
    names = list(dict.fromkeys(name for each in uses for name in each.shares))
    rows = []
    for each in uses:
        cells = [estimate_cell(f"share.{name}", each.shares.get(name), "%") for name in names]
        roof = each.roofline
        attained = MISSING if roof is None else f"{number(roof.share, '%')} of the {roof.bound} limit"
        rows.append(context.row(each.entry, [*cells, words_cell(attained)]))
    table = Table("Use of time and machine", ["entry", *names, "attained"], rows)
    return Section("time-use", "Use of time and machine", table, _figure(context, names) if names else None)


def _figure(context: RaceContext, names: list[str]) -> chart.Figure:
    drawn = [each for each in context.race.time_use if each.shares][:MOST_DRAWN]
    rows = [-0.05 - row for row in range(len(drawn))]
    marks: list[object] = [chart.row_label(each.entry, 0.42 - row) for row, each in enumerate(drawn)]
    starts = [0.0] * len(drawn)
    for part, name in enumerate(names):
        shares = [(each.shares[name].value or 0.0) if name in each.shares else 0.0 for each in drawn]
        ends = [start + share for start, share in zip(starts, shares, strict=True)]
        texts = [f"{name}: {number(share, '%')}" for share in shares]
        marks.append(chart.bars(starts, ends, rows, texts, name=name, part=part))
        starts = ends
    x = chart.axis("share of the time", span=(0.0, 1.0), is_share=True)
    return chart.figure(chart.row_height(len(drawn)), x, chart.row_axis(len(drawn)), marks)
