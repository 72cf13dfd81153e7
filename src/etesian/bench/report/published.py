"""Statistics that the owners of a record publish, next to ours: MLPerf's Olympic mean, one run, or the mean of a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from etesian.bench.analysis import RaceAnalysis
from etesian.bench.analysis.entries import EntryFigures
from etesian.bench.analysis.races import Entry
from etesian.bench.analysis.schedules import whole_runs
from etesian.bench.report.format import listed, p_value
from etesian.bench.report.model import Cell, Row, Section, Table, estimate_cell, number_cell, words_cell


class Published(NamedTuple):
    """Statistic by which a public leaderboard ranks its records."""

    name: str
    value: Callable[[Entry, EntryFigures], float | None]


def _olympic_mean(entry: Entry, figures: EntryFigures) -> float | None:
    return figures.olympic.seconds


def _median(entry: Entry, figures: EntryFigures) -> float | None:
    return figures.median.value


def _whole_schedule(entry: Entry, figures: EntryFigures) -> float | None:
    return float(np.mean(whole_runs(entry).seconds))


OF_SUITES = {
    "mlperf": Published("Olympic mean of the runs", _olympic_mean),
    "dawnbench": Published("time of the one run submitted", _median),
    "speedrun": Published("mean time of the whole schedule", _whole_schedule),
    "algoperf": Published("median time over the studies", _median),
}
"""By the first word of a suite's name, as the importers give it."""


def published_section(race: RaceAnalysis, suite: str) -> Section | None:
    """Compare the published statistic of each record with ours; None for suites without one."""
    published = OF_SUITES.get(suite.partition("-")[0])
    if published is None:
        return None
    pairs = zip(race.race.entries, race.entries, strict=True)
    values = {figures.name: _or_infinite(published.value(entry, figures)) for entry, figures in pairs}
    places = dict(zip(values, stats.rankdata(list(values.values()), method="min").astype(int), strict=True))
    ordered = sorted(race.entries, key=lambda entry: values[entry.name])
    is_schedule = race.standing.ranked_by == "fixed_schedule"
    ours = ["mean result", "p that it reaches the target"] if is_schedule else ["our median time"]
    rows = [_row(race, entry, values[entry.name], places[entry.name], is_schedule=is_schedule) for entry in ordered]
    return Section(
        name="published",
        title="Published statistic and ours",
        table=Table(
            "Records by their published statistic", ["entry", published.name, "rank by it", *ours, "our rank"], rows
        ),
        note=(
            "The published statistic is that of the leaderboard that the records come from, computed from their runs. "
            "Our rank is the interval of ranks that the runs support; overlapping intervals are ties."
        ),
        points=_points(race, ordered, values, is_schedule=is_schedule),
    )


def _row(race: RaceAnalysis, entry: EntryFigures, value: float, place: int, *, is_schedule: bool) -> Row:
    cells = [
        number_cell(value if math.isfinite(value) else None, "s", note="does not arrive"),
        Cell(str(place) if math.isfinite(value) else "no rank", exact=float(place)),
    ]
    test = entry.schedule
    if is_schedule:
        shown = "" if test.is_shown or test.p_value is None else " (not shown)"
        cells += [estimate_cell("schedule.mean", test.mean)]
        cells += [Cell(p_value(test.p_value, alpha=test.alpha) + shown, "p_value", test.p_value)]
    else:
        cells.append(estimate_cell("median", entry.median, "s"))
    return Row(entry.name, [*cells, words_cell(_rank(race, entry.name))])


def _rank(race: RaceAnalysis, name: str) -> str:
    if len(race.entries) == 1:
        return "only entry"
    ends = race.standing.rank_interval(name)
    if ends is None:
        return "one run: no interval"
    low, high = ends
    return str(low) if low == high else f"{low} to {high} (tie)"


def _points(
    race: RaceAnalysis, ordered: list[EntryFigures], values: dict[str, float], *, is_schedule: bool
) -> tuple[str, ...]:
    """State whether the published winner is shown to be ahead, and which records are not shown to reach the target."""
    points = []
    first = next((entry for entry in ordered if math.isfinite(values[entry.name])), None)
    if first is not None and len(ordered) > 1:
        points.append(_winner(race, first))
    missed = [entry.name for entry in ordered if not entry.schedule.is_shown]
    if is_schedule and missed:
        points.append(f"Not shown to reach the target by the mean of their runs: {listed(missed)}.")
    return tuple(points)


def _winner(race: RaceAnalysis, first: EntryFigures) -> str:
    ends = race.standing.rank_interval(first.name)
    if ends is None:
        return f"{first.name} is first by the published statistic. It has one run, so that a tie cannot be excluded."
    tied = [name for name in race.standing.not_shown_slower() if name != first.name]
    if ends == (1, 1):
        return f"{first.name} is first by the published statistic, and its runs show that it is fastest."
    others = f" {listed(tied)} {'is' if len(tied) == 1 else 'are'} tied with it." if tied else ""
    return f"{first.name} is first by the published statistic; its runs support ranks {ends[0]} to {ends[1]}.{others}"


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
