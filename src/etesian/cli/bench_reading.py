"""Runs of a store or a JSON Lines file, chosen by suite and target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etesian import bench
from etesian.bench.address import StoreAddress
from etesian.cli.bench_options import parse_target


def read_runs(source: StoreAddress, *, suite: str | None = None) -> list[bench.StoredRun]:
    """Read the runs of a store, or of a JSON Lines file.

    Raises
    ------
    InputError
        If the source cannot be read, or holds no runs (of the suite).
    """
    if source.path is not None and not _is_sqlite(source.path):
        entries = [entry for entry in bench.read_jsonl(source.path) if suite in (None, entry.suite)]
    else:
        with bench.Store(source, create=False) as opened:
            entries = opened.entries(suite)
    if not entries:
        raise bench.InputError(f"{source} holds no runs" + (f" of the suite {suite}" if suite else ""))
    return entries


def select_runs(
    entries: Sequence[bench.StoredRun], *, store: StoreAddress, suite: str | None = None, target: str | None = None
) -> list[bench.StoredRun]:
    """Select the runs of a suite and a target; None selects all.

    Raises
    ------
    InputError
        If none are left; the message lists the stored suites and targets.
    """
    if not entries:
        raise bench.InputError(f"the store {store} holds no runs yet; `etesian bench run` adds them")
    goal = None if target is None else parse_target(target)
    chosen = [entry for entry in entries if suite in (None, entry.suite) and goal in (None, entry.run.target)]
    if not chosen:
        selection = " ".join(str(part) for part in (suite, goal) if part is not None)
        known = dict.fromkeys(f"{entry.suite} ({entry.run.target})" for entry in entries)
        raise bench.InputError(f"no runs are stored for {selection}; the store holds {', '.join(known)}")
    return chosen


def _is_sqlite(path: Path) -> bool:
    """Return True if a file begins like SQLite's; a missing file is treated as a store."""
    if not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            return file.read(6) == b"SQLite"
    except OSError:
        return True
