"""`etesian bench import` and `etesian bench export`: runs from other programs' files into a store, and out of it again.

The formats are the registered importers and exporters; each becomes a command with the options of its function.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from etesian import bench
from etesian.bench import io
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption
from etesian.cli.console import PlainErrors
from etesian.cli.from_signature import converted, options_of, summary_of, text_of

if TYPE_CHECKING:
    from etesian.bench.io import Found

EXIT_SKIPPED = 1
EXIT_NOTHING_READ = 2
_MOST_SHOWN = 5
_RUNS_IN_TRANSACTION = 100  # a transaction waits for the disk
_SUFFIXES = {"pq": "parquet", "md": "github-summary"}

_EXIT_CODES = """
Exit code: 1 if something was skipped, 2 for a mistake in the request or if nothing could be read.
"""


class ImportFormats(PlainErrors):
    """One command per registered importer."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the formats."""
        return io.importer_names()

    def get_command(self, ctx: Any, name: str) -> Any:
        """Build the command of a format from its importer."""
        return import_command(name) if name in io.importer_names() else None


importing = typer.Typer(cls=ImportFormats, no_args_is_help=True, help="Import runs into a store.")


@importing.callback()
def _importing() -> None:
    """Import runs into a store."""


def import_command(name: str) -> Any:
    """Build the command that reads one format."""
    read = io.importer(name)
    first = next(iter(inspect.signature(read).parameters))

    def command(**given: Any) -> None:
        path, store, as_json = given.pop(first), given.pop("store"), given.pop("as_json")
        keep(read(path, **converted(read, given)), store, as_json=as_json)

    path = Annotated[str, typer.Argument(metavar="PATH", help="File or folder to read.")]
    json_option = Annotated[bool, typer.Option("--json", help="Print counts and reasons as one JSON object.")]
    own = [
        inspect.Parameter(first, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=path),
        *options_of(read),
        inspect.Parameter("store", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_STORE, annotation=StoreOption),
        inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=json_option),
    ]
    command.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    app = typer.Typer(add_completion=False)
    app.command(name, help=f"{text_of(read)}\n{_EXIT_CODES}", short_help=summary_of(read))(command)
    return typer.main.get_command(app)


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


def keep(found: Iterable[Found], store: str, *, as_json: bool) -> None:
    """Store the runs, and report everything that was not stored."""
    done = Imported()
    with_runs = _report(iter(found), done)
    first = next(with_runs, None)  # without a run there is no store to make
    if first is not None:
        with bench.Store(store) as opened:
            for batch in _batches(chain([first], with_runs)):
                _add(batch, opened, done)
    _print(done, store)
    if as_json:
        print(json.dumps(done.as_dict(), indent=2))
    if done.skipped:
        raise typer.Exit(EXIT_SKIPPED if done.added or done.already_there else EXIT_NOTHING_READ)


def _report(found: Iterator[Found], done: Imported) -> Iterator[bench.StoredRun]:
    """Yield the runs; print skipped items and collect the rest."""
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
    typer.echo(f"skipped {item.path}: {item.reason}", err=True)


def _print(done: Imported, store: str) -> None:
    _echo_some([f"not read: {item.path} {item.reason}" for item in done.ignored], "such files")
    _echo_some([f"note: {text}" for text in done.notes], "notes; --json prints all of them")
    counts = f"added {done.added} runs to {store}; {done.already_there} were already there; {len(done.skipped)} skipped"
    typer.echo(counts, err=True)


def _echo_some(lines: list[str], rest: str) -> None:
    for line in lines[:_MOST_SHOWN]:
        typer.echo(line, err=True)
    if len(lines) > _MOST_SHOWN:
        typer.echo(f"{lines[0].partition(':')[0]}: {len(lines) - _MOST_SHOWN} more {rest}", err=True)


def export_runs(
    paths: Annotated[list[str], typer.Argument(metavar="[STORE] FILE", help="File to write, or a new folder.")],
    suite: SuiteOption = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="Format; by default that of the file's suffix, or else jsonl."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write stored runs in another format: jsonl (which alone keeps everything), csv, parquet, and all others registered."""
    if len(paths) > 2:
        raise bench.InputError(f"export takes [STORE] FILE; got {len(paths)} arguments")
    store, path = (paths[0], Path(paths[1])) if len(paths) == 2 else (store, Path(paths[0]))
    write = _exporter(file_format, path)
    with bench.Store(store, create=False) as opened:
        entries = opened.entries(suite)
    if not entries:
        raise bench.InputError(f"the store {store} holds no runs" + (f" of the suite {suite}" if suite else ""))
    written = write(entries, path)
    typer.echo(f"wrote {written} runs to {path}", err=True)
    if written < len(entries):
        typer.echo(f"left out {len(entries) - written} runs without a measurement", err=True)


def _exporter(name: str | None, path: Path) -> Callable[[list[bench.StoredRun], Path], int]:
    suffix = path.suffix.removeprefix(".")
    by_suffix = _SUFFIXES.get(suffix, suffix)
    return io.exporter(name or (by_suffix if by_suffix in io.exporter_names() else "jsonl"))
