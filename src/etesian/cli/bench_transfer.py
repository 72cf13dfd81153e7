"""The commands `etesian bench import` and `etesian bench export`, one for each registered importer and exporter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from etesian import bench
from etesian._shared.files import check_output
from etesian.bench.io import (
    Columns,
    Found,
    Ignored,
    Skipped,
    exporter,
    exporter_names,
    importer,
    importer_names,
)
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption, parse_target
from etesian.cli.console import EXIT_FAILED, note, print_json
from etesian.cli.derive import options_from

_MOST_IGNORED_SHOWN = 5
_RUNS_IN_TRANSACTION = 100  # a transaction waits for the disk
_FORMATS_BY_SUFFIX = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}

JsonOption = Annotated[bool, Parameter(name="--json", help="Print the counts and skipped files as one JSON object.")]
_TargetText = Annotated[str | None, Parameter(name="--target")]
_ColumnTexts = Annotated[tuple[str, ...], Parameter(name="--column", allow_repeating=True)]

importing = App(name="import", help="Import runs into a store from files of other programs.")


def _import_command(name: str) -> Callable[..., int]:
    """Return the command of an importer, with the importer's own parameters as options."""
    read = importer(name)
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
            options["columns"] = Columns.parse(options["columns"] or ())
        place = path if is_text or "://" in path else Path(path)
        return _keep(read(place, **options), store, as_json=as_json)

    summary = inspect.cleandoc(read.__doc__ or "").partition("\n\n")[0].replace("`", "")
    command.__doc__ = f"""{summary}

    Exit code: 1 if a run or file was skipped, 2 for a mistake in the arguments.

    Parameters
    ----------
    path
        File or folder to import.
    """
    return command


for _name in importer_names():
    importing.command(_import_command(_name), name=_name)


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
    source, path = (given_store or [store])[0], Path(output)
    write = exporter(file_format or _FORMATS_BY_SUFFIX.get(path.suffix, "jsonl"))
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


export.__doc__ = (export.__doc__ or "").replace("Name of the format", f"Format: {', '.join(exporter_names())}")


def _target(text: str | bench.Target) -> bench.Target:
    return parse_target(text) if isinstance(text, str) else text


def _keep(found: Iterable[Found], store: str, *, as_json: bool) -> int:
    """Store the runs, report everything that was not stored, and return the exit code."""
    if isinstance(found, list):  # read completely, so store all runs or none
        transactions: Iterable[Found] = found
        at_once = max(len(found), 1)
    else:
        iterator = iter(found)
        first = next(iterator, None)  # finds mistakes in the arguments before a store is created
        transactions, at_once = _chained(first, iterator), _RUNS_IN_TRANSACTION
    added = already_there = 0
    skipped, ignored = list[Skipped](), list[Ignored]()
    with bench.Store(store) as opened:
        for item in _kept(transactions, opened, at_once=at_once):
            if isinstance(item, Skipped):
                skipped.append(item)
                note(f"skipped {item.path}: {item.reason}")
            elif isinstance(item, Ignored):
                ignored.append(item)
            else:
                added, already_there = added + item[0], already_there + item[1]
    _report_ignored(ignored)
    note(f"added {added} runs to {store}; {already_there} were already there; {len(skipped)} skipped")
    if as_json:
        print_json(_as_dict(added, already_there, skipped, ignored))
    return EXIT_FAILED if skipped else 0


def _kept(found: Iterable[Found], store: bench.Store, *, at_once: int) -> Iterator[Skipped | Ignored | tuple[int, int]]:
    """Store runs, some at a time, and yield their counts and everything that is not a run."""
    waiting: list[bench.StoredRun] = []
    for item in found:
        if not isinstance(item, bench.StoredRun):
            yield item
            continue
        waiting.append(item)
        if len(waiting) == at_once:
            yield from _add(waiting, store)
            waiting = []
    yield from _add(waiting, store)


def _add(entries: list[bench.StoredRun], store: bench.Store) -> Iterator[Skipped | tuple[int, int]]:
    """Store runs in one transaction. If one conflicts with a stored run, store each alone and skip only that one."""
    try:
        yield store.add_all(entries)
    except bench.AlreadyStoredError as error:
        if len(entries) > 1:
            for entry in entries:
                yield from _add([entry], store)
        else:
            suite, run = entries[0]
            yield Skipped(f"{suite}, {run.workload}, seed {run.seed}", str(error))


def _chained(first: Found | None, rest: Iterable[Found]) -> Iterator[Found]:
    if first is not None:
        yield first
        yield from rest


def _report_ignored(ignored: list[Any]) -> None:
    for item in ignored[:_MOST_IGNORED_SHOWN]:
        note(f"not read: {item.path} {item.reason}")
    if len(ignored) > _MOST_IGNORED_SHOWN:
        note(f"not read: {len(ignored) - _MOST_IGNORED_SHOWN} more such files")


def _as_dict(added: int, already_there: int, skipped: list[Any], ignored: list[Any]) -> dict[str, Any]:
    return {
        "added": added,
        "already_there": already_there,
        "skipped": [{"path": item.path, "reason": item.reason} for item in skipped],
        "ignored": [{"path": item.path, "reason": item.reason} for item in ignored],
    }
