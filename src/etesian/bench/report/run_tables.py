"""The page's tables of runs: how each ended, what it measured, and what it ran on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from etesian.bench.analysis import RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.record import Run
from etesian.bench.report.cells import Cell, Row, Table, words
from etesian.bench.report.tables import Links
from etesian.bench.report.wording import MISSING, OUTCOMES, ending, number
from etesian.bench.statistics import Passage, Rule

_RUN_HEADINGS = (
    "entry",
    "seed",
    "how it ended",
    "target passed between",
    "measurements",
    "first value",
    "last value",
    "clock",
)


def runs_table(race: RaceAnalysis, rule: Rule) -> Table:
    """One row a run, by entry; without links, since there may be thousands."""
    rows = []
    for entry in race.race.entries:
        passage = entry.curves.passage(race.race.target.threshold, rule)
        rows += [Row(entry.name, _run_cells(entry, passage, k)) for k in range(len(entry.runs))]
    return Table(f"Runs, {race.race}", _RUN_HEADINGS, rows)


def endings(race: RaceAnalysis, rule: Rule, links: Links) -> Table:
    """How many runs of each entry ended how, as seen from the race's target."""
    counts = {}
    for entry in race.race.entries:
        arrived = entry.curves.passage(race.race.target.threshold, rule).arrived
        counts[entry.name] = Counter(
            ending(run.outcome, arrived=bool(at)) for run, at in zip(entry.runs, arrived, strict=True)
        )
    easier = ending("reached", arrived=False)
    kinds = [*OUTCOMES.values(), *[easier] * any(each[easier] for each in counts.values())]
    rows = [Row(name, [Cell(str(each[kind])) for kind in kinds], links[name]) for name, each in counts.items()]
    return Table(f"How the runs ended, {race.race}", ["entry", *kinds], rows)


def machine_records(runs: Sequence[Run]) -> list[tuple[int, list[tuple[str, str]]]]:
    """Give every machine that occurs, with the number of its runs and the range of its load; nested names joined by points.

    Where nothing but a run's system is known, that is told.
    """
    loads: dict[str, list[float | None]] = {}
    for run in runs:
        lasting = {name: value for name, value in run.machine.items() if name != "load_average"}
        text = json.dumps(lasting or _system(run), sort_keys=True, default=str)
        load = run.machine.get("load_average")
        loads.setdefault(text, []).append(load[0] if load else None)
    return [(len(each), _flatten(json.loads(text)) + _load_row(each)) for text, each in loads.items()]


def _system(run: Run) -> dict[str, Any]:
    known = {"system": run.system, "hardware": run.details.get("hardware"), "organization": run.organization}
    return {name: value for name, value in known.items() if value}


def _load_row(loads: Sequence[float | None]) -> list[tuple[str, str]]:
    known = [load for load in loads if load is not None]
    return [("load_average", f"{min(known):.2f} to {max(known):.2f} (over a minute, as runs began)")] if known else []


def _run_cells(entry: Entry, passage: Passage, row: int) -> list[Cell]:
    run, curves = entry.runs[row], entry.curves
    sign = 1.0 if curves.target.direction == "at_least" else -1.0
    count = int(curves.lengths[row])
    ends = curves.heights[row, [0, count - 1]].tolist() if count else [math.nan] * 2
    return [
        Cell(str(run.seed)),
        words(ending(run.outcome, arrived=bool(passage.arrived[row]))),
        Cell(_passed_between(passage, row)),
        Cell(str(count)),
        *(Cell(number(sign * height if math.isfinite(height) else None)) for height in ends),
        Cell(number(float(curves.spent[row]), "s") if run.points else MISSING),
    ]


def _passed_between(passage: Passage, row: int) -> str:
    if not passage.arrived[row]:
        return MISSING
    before = float(passage.before[row])
    return f"{number(0.0 if math.isnan(before) else before)} and {number(float(passage.after[row]), 's')}"


def _flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
