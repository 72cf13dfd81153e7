"""One sentence that says what the runs of a race showed, and no more than they showed."""

from __future__ import annotations

import math

from etesian.bench.analysis import Comparison, EntryFigures, RaceAnalysis
from etesian.bench.analysis.words import listed
from etesian.bench.report.wording import interval, number, target_words


def verdict(race: RaceAnalysis, *, level: float) -> str:
    """Say who is ahead, by how much, and whether that is shown; against the baseline where another entry is it."""
    goal = target_words(race.race.target)
    if not any(each.reached for each in race.entries):
        return f"No run reached {goal}."
    if len(race.entries) == 1:
        return _alone(race.entries[0], goal)
    winner = race.standing.winner
    if winner is None:
        return f"No entry reached {goal} in more than half of its runs."
    compared = {each.entry: each for each in race.comparisons}
    if winner in compared:
        return _against_baseline(compared[winner], goal, level) + _shortfall(race, winner)
    return _ahead(race, compared, goal, level) + _shortfall(race, winner)


def _alone(entry: EntryFigures, goal: str) -> str:
    start = f"{entry.name} reached {goal} in {entry.reached} of {entry.runs} runs"
    if entry.median.value is None or math.isinf(entry.median.value):
        return f"{start}: too few for a median time."
    within = f" ({interval(entry.median, 's')})" if entry.median.has_interval else ""
    return f"{start}; the median time is {number(entry.median.value, 's')}{within}."


def _against_baseline(compared: Comparison, goal: str, level: float) -> str:
    times, ends = _times_as_long(compared, level, than=f" as {compared.baseline}")
    if ends is None:
        return f"To reach {goal}, {compared.entry} took {times}; with so few runs there is no interval to that."
    if ends[1] < 1:
        return f"To reach {goal}, {compared.entry} takes {times}."
    return f"No entry is shown to reach {goal} sooner than {compared.baseline}: {compared.entry} takes {times}."


def _ahead(race: RaceAnalysis, compared: dict[str, Comparison], goal: str, level: float) -> str:
    first, second = race.standing.names[:2]
    took = number(race.standing.seconds[0], "s")
    if not math.isfinite(race.standing.seconds[1]):
        return f"{first} reaches {goal} in {took}; no other entry does in more than half of its runs."
    if race.standing.seconds[0] == race.standing.seconds[1]:
        tied = [name for name, place in zip(race.standing.names, race.standing.places, strict=True) if place == 1]
        return f"{listed(tied)} tie: each reaches {goal} in {took}."
    close = race.standing.not_told_apart()
    if close:
        are = "is" if len(close) == 1 else "are"
        return f"{first} has the shortest time to {goal}, {took}, but {listed(close)} {are} not shown to be slower."
    times, ends = _times_as_long(compared[second], level)
    few = "; with so few runs there is no interval to that" if ends is None else ""
    return f"{first} reaches {goal} first, in {took}; {second}, the next, takes {times}{few}."


def _times_as_long(compared: Comparison, level: float, *, than: str = "") -> tuple[str, tuple[float, float] | None]:
    """How many times as long, in words with the interval, and its ends."""
    ratio = compared.ratio or compared.schedule_ratio
    if ratio is None or ratio.estimate.value is None:
        return f"a time that cannot be compared with that of {compared.baseline}", None
    times = f"{number(ratio.estimate.value)} times as long{than}"
    if ratio.estimate.low is None or ratio.estimate.high is None:
        return times, None
    ends = f" ({number(level, '%')} interval {interval(ratio.estimate)})"
    return times + ends, (ratio.estimate.low, ratio.estimate.high)


def _shortfall(race: RaceAnalysis, name: str) -> str:
    entry = next(each for each in race.entries if each.name == name)
    return (
        ""
        if entry.reached == entry.runs
        else f" {name} reached the target in {entry.reached} of its {entry.runs} runs."
    )
