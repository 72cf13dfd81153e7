"""Comparison with the baseline: ratios of times, and tests of their difference."""

from __future__ import annotations

from etesian.bench.analysis.comparisons import Comparison
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import MISSING, number, p_value
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, words_cell

PLACE = 70
SCOPE = "race"

_NOTE = (
    "Ratios compare geometric means of the times where every run reached the target, and medians otherwise. p: log-rank "
    "test that both entries reach the target at the same times."
)


def build(context: RaceContext) -> Section | None:
    """Make the section; None without a baseline or other entries."""
    compared = {each.entry: each for each in context.race.comparisons}
    rows = [context.row(each.name, _cells(compared[each.name])) for each in context.entries if each.name in compared]
    if not rows:
        return None
    caption = f"Time relative to {context.race.baseline}"
    table = Table(caption, ["entry", "ratio", "p (log-rank)", "ratio of"], rows)
    return Section("comparison", "Comparison", table, note=_NOTE)


def _cells(each: Comparison) -> list[Cell]:
    if each.ratio is not None:
        basis = each.ratio.estimate.reason or each.ratio.of + ", paired by seed" * each.ratio.paired
        p = None if each.test is None else each.test.p_value
        return [estimate_cell("ratio", each.ratio.estimate), Cell(p_value(p), "p_value", p), words_cell(basis)]
    if each.schedule_ratio is not None and each.schedule_difference is not None:
        basis = f"whole schedules; the mean result differs by {number(each.schedule_difference.value)}"
        return [estimate_cell("ratio", each.schedule_ratio.estimate), Cell(MISSING), words_cell(basis)]
    return [Cell(MISSING), Cell(MISSING), words_cell(each.refusal or "")]
