"""An analysis as tables for the terminal. Computes nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from etesian.bench.analysis.analysis import Analysis
from etesian.bench.analysis.comparisons import Comparison
from etesian.bench.analysis.entries import EntryFigures
from etesian.bench.analysis.race_analysis import RaceAnalysis
from etesian.bench.report.wording import MISSING, Unit, interval, number
from etesian.bench.statistics import Estimate

Row = Sequence[str]


def as_tables(analysis: Analysis) -> Iterator[Table]:
    """Lay an analysis out: of every race the entries, and what there is to say of them; last the profiles."""
    for race in analysis.races:
        yield _standing(race, analysis.options.level)
        yield from filter(None, (_variation(race), _comparisons(race), _winners(race), _schedules(race)))
        yield from filter(None, (_attribution(race), _time_use(race), _generalization(race)))
    if analysis.profiles:
        ranked = sorted(analysis.profiles.items(), key=lambda each: -each[1].score)
        rows = [[name, number(profile.score)] for name, profile in ranked]
        yield _table("Over all races: mean height of the performance profile", ["entry", "score"], rows)


def as_advice(analysis: Analysis) -> Iterator[Text]:
    """Write one line for each objection."""
    return (Text(f"- {sentence}") for sentence in analysis.advice)


def _standing(race: RaceAnalysis, level: float) -> Table:
    figures = {each.name: each for each in race.entries}
    priced = any(each.costs.cost is not None for each in race.entries)
    headings = ["entry", "arrived", "median time", "expected time", *["cost"] * priced, "P(fastest)", "rank"]
    rows = [_standing_row(race, figures[name], index, priced=priced) for index, name in enumerate(race.standing.names)]
    table = _table(str(race.race), headings, rows)
    table.caption = (
        f"Below each figure its {level:.0%} interval. Median: runs that never arrive come last. Expected: of trying until "
        "one arrives. Cost: of the runs that arrived."
    )
    table.caption_justify = "left"
    return table


def _standing_row(race: RaceAnalysis, each: EntryFigures, place: int, *, priced: bool) -> Row:
    standing = race.standing
    chance, ranks = MISSING, str(standing.places[place])
    if standing.ranks is not None and each.name in standing.tested:
        at = standing.tested.index(each.name)
        chance = number(standing.ranks.fastest[at], "%")
        ranks += f"\n{standing.ranks.low[at]} to {standing.ranks.high[at]}"
    return [
        each.name,
        f"{each.reached} of {each.runs}",
        _figure(each.median, "s"),
        _figure(each.expected_running_time, "s"),
        *[MISSING if each.costs.cost is None else _figure(each.costs.cost)] * priced,
        chance,
        ranks,
    ]


def _variation(race: RaceAnalysis) -> Table | None:
    rows = [
        [
            each.name,
            _figure(each.mean, "s"),
            _figure(each.variation.time, "%"),
            _figure(each.variation.passing_point, "%"),
            _figure(each.variation.speed, "%"),
            number(each.variation.evaluation_step.value, "%"),
        ]
        for each in race.entries
        if each.reached > 1
    ]
    headings = ["entry", "mean time", "its variation", "of the passing point", "of the speed", "evaluation step"]
    return _table("Variation of the runs that arrived", headings, rows) if rows else None


def _comparisons(race: RaceAnalysis) -> Table | None:
    rows = [_comparison_row(each) for each in race.comparisons]
    title = f"Time over that of {race.baseline}"
    return _table(title, ["entry", "ratio", "p (log-rank)", "of"], rows, words=1) if rows else None


def _comparison_row(each: Comparison) -> Row:
    if each.ratio is not None:
        p_value = MISSING if each.test is None else number(each.test.p_value)
        how = each.ratio.estimate.reason or each.ratio.of + ", paired by seed" * each.ratio.paired
        return [each.entry, _figure(each.ratio.estimate), p_value, how]
    if each.schedule_ratio is not None and each.schedule_difference is not None:
        differs = f"whole schedules; the result differs by {number(each.schedule_difference.value)}"
        return [each.entry, _figure(each.schedule_ratio.estimate), MISSING, differs]
    return [each.entry, MISSING, MISSING, each.refusal or MISSING]


def _winners(race: RaceAnalysis) -> Table | None:
    if race.sensitivity is None or len(race.sensitivity.winners) < 2 or len(race.entries) < 2:
        return None
    rows = [
        [f"{each.easiest:g}", f"{each.hardest:g}", ", ".join(each.winners) or "nobody"]
        for each in race.sensitivity.winners
    ]
    return _table("Winner by threshold", ["beyond", "up to", "winner"], rows, words=1)


def _schedules(race: RaceAnalysis) -> Table | None:
    rows = [
        [
            each.name,
            _figure(each.schedule.mean),
            number(each.schedule.p_value),
            "yes" if each.schedule.is_shown else "no",
        ]
        for each in race.entries
        if each.schedule.p_value is not None
    ]
    headings = ["entry", "mean result", "p", "shown to reach the target"]
    return _table("Runs of equal length: mean at their end", headings, rows) if rows else None


def _attribution(race: RaceAnalysis) -> Table | None:
    rows = []
    for each in race.attribution:
        parts = (each.speedup, each.statistical, each.throughput)
        if None in parts or each.speedup is None or not _is_finite(each.speedup.estimate):
            continue
        rows.append(
            [
                each.entry,
                *(_figure(part.estimate) for part in parts if part is not None),
                number(each.scaling_efficiency, "%"),
                ", ".join(each.differs_in) or MISSING,
            ]
        )
    headings = ["entry", "speed-up", "less work", "throughput", "scaling efficiency", "differs in"]
    return _table(f"Speed-up over {race.baseline}", headings, rows) if rows else None


def _time_use(race: RaceAnalysis) -> Table | None:
    rows = []
    for each in race.time_use:
        shares = ", ".join(f"{name} {number(share.value, '%')}" for name, share in each.shares.items())
        roof = each.roofline
        attained = MISSING if roof is None else f"{number(roof.share, '%')} of what {roof.bound} allows"
        rows.append([each.entry, shares or MISSING, attained])
    return _table("Use of time and machine", ["entry", "share of time", "attained"], rows) if rows else None


def _generalization(race: RaceAnalysis) -> Table | None:
    rows = [
        [
            each.entry,
            number(each.tuned),
            number(each.fresh),
            _figure(each.gap),
            MISSING if each.difference is None else _figure(each.examples or each.difference),
            MISSING if each.disagreement is None else number(each.disagreement.p_value),
        ]
        for each in race.generalization
    ]
    headings = ["entry", "tuned for", "fresh", "fresh - tuned", f"fresh - {race.baseline}", "p (McNemar)"]
    return _table("On data that decided nothing", headings, rows) if rows else None


def _is_finite(estimate: Estimate) -> bool:
    return estimate.value is not None and math.isfinite(estimate.value)


def _figure(estimate: Estimate, unit: Unit = "") -> str:
    ends = interval(estimate, unit)
    return number(estimate.value, unit) + (f"\n{ends}" if ends else "")


def _result(mean: Estimate) -> str:
    """Five digits: results of one schedule differ in the fourth."""
    return f"{mean.value:.5g}\n{mean.low:.5g} to {mean.high:.5g}"


def _table(title: str, headings: Sequence[str], rows: Sequence[Row], *, words: int = 0) -> Table:
    """Words on the left in the first column and the last `words` ones, figures on the right."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.title_justify = "left"
    for index, heading in enumerate(headings):
        is_text = index == 0 or index >= len(headings) - words
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
