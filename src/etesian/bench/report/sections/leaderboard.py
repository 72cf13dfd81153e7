"""Leaderboard: arrivals, times, costs and ranks of all entries, from the fastest to the slowest."""

from __future__ import annotations

import math

import numpy as np

from etesian.bench.analysis import EntryFigures
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import MISSING, counted, p_value
from etesian.bench.report.model import Cell, Section, Table, estimate_cell, number_cell, words_cell

PLACE = 10
SCOPE = "race"

_COSTS = {
    "cost": "cost",
    "expected_cost": "cost with restarts",
    "energy_joules": "energy (J)",
    "expected_energy_joules": "energy with restarts (J)",
}
_RANKED_BY = {
    "median": "median time to the target; runs that never reach it come last",
    "olympic_mean": "MLPerf's Olympic mean, where its rule gives one",
    "fixed_schedule": "time of the whole schedule, among entries whose mean result is shown to reach the target",
}
_LONGEST_BASELINE = 24


def build(context: RaceContext) -> Section:
    """Make the section."""
    race, options = context.race, context.options
    table = _fixed_schedule_table(context) if race.standing.ranked_by == "fixed_schedule" else _table(context)
    note = (
        f"Ranked by {_RANKED_BY[race.standing.ranked_by]}. Below each figure is its {100 * options.level:g}% interval; the "
        "intervals of the ranks hold jointly. Expected time: with failed runs followed by restarts. ∞: not reached by more "
        "than half of the runs. †: too few runs for the nominal coverage of the interval."
    )
    power = _power_note(context)
    return Section("leaderboard", "Leaderboard", table, note=f"{note} {power}".strip())


def _table(context: RaceContext) -> Table:
    race, options = context.race, context.options
    costs = [name for name in _COSTS if any(getattr(each.costs, name) is not None for each in race.entries)]
    baseline = race.baseline if race.baseline and len(race.baseline) <= _LONGEST_BASELINE else "the baseline"
    headings = ["entry", "rank", "reached", "median time", *["Olympic mean"] * options.mlperf_rule]
    headings += [f"ratio to {baseline}", "expected time", *(_COSTS[name] for name in costs), "P(fastest)"]
    rows = []
    for index, each in enumerate(context.entries):
        cells = [_rank(context, index), _reached(each), estimate_cell("median_seconds", each.median, "s")]
        if options.mlperf_rule:
            olympic = each.olympic
            cells.append(number_cell(olympic.seconds, "s", key="olympic_mean_seconds", note=olympic.reason))
        cells += [_ratio(context, each.name)]
        cells += [estimate_cell("expected_running_time", each.expected_running_time, "s")]
        cells += [estimate_cell(cost, getattr(each.costs, cost)) for cost in costs]
        cells.append(_chance(context, each.name))
        rows.append(context.row(each.name, cells, is_home=True))
    return Table(str(race.race), headings, rows)


def _fixed_schedule_table(context: RaceContext) -> Table:
    """Tabulate runs of fixed schedules: first the test of the mean result, then the time."""
    race = context.race
    rows = []
    for index, each in enumerate(context.entries):
        test = each.schedule
        shown = "cannot be tested" if test.p_value is None else "yes" if test.is_shown else "no"
        cells = [
            _rank(context, index),
            estimate_cell("schedule.mean", test.mean),
            Cell(p_value(test.p_value, alpha=test.alpha), "p_value", test.p_value, note=test.reason),
            words_cell(shown),
            number_cell(float(np.median(context.runs_of[each.name].curves.spent)), "s", key="schedule_seconds"),
            _ratio(context, each.name),
            Cell(str(each.runs)),
        ]
        rows.append(context.row(each.name, cells, is_home=True))
    headings = ["entry", "rank", f"mean {race.race.target.metric}", "p", "shown to reach the target", "time"]
    baseline = race.baseline if race.baseline and len(race.baseline) <= _LONGEST_BASELINE else "the baseline"
    return Table(str(race.race), [*headings, f"ratio to {baseline}", "runs"], rows)


def _rank(context: RaceContext, index: int) -> Cell:
    standing = context.race.standing
    has_time = math.isfinite(standing.seconds[index])
    rank = str(standing.places[index]) if has_time else MISSING
    exact = float(standing.places[index])
    ends = standing.rank_interval(standing.names[index])
    if ends is None:
        return Cell(rank, exact=exact, note="a single run has no rank interval")
    return Cell(rank, exact=exact, interval=f"{ends[0]} to {ends[1]}")


def _reached(each: EntryFigures) -> Cell:
    lost = [f"{each.never} never"] * bool(each.never) + [f"{each.censored} out of time"] * bool(each.censored)
    return Cell(f"{each.reached} of {each.runs}", "reached_share", each.share.value, note=", ".join(lost) or None)


def _ratio(context: RaceContext, name: str) -> Cell:
    race = context.race
    if name == race.baseline:
        return Cell("baseline", exact=1.0)
    compared = race.comparison(name)
    ratio = None if compared is None else compared.ratio or compared.schedule_ratio
    return Cell(MISSING) if ratio is None else estimate_cell("ratio", ratio.estimate)


def _chance(context: RaceContext, name: str) -> Cell:
    standing = context.race.standing
    if standing.ranks is None or name not in standing.tested:
        return Cell(MISSING, note="requires two entries with at least two runs each")
    return number_cell(standing.ranks.fastest[standing.tested.index(name)], "%", key="probability_fastest")


def _power_note(context: RaceContext) -> str:
    ranks = context.race.standing.ranks
    if ranks is None or ranks.runs_needed is None:
        return ""
    return (
        f"So few runs cannot separate {counted(len(context.race.standing.tested), 'entry', 'entries')} at "
        f"{100 * context.options.level:g}% confidence, regardless of their times; {ranks.runs_needed} runs of each could."
    )
