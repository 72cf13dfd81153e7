"""Statistics that the owners of a record publish, next to ours: stated by the record, or computed by the leaderboard's rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from etesian.bench.analysis import EntryFigures, RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.analysis.schedules import whole_runs
from etesian.bench.record import PUBLISHED
from etesian.bench.report.format import MISSING, listed, p_value
from etesian.bench.report.model import Cell, Row, Section, Table, estimate_cell, number_cell, words_cell
from etesian.bench.statistics.fixed_schedule import p_of_mean


class Rule(NamedTuple):
    """Statistic by which a public leaderboard ranks its records, computed from their runs."""

    name: str
    value: Callable[[Entry, EntryFigures], float | None]


RULES = {
    "mlperf": Rule("Olympic mean of the runs", lambda entry, figures: figures.olympic.seconds),
    "dawnbench": Rule("time of the one run submitted", lambda entry, figures: figures.median.value),
    "speedrun": Rule("mean time of the whole schedule", lambda entry, _: float(np.mean(whole_runs(entry).seconds))),
    "algoperf": Rule("median time over the studies", lambda entry, figures: figures.median.value),
}
"""By the first word of a suite's name, as the importers give it."""

_STATED_ONLY = Rule("published time", lambda entry, figures: None)


@dataclass(frozen=True, eq=False)
class _Record:
    """An entry with the statistics that it states (see `PUBLISHED`) and its time by the rule of the leaderboard."""

    entry: Entry
    figures: EntryFigures
    stated: dict[str, float]
    seconds: float
    p_value: float | None

    @property
    def name(self) -> str:
        return self.figures.name


def published_section(race: RaceAnalysis, suite: str) -> Section | None:
    """Compare the published statistics of each record with ours; None for suites without any."""
    rule = RULES.get(suite.partition("-")[0])
    pairs = zip(race.race.entries, race.entries, strict=True)
    records = [_record(race, entry, figures, rule or _STATED_ONLY) for entry, figures in pairs]
    if rule is None and not any(record.stated for record in records):
        return None
    records.sort(key=lambda record: record.seconds)
    places = stats.rankdata([record.seconds for record in records], method="min").astype(int)
    is_schedule = race.standing.ranked_by == "fixed_schedule"
    rows = [_row(race, record, int(place), is_schedule) for record, place in zip(records, places, strict=True)]
    results = ["published mean", "published p", "our mean", "our p"] if is_schedule else ["our median time"]
    headings = ["entry", (rule or _STATED_ONLY).name, "rank by it", *results, "our rank"]
    return Section(
        name="published",
        title="Published statistic and ours",
        table=Table("Records by their published statistic", headings, rows),
        note=f"{_sources(records)} Our rank is the interval of ranks that the runs support; overlapping intervals are ties.",
        points=_points(race, records, is_schedule),
    )


def _record(race: RaceAnalysis, entry: Entry, figures: EntryFigures, rule: Rule) -> _Record:
    stated = _stated_by(entry)
    seconds = stated.get("seconds", rule.value(entry, figures))
    p = stated.get("p_value")
    if p is None and {"mean", "standard_deviation"} <= stated.keys() and stated["standard_deviation"] > 0:
        runs = int(stated.get("runs", figures.runs))
        p = p_of_mean(stated["mean"], stated["standard_deviation"], runs, race.race.target) if runs > 1 else None
    return _Record(entry, figures, stated, math.inf if seconds is None else seconds, p)


def _stated_by(entry: Entry) -> dict[str, float]:
    """Return the numbers that all runs of a record state alike."""
    stated = [run.details.get(PUBLISHED) for run in entry.runs]
    if not isinstance(stated[0], dict) or any(each != stated[0] for each in stated):
        return {}
    numbers = {name: value for name, value in stated[0].items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _row(race: RaceAnalysis, record: _Record, place: int, is_schedule: bool) -> Row:
    has_time = math.isfinite(record.seconds)
    cells = [
        number_cell(record.seconds if has_time else None, "s", note=None if has_time else "does not arrive"),
        Cell(str(place) if has_time else "no rank", exact=float(place)),
    ]
    figures = record.figures
    if is_schedule:
        cells += [_published_mean(record), _p_cell(record.p_value, figures.schedule.alpha, "published.p_value")]
        cells += [estimate_cell("schedule.mean", figures.schedule.mean)]
        cells += [_p_cell(figures.schedule.p_value, figures.schedule.alpha, "p_value")]
    else:
        cells.append(estimate_cell("median", figures.median, "s"))
    return Row(figures.name, [*cells, words_cell(_rank(race, figures.name))])


def _published_mean(record: _Record) -> Cell:
    """Show the mean with the digits that the record gives it, and its standard deviation below."""
    mean, spread = record.stated.get("mean"), record.stated.get("standard_deviation")
    if mean is None:
        return Cell(MISSING, "published.mean", note="the record states no mean")
    return Cell(f"{mean:.10g}", "published.mean", mean, "" if spread is None else f"standard deviation {spread:.10g}")


def _p_cell(p: float | None, alpha: float, key: str) -> Cell:
    shown = "" if p is None or p < alpha else " (not shown)"
    return Cell(p_value(p, alpha=alpha) + shown, key, p)


def _sources(records: list[_Record]) -> str:
    """Say which published figures are the records' own."""
    count, total = sum(bool(record.stated) for record in records), len(records)
    if count == 0:
        return "The published statistic is computed from the runs by the rule of the leaderboard."
    if count == total:
        return (
            "Published figures are those that the records state; a time that is not stated is computed from the runs."
        )
    return (
        f"{count} of {total} records state figures; other times are computed from the runs by the leaderboard's rule."
    )


def _rank(race: RaceAnalysis, name: str) -> str:
    if len(race.entries) == 1:
        return "only entry"
    ends = race.standing.rank_interval(name)
    if ends is None:
        return "one run: no interval"
    low, high = ends
    return str(low) if low == high else f"{low} to {high} (tie)"


def _points(race: RaceAnalysis, records: list[_Record], is_schedule: bool) -> tuple[str, ...]:
    """State if the published winner is shown to be ahead, and which records are not shown to reach the target."""
    points = []
    if len(records) > 1 and math.isfinite(records[0].seconds):
        points.append(_winner(race, records[0].figures))
    if is_schedule:
        alpha = records[0].figures.schedule.alpha
        doubtful = [record.name for record in records if record.p_value is not None and record.p_value >= alpha]
        missed = [record.name for record in records if not record.figures.schedule.is_shown]
        if doubtful:
            points.append(f"Not shown to reach the target by their published statistics: {listed(doubtful)}.")
        if missed:
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
