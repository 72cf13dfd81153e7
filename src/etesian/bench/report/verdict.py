"""The headline of a race: one sentence about the result that the runs show."""

from __future__ import annotations

import math

from etesian.bench.analysis import Comparison, EntryFigures, RaceAnalysis
from etesian.bench.report.format import counted, listed, number, p_value, ranged, target_words, value_and_interval


def verdict(race: RaceAnalysis, *, level: float) -> str:
    """State the winner and its lead, if that is shown; relative to the baseline where one was named."""
    goal = target_words(race.race.target)
    if race.standing.ranked_by == "fixed_schedule":
        return _fixed_schedule(race, goal)
    if not any(each.reached for each in race.entries):
        return f"No run reached {goal}."
    if len(race.entries) == 1:
        return _alone(race.entries[0], goal)
    winner = race.standing.winner
    if winner is None:
        return f"No entry reached {goal} in more than half of its runs."
    compared = {each.entry: each for each in race.comparisons}
    if winner in compared:
        return _against_baseline(compared[winner], goal, level, len(compared)) + _shortfall(race, winner)
    return _ahead(race, compared, goal, level) + _shortfall(race, winner)


def _fixed_schedule(race: RaceAnalysis, goal: str) -> str:
    """Lead with the test of the mean: the time of a schedule counts only if its mean reaches the target."""
    shown = [each for each in race.entries if each.schedule.is_shown]
    first = next((each for each in race.entries if each.name == race.standing.names[0]), race.entries[0])
    if not shown:
        tested = [each for each in race.entries if each.schedule.p_value is not None]
        if not tested:
            return f"No entry can be tested: {first.schedule.reason}."
        best = min(tested, key=lambda each: each.schedule.p_value or 0.0)
        return f"No entry is shown to reach {goal} on average; the smallest p value is {_test(best)}."
    others = race.standing.not_shown_slower()
    doubt = f" {_not_shown(race, others)}" if others else ""
    return f"{first.name} reaches {goal} on average: {_test(first)}, in {number(race.standing.seconds[0], 's')}.{doubt}"


def _test(each: EntryFigures) -> str:
    mean, ends = value_and_interval(each.schedule.mean)
    p = p_value(each.schedule.p_value, alpha=each.schedule.alpha)
    return f"p = {p}, mean {mean}" + (f" ({ends})" if ends else "") + f" over {counted(each.runs, 'run')}"


def _alone(entry: EntryFigures, goal: str) -> str:
    start = f"{entry.name} reached {goal} in {entry.reached} of {entry.runs} runs"
    if entry.median.value is None or math.isinf(entry.median.value):
        return f"{start}: too few for a median time."
    text, ends = value_and_interval(entry.median, "s")
    return f"{start}; the median time is {text}" + (f" ({ends})." if ends else ".")


def _against_baseline(compared: Comparison, goal: str, level: float, n_compared: int) -> str:
    """Compare the fastest of several entries with the baseline; Bonferroni's correction, as the fastest was selected."""
    times, ends = _times_as_long(compared, level, than=f" as {compared.baseline}")
    if ends is None:
        return f"To reach {goal}, {compared.entry} took {times}; so few runs give no interval."
    limit = (1 - level) / n_compared
    is_chance = n_compared > 1 and compared.test is not None and compared.test.p_value > limit
    if ends[1] < 1 and not is_chance:
        return f"To reach {goal}, {compared.entry} takes {times}."
    start = f"No entry is shown to reach {goal} sooner than {compared.baseline}: {compared.entry} takes {times}"
    if ends[1] >= 1 or compared.test is None:
        return f"{start}."
    return (
        f"{start}, p = {p_value(compared.test.p_value)}, and the fastest of {n_compared} entries requires {limit:.2g}."
    )


def _ahead(race: RaceAnalysis, compared: dict[str, Comparison], goal: str, level: float) -> str:
    first, second = race.standing.names[:2]
    took = number(race.standing.seconds[0], "s")
    if not math.isfinite(race.standing.seconds[1]):
        return f"{first} reaches {goal} in {took}; no other entry does in more than half of its runs."
    if race.standing.seconds[0] == race.standing.seconds[1]:
        tied = [name for name, place in zip(race.standing.names, race.standing.places, strict=True) if place == 1]
        return f"{listed(tied)} tie: each reaches {goal} in {took}."
    close = race.standing.not_shown_slower()
    if close:
        return f"{first} has the shortest time to {goal}, {took}. {_not_shown(race, close)}"
    times, ends = _times_as_long(compared[second], level)
    few = "; so few runs give no interval" if ends is None else ""
    return f"{first} reaches {goal} first, in {took}; {second}, the next, takes {times}{few}."


def _not_shown(race: RaceAnalysis, close: list[str]) -> str:
    ranks = race.standing.ranks
    if ranks is not None and ranks.runs_needed is not None:
        runs = ranged([each.runs for each in race.entries if each.name in race.standing.tested], "run")
        return (
            f"{runs} of each of {len(race.standing.tested)} entries cannot show a difference, regardless of the times; "
            f"{ranks.runs_needed} runs of each could."
        )
    return f"{listed(close)} {'is' if len(close) == 1 else 'are'} not shown to be slower."


def _times_as_long(compared: Comparison, level: float, *, than: str = "") -> tuple[str, tuple[float, float] | None]:
    """Format a ratio with its interval, and return the ends of the interval."""
    ratio = compared.ratio or compared.schedule_ratio
    if ratio is None or ratio.estimate.value is None:
        return f"a time that cannot be compared with that of {compared.baseline}", None
    text, ends = value_and_interval(ratio.estimate)
    times = f"{text} times as long{than}"
    if ratio.estimate.low is None or ratio.estimate.high is None:
        return times, None
    within = f" ({number(level, '%')} interval {ends})" if ends else ""
    return times + within, (ratio.estimate.low, ratio.estimate.high)


def _shortfall(race: RaceAnalysis, name: str) -> str:
    entry = next(each for each in race.entries if each.name == name)
    if entry.reached == entry.runs:
        return ""
    return f" {name} reached the target in {entry.reached} of its {entry.runs} runs."
