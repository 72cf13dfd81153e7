"""What the page says of a race, section by section: a title, a figure where there is one, its table, a note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from etesian.bench.analysis import Analysis, Attribution, Options, RaceAnalysis
from etesian.bench.analysis.schedules import is_declared_fixed
from etesian.bench.report import bars, figures, run_tables, tables
from etesian.bench.report.anchors import Anchors
from etesian.bench.report.cells import Table
from etesian.bench.report.marks import Mark
from etesian.bench.report.times_figure import Figure, times_figure
from etesian.bench.report.verdict import verdict
from etesian.bench.report.wording import target_words

Marks = Mapping[str, Mark]


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Parameters
    ----------
    anchor, title
        How it is linked to, and what is read above it.
    table
        Shown as it is, or where there is a figure beneath it, to be opened.
    figure
        In plotly's terms.
    note
        How to read it.
    more
        Tables to be opened.
    control
        What the reader may change: which entries are drawn, or the threshold.
    """

    anchor: str
    title: str
    table: Table
    figure: Figure | None = None
    note: str = ""
    more: tuple[Table, ...] = ()
    control: Literal["entries", "threshold"] | None = None


@dataclass(frozen=True)
class RaceView:
    """A race as the page shows it."""

    anchor: str
    title: str
    verdict: str
    sections: tuple[Section, ...]
    analysis: RaceAnalysis
    links: Mapping[str, str]
    drawn: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]


def view_race(race: RaceAnalysis, options: Options, marks: Marks, anchors: Anchors, *, is_alone: bool) -> RaceView:
    """Lay a race out; its anchors begin with its name where it is not alone on the page."""
    title = str(race.race.task) or target_words(race.race.target)
    anchor = "results" if is_alone else anchors.take(f"{race.race.task} {race.race.target.metric}")
    prefix = "" if is_alone else f"{anchor}-"
    links = {entry.name: anchors.take(entry.name, prefix=f"{prefix}entry-") for entry in race.race.entries}
    return RaceView(
        anchor=anchor,
        title=title,
        verdict=verdict(race, level=options.level),
        sections=tuple(_sections(race, options, marks, links, prefix)),
        analysis=race,
        links=links,
        drawn=tuple(figures.drawn_names(race)),
        errors=tuple(
            (f"{entry.name}, seed {run.seed}", run.error)
            for entry in race.race.entries
            for run in entry.runs
            if run.error
        ),
    )


def profiles_section(analysis: Analysis, marks: Marks) -> Section | None:
    """Performance profiles over all races, where there are any."""
    if not analysis.profiles:
        return None
    return Section(
        "profiles",
        "Performance profiles",
        tables.profiles(analysis.profiles, marks),
        figures.profiles_figure(analysis.profiles, marks),
        "Over all races: the share of them on which an entry takes at most so many times as long as the fastest. The score "
        "is the mean height of that line; a race that an entry is not in, or in which it does not arrive, counts as none.",
    )


def _sections(
    race: RaceAnalysis, options: Options, marks: Marks, links: tables.Links, prefix: str
) -> Iterator[Section]:
    yield _leaderboard(race, options, marks, links, prefix)
    if race.sensitivity is not None:
        yield _thresholds(race, marks, prefix)
    yield _curves(race, options, prefix)
    yield _times(race, options, marks, links, prefix)
    if any(each.runs > 1 for each in race.entries):
        yield _arrivals(race, marks, links, prefix)
    yield _variation(race, links, prefix)
    if race.comparisons:
        table = tables.comparisons(race, links)
        yield Section(f"{prefix}comparison", "Comparison", table, note=f"With {race.baseline}. {_COMPARISON}")
    if any(map(is_declared_fixed, race.race.entries)):
        table = tables.schedules((each for each in race.entries if each.schedule.p_value is not None), links)
        yield Section(f"{prefix}schedules", "Fixed schedules", table)
    if race.attribution:
        yield _attribution(race, links, prefix)
    if race.time_use:
        yield _time_use(race, links, prefix)
    if race.generalization:
        yield _generalization(race, marks, links, prefix)
    table = run_tables.endings(race, options.rule, links)
    yield Section(f"{prefix}endings", "How the runs ended", table)


def _leaderboard(race: RaceAnalysis, options: Options, marks: Marks, links: tables.Links, prefix: str) -> Section:
    ranked_by = {
        "median": "median time to the target, in which runs that never arrive come last",
        "olympic_mean": "MLPerf's Olympic mean, where its rule gives one",
        "fixed_schedule": "time of the whole schedule, among those whose mean is shown to reach the target",
    }[race.standing.ranked_by]
    note = (
        f"Ranked by {ranked_by}. Small print under each figure is its {100 * options.level:g}% interval. A run that did not "
        "arrive is never a number: with restarts it costs what it took and is followed by another. ∞: not reached by more "
        "than half. † fewer runs than the interval needs to cover as it says; it may be too narrow or too wide."
    )
    return Section(f"{prefix}leaderboard", "Leaderboard", tables.leaderboard(race, options, marks, links), note=note)


def _thresholds(race: RaceAnalysis, marks: Marks, prefix: str) -> Section:
    around, drawn = race.sensitivity, figures.drawn_names(race)
    assert around is not None
    exact = (
        "" if around.is_exact else " Where an entry's time changes more often than 200 times, the ends are near ones."
    )
    note = f"Every entry is ranked by its median time at the threshold, whatever target the runs were made for.{exact}"
    return Section(
        f"{prefix}thresholds",
        "Had the target been another",
        tables.thresholds(race, around, drawn),
        figures.thresholds_figure(race, around, drawn, marks),
        note,
        more=(tables.winners(around),),
        control="threshold",
    )


def _curves(race: RaceAnalysis, options: Options, prefix: str) -> Section:
    return Section(
        f"{prefix}curves",
        f"{race.race.target.metric} over time",
        run_tables.runs_table(race, options.rule),
        figures.curves_layout(race),
        "Every run of the entries chosen is a line.",
        control="entries",
    )


def _times(race: RaceAnalysis, options: Options, marks: Marks, links: tables.Links, prefix: str) -> Section:
    note = (
        "A dot is a run, and the line to its left reaches back to its last measurement short of the target. The bar below "
        "the dots is the median with its interval; one that ends at the right margin has no upper end. At the right margin "
        "stand runs without a time: ▷ cut off, \u00d7 no work left, ⅄ diverged, ✖ failed."
    )
    drawn = figures.drawn_names(race)
    figure = times_figure(race, drawn, marks, options.rule)
    table = tables.times(race, links)
    return Section(f"{prefix}times", "Times to target", table, figure, note + _of_how_many(race, drawn))


def _arrivals(race: RaceAnalysis, marks: Marks, links: tables.Links, prefix: str) -> Section:
    drawn = figures.drawn_names(race)
    note = "Share of runs that have arrived (Kaplan-Meier), with its interval at any one time." + _of_how_many(
        race, drawn
    )
    figure = figures.arrivals_figure(race, drawn, marks)
    return Section(f"{prefix}arrivals", "Arrivals", tables.arrivals(race, links), figure, note)


def _variation(race: RaceAnalysis, links: tables.Links, prefix: str) -> Section:
    drawn = figures.drawn_names(race)
    known = [
        each for name in drawn for each in race.entries if each.name == name and each.variation.time.value is not None
    ]
    note = (
        "Time is work times seconds per unit of work: passing point is the variation of the first, speed that of the second. "
        "The evaluation step is the share of the time between the last measurement short of the target and the first at it; "
        "smaller differences say nothing."
    )
    figure = bars.variation_figure(known) if known else None
    of_how_many = _of_how_many(race, drawn) if figure else ""
    return Section(f"{prefix}variation", "Variation", tables.variation(race, links), figure, note + of_how_many)


def _attribution(race: RaceAnalysis, links: tables.Links, prefix: str) -> Section:
    ranked = sorted(race.attribution, key=lambda each: race.standing.names.index(each.entry))
    known = [each for each in ranked if _is_drawable(each)]
    refused = [each for each in ranked if not _is_drawable(each)]
    drawn = known[: figures.MOST_DRAWN]
    note = (
        "Speed-up = less work until the target \u00d7 more work a second, over the runs that arrived; on this scale the two bars "
        "add up to the diamond."
    )
    figure = bars.attribution_figure(drawn, race.baseline or "") if drawn else None
    table = tables.attribution(known, refused, links)
    return Section(f"{prefix}attribution", "Where the speed came from", table, figure, note)


def _time_use(race: RaceAnalysis, links: tables.Links, prefix: str) -> Section:
    drawn = [each for each in race.time_use if each.shares][: figures.MOST_DRAWN]
    figure = bars.time_use_figure(drawn) if drawn else None
    return Section(f"{prefix}time-use", "Use of time and machine", tables.time_use(race.time_use, links), figure)


def _generalization(race: RaceAnalysis, marks: Marks, links: tables.Links, prefix: str) -> Section:
    table = tables.generalization(race.generalization, race.baseline, links)
    drawn = [each for each in race.generalization if each.entry in figures.drawn_names(race)]
    figure = bars.generalization_figure(drawn, marks) if drawn else None
    note = (
        "The metric that decided when to stop, and the same on data that decided nothing, over the runs that arrived."
    )
    return Section(f"{prefix}generalization", "Does it generalize?", table, figure, note)


def _is_drawable(each: Attribution) -> bool:
    ratios = (each.speedup, each.statistical, each.throughput)
    return all(ratio is not None and ratio.estimate.value is not None and ratio.estimate.value > 0 for ratio in ratios)


def _of_how_many(race: RaceAnalysis, drawn: list[str]) -> str:
    return f" Drawn are {len(drawn)} of {len(race.entries)} entries." if len(drawn) < len(race.entries) else ""


_COMPARISON = (
    "Times are compared over the runs that arrived, or where some did not over all; p is that both arrive alike."
)
