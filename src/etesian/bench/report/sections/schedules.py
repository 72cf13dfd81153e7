"""Fixed schedules: tests of the mean result of runs of equal length."""

from __future__ import annotations

from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import p_value
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, words_cell

PLACE = 80
SCOPE = "race"


def build(context: RaceContext) -> Section | None:
    """Make the section; None where no schedule can be tested, or where the leaderboard shows the tests."""
    if context.race.standing.ranked_by == "fixed_schedule":
        return None
    tested = [each for each in context.entries if each.schedule.p_value is not None]
    if not tested:
        return None
    rows = []
    for each in tested:
        test = each.schedule
        p = Cell(p_value(test.p_value, alpha=test.alpha), "p_value", test.p_value)
        shown = words_cell("yes" if test.is_shown else "no")
        rows.append(context.row(each.name, [estimate_cell("schedule.mean", test.mean), p, shown]))
    headings = ["entry", "mean result", "p", "shown to reach the target"]
    return Section("schedules", "Fixed schedules", Table("Mean result of runs of equal length", headings, rows))
