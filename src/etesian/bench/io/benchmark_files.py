"""Runs from any file or folder that `etesian bench check` accepts, recognized by the content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etesian.bench.address import StoreAddress
from etesian.bench.errors import InputError
from etesian.bench.io._reading.files import UnreadableError, files_below, has_suffix, json_of
from etesian.bench.io._reading.found import Found, Skipped
from etesian.bench.record import StoredRun
from etesian.bench.store import Store
from etesian.bench.workload import Target

_FORMATS = "a store, JSON Lines, CSV, JSON of pytest-benchmark or hyperfine, or a folder of such files"


def read_benchmark_file(
    source: str | Path, *, suite: str | None = None, target: Target | None = None
) -> list[StoredRun]:
    """Read runs from a store, JSON Lines, CSV, JSON of pytest-benchmark or hyperfine, or a folder of such files.

    Parameters
    ----------
    source
        Path of a file or a folder, or database URL of a store.
    suite
        Suite to select; None for all.
    target
        Target of the runs of a CSV file; None if the file states it.

    Raises
    ------
    InputError
        If the file is none of these, cannot be read completely, or holds no runs.
    """
    found = _read(source, target)
    skipped = [each for each in found if isinstance(each, Skipped)]
    if skipped:
        raise InputError(f"{StoreAddress.of(source)} cannot be read completely: {skipped[0].reason}")
    runs = [each for each in found if isinstance(each, StoredRun) and suite in (None, each.suite)]
    if not runs:
        raise InputError(f"{StoreAddress.of(source)} holds no runs" + (f" of the suite {suite}" if suite else ""))
    return runs


def _read(source: str | Path, target: Target | None) -> list[Found]:
    path = Path(source)
    if path.is_dir():
        return [found for file in files_below(path) for found in _read(file, target)]
    if "://" in str(source) or not path.is_file():
        with Store(source, create=False) as store:
            return list(store.entries())
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"SQLite"):
        with Store(source, create=False) as store:
            return list(store.entries())
    if has_suffix(path, ".csv", ".tsv"):
        from etesian.bench.io.importers.table import read_csv

        return list(read_csv(path, target=target))
    if path.suffix == ".json":
        return list(_read_json(path))
    if start.startswith(b"{"):
        from etesian.bench.io.jsonl import read_jsonl

        return list(read_jsonl(path))
    raise InputError(f"{path} must be {_FORMATS}")


def _read_json(path: Path) -> Iterator[Found]:
    from etesian.bench.io.importers.hyperfine import read_hyperfine
    from etesian.bench.io.importers.pytest_benchmark import read_pytest_benchmark

    try:
        keys = json_of(path).keys()
    except UnreadableError as error:
        raise InputError(f"{path} {error}") from None
    if "benchmarks" in keys:
        return read_pytest_benchmark(path)
    if "results" in keys:
        return read_hyperfine(path)
    raise InputError(f"{path} must be {_FORMATS}; it has neither 'benchmarks' nor 'results'")
