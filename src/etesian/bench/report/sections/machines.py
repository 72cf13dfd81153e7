"""Machines of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from etesian.bench.record import Run
from etesian.bench.report.context import PageContext
from etesian.bench.report.format import counted
from etesian.bench.report.model import Row, Section, Table, words_cell

PLACE = 220
SCOPE = "page"


def build(context: PageContext) -> Section:
    """Make the section."""
    runs = [run for race in context.analysis.races for entry in race.race.entries for run in entry.runs]
    tables = [_table(count, rows) for count, rows in machine_records(runs) if rows]
    is_alone = len(tables) == 1
    note = "" if tables else "The runs record no machine."
    table = tables[0] if is_alone else None
    return Section("machine", "Machine", table, note=note, more=() if is_alone else tuple(tables), on_terminal=())


def machine_records(runs: Sequence[Run]) -> list[tuple[int, list[tuple[str, str]]]]:
    """List the distinct machines with the number of runs on each; nested names are joined by dots.

    The load is given as a range. Where a run records no machine, its system and hardware are used.
    """
    loads: dict[str, list[float | None]] = {}
    for run in runs:
        lasting = {name: value for name, value in run.machine.items() if name != "load_average"}
        text = json.dumps(lasting or _system(run), sort_keys=True, default=str)
        load = run.machine.get("load_average")
        loads.setdefault(text, []).append(load[0] if load else None)
    return [(len(each), _flatten(json.loads(text)) + _load_row(each)) for text, each in loads.items()]


def _table(count: int, rows: Sequence[tuple[str, str]]) -> Table:
    caption = f"{counted(count, 'run')} on {rows[0][1]}"
    return Table(caption, ("property", "value"), [Row(name, [words_cell(value)]) for name, value in rows])


def _system(run: Run) -> dict[str, Any]:
    known = {"system": run.system, "hardware": run.details.get("hardware"), "organization": run.organization}
    return {name: value for name, value in known.items() if value}


def _load_row(loads: Sequence[float | None]) -> list[tuple[str, str]]:
    known = [load for load in loads if load is not None]
    return [("load_average", f"{min(known):.2f} to {max(known):.2f} (1 minute, as runs began)")] if known else []


def _flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
