"""The commands `etesian bench import` and `etesian bench export`, one for each registered importer and exporter."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from etesian import bench
from etesian._shared.files import check_output
from etesian.bench import io
from etesian.bench.address import StoreAddress
from etesian.bench.io import Found
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption, parse_target
from etesian.cli.console import EXIT_FAILED, EXIT_MISTAKE, note, print_json
from etesian.cli.derive import options_from, with_limit_factor

_MOST_SHOWN = 5
_RUNS_IN_TRANSACTION = 100  # a transaction waits for the disk
_SUFFIXES = {"pq": "parquet", "md": "github-summary"}

JsonOption = Annotated[bool, Parameter(name="--json", help="Print counts and reasons as one JSON object.")]
_TargetText = Annotated[str | None, Parameter(name="--target")]
_ColumnTexts = Annotated[tuple[str, ...], Parameter(name="--column", allow_repeating=True)]

importing = App(name="import", help="Import runs into a store from files of other programs.")


def _import_command(name: str) -> Callable[..., int]:
    """Return the command of an importer, with the importer's own parameters as options."""
    try:
        read = io.importer(name)
    except bench.InputError as error:  # a broken package must not disable the other importers
        return _broken_command(error)
    location, *_ = inspect.signature(read).parameters
    is_text = inspect.signature(read, eval_str=True).parameters[location].annotation is str

    @options_from(read, leave_out={location}, annotations={"target": _TargetText, "columns": _ColumnTexts})
    def command(
        path: str,
        /,
        *,
        store: StoreOption = DEFAULT_STORE,
        as_json: JsonOption = False,
        **options: Any,
    ) -> int:
        if options.get("target") is not None:
            options["target"] = _target(options["target"])
        if "columns" in options:
            options["columns"] = io.Columns.parse(options["columns"] or ())
        place = path if is_text or "://" in path else Path(path)
        return keep(read(place, **options), store, as_json=as_json)

    summary = inspect.cleandoc(read.__doc__ or "").partition("\n\n")[0].replace("`", "")
    command.__doc__ = f"""{summary}

    Exit code: 1 if something was skipped, 2 for a mistake in the arguments or if nothing could be read.

    Parameters
    ----------
    path
        File or folder to import.
    """
    return command


def _broken_command(error: bench.InputError) -> Callable[..., int]:
    def command(path: str = "", /) -> int:
        raise error

    command.__doc__ = f"Not available: {error}"
    return command


for _name in io.importer_names():
    importing.command(with_limit_factor(_import_command(_name)), name=_name)


@dataclass
class Imported:
    """Counts and reasons of one import."""

    added: int = 0
    already_there: int = 0
    skipped: list[io.Skipped] = field(default_factory=list)
    ignored: list[io.Ignored] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the import as a JSON object."""
        return {
            "added": self.added,
            "already_there": self.already_there,
            "skipped": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "ignored": [{"path": item.path, "reason": item.reason} for item in self.ignored],
            "notes": dict(self.notes),
        }


def keep(found: Iterable[Found], store: StoreAddress, *, as_json: bool) -> int:
    """Store the runs, report everything that was not stored, and return the exit code."""
    done = Imported()
    with_runs = _report(iter(found), done)
    first = next(with_runs, None)  # without a run there is no store to make
    if first is not None:
        with bench.Store(store) as opened:
            for batch in _batches(chain([first], with_runs)):
                _add(batch, opened, done)
    _print(done, store)
    if as_json:
        print_json(done.as_dict())
    if not done.skipped:
        return 0
    return EXIT_FAILED if done.added or done.already_there else EXIT_MISTAKE


def _report(found: Iterator[Found], done: Imported) -> Iterator[bench.StoredRun]:
    """Yield the runs; print skipped items and collect the others."""
    for item in found:
        if isinstance(item, io.Skipped):
            _skip(item, done)
        elif isinstance(item, io.Ignored):
            done.ignored.append(item)
        else:
            suite, run = item
            done.notes.update(f"{suite}, {run.workload}, seed {run.seed}: {text}" for text in _notes_of(run))
            yield item


def _notes_of(run: bench.Run) -> list[str]:
    notes = run.details.get("notes")
    return [str(note) for note in notes] if isinstance(notes, list) else []


def _batches(entries: Iterable[bench.StoredRun]) -> Iterator[list[bench.StoredRun]]:
    waiting: list[bench.StoredRun] = []
    for entry in entries:
        waiting.append(entry)
        if len(waiting) == _RUNS_IN_TRANSACTION:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _add(entries: list[bench.StoredRun], store: bench.Store, done: Imported) -> None:
    """Add in one transaction; if a run differs from a stored one, one by one, so that this one alone is left out."""
    try:
        added, already_there = store.add_all(entries)
        done.added, done.already_there = done.added + added, done.already_there + already_there
    except bench.AlreadyStoredError as error:
        if len(entries) > 1:
            for entry in entries:
                _add([entry], store, done)
        else:
            suite, run = entries[0]
            _skip(io.Skipped(f"{suite}, {run.workload}, seed {run.seed}", str(error)), done)


def _skip(item: io.Skipped, done: Imported) -> None:
    done.skipped.append(item)
    note(f"skipped {item.path}: {item.reason}")


def _print(done: Imported, store: StoreAddress) -> None:
    _echo_some([f"not read: {item.path} {item.reason}" for item in done.ignored], "such files")
    _echo_some([f"note: {text}" for text in done.notes], "notes; --json prints all of them")
    counts = f"added {done.added} runs to {store}; {done.already_there} were already there; {len(done.skipped)} skipped"
    note(counts)


def _echo_some(lines: list[str], rest: str) -> None:
    for line in lines[:_MOST_SHOWN]:
        note(line)
    if len(lines) > _MOST_SHOWN:
        note(f"{lines[0].partition(':')[0]}: {len(lines) - _MOST_SHOWN} more {rest}")


def export(
    *arguments: Annotated[str, Parameter(name="FILE")],
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    file_format: Annotated[str | None, Parameter(name="--format")] = None,
) -> None:
    """Export stored runs to a file. JSON Lines preserves everything; other formats may lose details.

    Parameters
    ----------
    arguments
        File to write; for the format "dawnbench" a new folder. The store may come first in place of --store.
    file_format
        Name of the format; recognized from the file name by default.
    """
    *given_store, output = arguments or ("",)
    if len(given_store) > 1 or not output:
        raise bench.InputError(f"export takes one file to write; got {len(arguments)} arguments")
    source, path = StoreAddress(given_store[0]) if given_store else store, Path(output)
    write = _exporter(file_format, path)
    with bench.Store(source, create=False) as opened:
        entries = opened.entries(suite)
    if not entries:
        raise bench.InputError(f"the store {source} holds no runs" + (f" of the suite {suite}" if suite else ""))
    if not path.is_dir():
        check_output(path)
    written = write(entries, path)
    note(f"wrote {written} runs to {path}")
    if written < len(entries):
        note(f"left out {len(entries) - written} runs without a measurement")


export.__doc__ = (export.__doc__ or "").replace("Name of the format", f"Format: {', '.join(io.exporter_names())}")


def _target(text: str | bench.Target) -> bench.Target:
    return parse_target(text) if isinstance(text, str) else text


def _exporter(name: str | None, path: Path) -> Callable[[list[bench.StoredRun], Path], int]:
    suffix = path.suffix.removeprefix(".")
    by_suffix = _SUFFIXES.get(suffix, suffix)
    return io.exporter(name or (by_suffix if by_suffix in io.exporter_names() else "jsonl"))
