"""How to reproduce: commands, targets, options and seeds."""

from __future__ import annotations

from collections.abc import Sequence

from etesian.bench.record import Run
from etesian.bench.report.context import PageContext
from etesian.bench.report.model import Cell, Row, Section, Table, words_cell

PLACE = 230
SCOPE = "page"

_RULES = {
    "first_passage": "first measurement at the target",
    "stays_above": "first measurement from which on the run stays at the target",
}


def build(context: PageContext) -> Section:
    """Make the section."""
    analysis = context.analysis
    runs = [run for race in analysis.races for entry in race.race.entries for run in entry.runs]
    budgets = sorted({run.budget_seconds for run in runs if run.budget_seconds is not None})
    rows = [Row(output, [Cell(command, kind="code")]) for output, command in _commands(context).items()]
    rows.append(Row("Targets", [words_cell(", ".join(str(race.race.target) for race in analysis.races))]))
    rows.append(Row("Confidence level", [words_cell(f"{100 * analysis.options.level:g}%")]))
    rows.append(Row("Time to target ends at", [words_cell(_RULES[analysis.options.rule])]))
    if budgets:
        rows.append(Row("Budgets", [words_cell(", ".join(f"{budget:g} s" for budget in budgets))]))
    seeds = [
        Row(entry.name, [words_cell(_ranges([run.seed for run in entry.runs])), words_cell(_codes(entry.runs))])
        for race in analysis.races
        for entry in race.race.entries
    ]
    more = (Table("Seeds and code", ("entry", "seeds", "digest of the code"), seeds),)
    table = Table("How to reproduce", ("", ""), rows)
    return Section("reproduce", "How to reproduce", table, more=more, on_terminal=())


def _commands(context: PageContext) -> dict[str, str]:
    recorded = {
        entry.name: str(run.details["command"])
        for race in context.analysis.races
        for entry in race.race.entries
        for run in entry.runs[:1]
        if "command" in run.details
    }
    return dict(context.commands) | recorded


def _codes(runs: Sequence[Run]) -> str:
    """List the digests of the code of the runs; more than one only if they were pooled."""
    return ", ".join(dict.fromkeys(run.code for run in runs if run.code))


def _ranges(seeds: Sequence[int]) -> str:
    """Format seeds, with neighbors as a range."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], seed]
        else:
            parts.append([seed])
    return ", ".join(" to ".join(map(str, part)) for part in parts)
