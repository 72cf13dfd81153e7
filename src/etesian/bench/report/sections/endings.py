"""Outcomes: how the runs of each entry ended, and the errors of failed runs."""

from __future__ import annotations

from collections import Counter

from etesian.bench.record import Run
from etesian.bench.report.context import RaceContext
from etesian.bench.report.format import OUTCOMES, ending
from etesian.bench.report.model import Cell, Row, Section, Table

PLACE = 120
SCOPE = "race"


def build(context: RaceContext) -> Section:
    """Make the section."""
    errors = _errors(context)
    return Section("endings", "Outcomes", _table(context), more=(errors,) if errors.rows else (), on_terminal=())


def _table(context: RaceContext) -> Table:
    counts = {}
    for name, entry in context.runs_of.items():
        arrived = entry.curves.passage(context.race.race.target.threshold, context.options.rule).arrived
        counts[name] = Counter(
            ending(run.outcome, arrived=bool(at)) for run, at in zip(entry.runs, arrived, strict=True)
        )
    easier = ending("reached", arrived=False)
    kinds = [*OUTCOMES.values(), *[easier] * any(each[easier] for each in counts.values())]
    rows = [context.row(name, [Cell(str(each[kind])) for kind in kinds]) for name, each in counts.items()]
    return Table(f"Outcomes, {context.race.race}", ["entry", *kinds], rows)


def _errors(context: RaceContext) -> Table:
    rows = [
        Row(f"{name}, seed {run.seed}", [Cell(_error_and_output(run), kind="code")])
        for name, entry in context.runs_of.items()
        for run in entry.runs
        if run.error
    ]
    return Table("Errors", ["run", "error"], rows)


def _error_and_output(run: Run) -> str:
    output = run.details.get("output")
    return f"{run.error}\n\nEnd of the output:\n{output}" if output else str(run.error)
