"""The page's tables of a race: what the analysis says, in words and exact figures. Those of runs have a file beside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from etesian.bench.analysis import Attribution, EntryFigures, Generalization, Options, RaceAnalysis, Sensitivity
from etesian.bench.analysis.attribution import TimeUse
from etesian.bench.analysis.comparisons import Comparison
from etesian.bench.report.cells import Cell, Row, Table, figure, five_digits, plain, words
from etesian.bench.report.marks import Mark
from etesian.bench.report.wording import MISSING, Unit, number
from etesian.bench.statistics import Estimate, Profile

Links = Mapping[str, str]
"""Anchor of each entry, by name."""

_COSTS = {
    "cost": "cost",
    "expected_cost": "cost with restarts",
    "energy_joules": "energy (J)",
    "expected_energy_joules": "energy with restarts (J)",
}


def leaderboard(race: RaceAnalysis, options: Options, marks: Mapping[str, Mark], links: Links) -> Table:
    """Entries from the fastest on: how many runs arrived, how long it took, at what cost, how sure that is."""
    figures = {each.name: each for each in race.entries}
    costs = [name for name in _COSTS if any(getattr(each.costs, name) is not None for each in race.entries)]
    olympic = ["Olympic mean"] * options.mlperf_rule
    headings = ["entry", "place", "runs at the target", "median time", *olympic, _over(race.baseline)]
    headings += ["time with restarts", *(_COSTS[name] for name in costs), "chance to be the fastest"]
    rows = []
    for index, name in enumerate(race.standing.names):
        each = figures[name]
        cells = [_place(race, index), _arrived(each), figure("median_seconds", each.median, "s")]
        cells += [_olympic(each)] * options.mlperf_rule
        cells += [_ratio(race, name), figure("expected_running_time", each.expected_running_time, "s")]
        cells += [figure(cost, getattr(each.costs, cost)) for cost in costs]
        cells.append(_chance(race, name))
        rows.append(Row(name, cells, links[name], is_home=True, mark=marks[name]))
    return Table(f"Leaderboard, {race.race}", headings, rows)


def times(race: RaceAnalysis, links: Links) -> Table:
    """First and last to arrive, and between which measurements the median lies for certain."""
    rows = []
    for each in in_order(race):
        first, last = each.curve.seconds[:1], each.curve.seconds[-1:]
        grid = MISSING if each.grid is None else f"{number(each.grid[0])} and {number(each.grid[1], 's')}"
        cells = [plain(first[0] if first else None, "s"), figure("median_seconds", each.median, "s")]
        cells += [plain(last[0] if last else None, "s"), Cell(grid)]
        rows.append(Row(each.name, [*cells, *(Cell(str(n)) for n in (each.censored, each.never))], links[each.name]))
    headings = [
        "entry",
        "first to arrive",
        "median",
        "last to arrive",
        "passed on the median between",
        "cut off",
        "never",
    ]
    return Table(f"Times to target, {race.race}", headings, rows)


def in_order(race: RaceAnalysis) -> list[EntryFigures]:
    """Entries from the fastest on."""
    return sorted(race.entries, key=lambda each: race.standing.names.index(each.name))


def variation(race: RaceAnalysis, links: Links) -> Table:
    """Means of the runs that arrived, their spread and its parts, and how many runs would be enough."""
    headings = ["entry", "mean time", f"mean within {race.entries[0].horizon:.3g} s", "variation of the time"]
    headings += ["of the passing point", "of the speed", "evaluation step", "runs for ±5%"]
    return Table(f"Variation, {race.race}", headings, [_variation_row(each, links) for each in in_order(race)])


def comparisons(race: RaceAnalysis, links: Links) -> Table:
    """Time of each entry over that of the baseline, and how sure it is that they differ."""
    compared = {each.entry: each for each in race.comparisons}
    rows = [Row(name, _comparison(compared[name]), links[name]) for name in race.standing.names if name in compared]
    return Table(f"Time over that of {race.baseline}", ["entry", "ratio", "p (log-rank)", "of"], rows)


def thresholds(race: RaceAnalysis, around: Sensitivity, drawn: Sequence[str]) -> Table:
    """The race at each threshold: median times, how many arrive, who wins, how the ranking agrees with the official one."""
    headings = ["threshold", "winner", "entries that arrive", "Kendall's tau", "weighted tau", *drawn]
    places = [around.entries.index(name) for name in drawn]
    rows = []
    for row in around.rows:
        taus = [plain(row.kendall_tau), plain(row.weighted_tau)]
        arriving = Cell(f"{sum(map(math.isfinite, row.seconds))} of {len(row.seconds)}")
        times = [plain(row.seconds[at], "s") for at in places]
        rows.append(Row(f"{row.threshold:.6g}", [words(", ".join(row.winners)), arriving, *taus, *times]))
    return Table(f"Median times by threshold of {race.race.target.metric}", headings, rows)


def winners(around: Sensitivity) -> Table:
    """Intervals of the threshold with the same winner."""
    rows = [
        Row(f"{each.easiest:.6g}", [words(f"{each.hardest:.6g}"), words(", ".join(each.winners) or "nobody")])
        for each in around.winners
    ]
    return Table("Winner by threshold", ["beyond", "up to", "winner"], rows)


def arrivals(race: RaceAnalysis, links: Links) -> Table:
    """When a tenth, a quarter, half, three quarters and nine tenths of the runs had arrived."""
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    rows = []
    for each in in_order(race):
        steps = list(zip(each.curve.seconds, each.curve.shares, strict=True))
        cells = [plain(_first_at(steps, share), "s") for share in shares]
        rows.append(Row(each.name, [*cells, figure("reached_share", each.share, "%")], links[each.name]))
    headings = ["entry", *(f"{share:.0%} arrived after" for share in shares), "arrived in the end"]
    return Table(f"Arrivals, {race.race}", headings, rows)


def attribution(known: Sequence[Attribution], refused: Sequence[Attribution], links: Links) -> Table:
    """Speed-up over the baseline and its parts."""
    rows = [Row(each.entry, _attribution(each), links[each.entry]) for each in known]
    rows += [Row(each.entry, [Cell(MISSING)] * 5 + [words(each.refusal or "")], links[each.entry]) for each in refused]
    headings = [
        "entry",
        "speed-up",
        "less work",
        "throughput",
        "scaling efficiency",
        "steps of the throughput",
        "differs in",
    ]
    return Table("Where the speed came from", headings, rows)


def time_use(uses: Sequence[TimeUse], links: Links) -> Table:
    """Shares of the time, and how near an entry came to its machine's limits."""
    things = list(dict.fromkeys(name for each in uses for name in each.shares))
    rows = []
    for each in uses:
        cells = [figure(f"share.{name}", each.shares.get(name), "%") for name in things]
        roof = each.roofline
        attained = MISSING if roof is None else f"{number(roof.share, '%')} of what {roof.bound} allows"
        rows.append(Row(each.entry, [*cells, words(attained)], links[each.entry]))
    return Table("Use of time and machine", ["entry", *things, "attained"], rows)


def generalization(entries: Sequence[Generalization], baseline: str | None, links: Links) -> Table:
    """The metric tuned for against the same on data that decided nothing."""
    rows = []
    for each in entries:
        p_value = None if each.disagreement is None else each.disagreement.p_value
        difference = figure("difference", each.examples or each.difference)
        cells = [plain(each.tuned), plain(each.fresh), figure("gap", each.gap), difference, plain(p_value)]
        rows.append(Row(each.entry, cells, links[each.entry]))
    headings = ["entry", "tuned for", "fresh", "fresh - tuned", f"fresh - {baseline}", "p (McNemar)"]
    return Table("On data that decided nothing", headings, rows)


def schedules(entries: Iterable[EntryFigures], links: Links) -> Table:
    """Runs of equal length: whether the mean at their end is shown to reach the target."""
    rows = []
    for each in entries:
        shown = words("yes" if each.schedule.is_shown else "no")
        cells = [five_digits("schedule.mean", each.schedule.mean), plain(each.schedule.p_value), shown]
        rows.append(Row(each.name, cells, links[each.name]))
    return Table("Runs of equal length", ["entry", "mean at their end", "p", "shown to reach the target"], rows)


def profiles(found: Mapping[str, Profile], marks: Mapping[str, Mark]) -> Table:
    """Mean height of each profile, and on how many races the entry is nearly the fastest."""
    ranked = sorted(found.items(), key=lambda each: -each[1].score)
    rows = []
    for name, profile in ranked:
        steps = list(zip(profile.shares, profile.ratios, strict=True))
        within = [max([share for share, ratio in steps if ratio <= most], default=0.0) for most in (1.0, 1.5, 2.0, 4.0)]
        rows.append(Row(name, [plain(profile.score), *(plain(each, "%") for each in within)], mark=marks[name]))
    headings = ["entry", "score", "fastest", "within 1.5 times", "within 2 times", "within 4 times"]
    return Table("Performance profiles", headings, rows)


def _over(baseline: str | None) -> str:
    return f"over {baseline}" if baseline and len(baseline) <= 24 else "over the baseline"


def _place(race: RaceAnalysis, index: int) -> Cell:
    standing, name = race.standing, race.standing.names[index]
    place = str(standing.places[index])
    if not math.isfinite(standing.seconds[index]):
        place = MISSING
    if standing.ranks is None or name not in standing.tested:
        return Cell(place, note="from one run nothing is known of its rank")
    at = standing.tested.index(name)
    low, high = standing.ranks.low[at], standing.ranks.high[at]
    return Cell(place, interval=f"{low} to {high}" if low < high else str(low))


def _arrived(each: EntryFigures) -> Cell:
    lost = [f"{each.never} never"] * bool(each.never) + [f"{each.censored} cut off"] * bool(each.censored)
    return Cell(f"{each.reached} of {each.runs}", "reached_share", each.share.value, ", ".join(lost))


def _olympic(each: EntryFigures) -> Cell:
    return plain(each.olympic.seconds, "s", key="olympic_mean_seconds", note=each.olympic.reason)


def _ratio(race: RaceAnalysis, name: str) -> Cell:
    if name == race.baseline:
        return Cell("baseline")
    compared = next((each for each in race.comparisons if each.entry == name), None)
    ratio = None if compared is None else compared.ratio or compared.schedule_ratio
    return Cell(MISSING) if ratio is None else figure("ratio", ratio.estimate)


def _chance(race: RaceAnalysis, name: str) -> Cell:
    standing = race.standing
    if standing.ranks is None or name not in standing.tested:
        return Cell(MISSING, note="needs two entries with two runs or more")
    return plain(standing.ranks.fastest[standing.tested.index(name)], "%", key="probability_fastest")


def _variation_row(each: EntryFigures, links: Links) -> Row:
    spread = each.variation
    estimates: list[tuple[str, Estimate, Unit]] = [
        ("mean_seconds", each.mean, "s"),
        ("restricted_mean_seconds", each.restricted_mean, "s"),
        ("cv", spread.time, "%"),
        ("cv_passing_point", spread.passing_point, "%"),
        ("cv_speed", spread.speed, "%"),
        ("evaluation_step_share", spread.evaluation_step, "%"),
    ]
    cells = [figure(key, estimate, unit) for key, estimate, unit in estimates]
    return Row(each.name, [*cells, Cell(str(each.runs_needed.get(0.05, MISSING)))], links[each.name])


def _comparison(each: Comparison) -> list[Cell]:
    if each.ratio is not None:
        how = each.ratio.estimate.reason or each.ratio.of + ", paired by seed" * each.ratio.paired
        p_value = None if each.test is None else each.test.p_value
        return [figure("ratio", each.ratio.estimate), plain(p_value), words(how)]
    if each.schedule_ratio is not None and each.schedule_difference is not None:
        how = f"whole schedules; the result differs by {number(each.schedule_difference.value)}"
        return [figure("ratio", each.schedule_ratio.estimate), Cell(MISSING), words(how)]
    return [Cell(MISSING), Cell(MISSING), words(each.refusal or "")]


def _attribution(each: Attribution) -> list[Cell]:
    parts = [("speedup", each.speedup), ("statistical", each.statistical), ("throughput", each.throughput)]
    cells = [figure(key, None if part is None else part.estimate) for key, part in parts]
    steps = "; ".join(f"{step.axis} \u00d7 {number(step.factor)}" for step in each.steps)
    return [*cells, plain(each.scaling_efficiency, "%"), words(steps), words(", ".join(each.differs_in))]


def _first_at(steps: Sequence[tuple[float, float]], share: float) -> float:
    return next((seconds for seconds, arrived in steps if arrived >= share - 1e-9), math.inf)
