"""`etesian bench import` and `etesian bench export`: files of other programs in, runs of a store out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from etesian import bench
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption, parse_target
from etesian.cli.console import PlainErrors

if TYPE_CHECKING:
    from etesian.bench.io import Found, Ignored, Skipped

EXIT_SKIPPED = 1
_MOST_IGNORED_SHOWN = 5
_RUNS_IN_TRANSACTION = 100  # a transaction waits for the disk

importing = typer.Typer(cls=PlainErrors, no_args_is_help=True, help="Bring runs into a store.")

ExportFormat = Literal["jsonl", "csv", "parquet", "dawnbench"]

PathArgument = Annotated[Path, typer.Argument(metavar="PATH", help="A file, or a folder to walk.")]
OwnTargetOption = Annotated[
    str | None,
    typer.Option("--target", metavar="TARGET", help="In place of the official one, such as 'accuracy>=0.93'."),
]
NeededTargetOption = Annotated[
    str, typer.Option("--target", metavar="TARGET", help="What the runs were to reach, such as 'accuracy>=0.93'.")
]
ClockOption = Annotated[
    str | None,
    typer.Option("--clock", metavar="METRIC", help="The metric with the seconds on the clock; else the wall time."),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="ROLE=NAME", help="Which column means what, such as seconds=train_time; repeatable."
    ),
]
NewSuiteOption = Annotated[str | None, typer.Option("--suite", metavar="NAME", help="Under which to keep the runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what was read and skipped as one JSON object.")]


@importing.command("jsonl")
def import_jsonl(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON Lines file to read.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Read runs from a JSON Lines file: all of them or, after an error, none."""
    entries = bench.read_jsonl(path)
    with bench.Store(store) as opened:
        added, already_there = opened.add_all(entries)
    typer.echo(f"added {added} runs to {store}; {already_there} were already there", err=True)


@importing.command("dawnbench")
def import_dawnbench(
    path: PathArgument, store: StoreOption = DEFAULT_STORE, target: OwnTargetOption = None, as_json: JsonOption = False
) -> None:
    """Read DAWNBench's entries, training and inference.

    Exit code, of every format: 1 if something was skipped, 2 for a mistake in what was asked.
    """
    from etesian.bench.io import read_dawnbench

    _keep(read_dawnbench(path, target=_optional(target)), store, as_json=as_json)


@importing.command("mlperf")
def import_mlperf(
    path: PathArgument, store: StoreOption = DEFAULT_STORE, target: OwnTargetOption = None, as_json: JsonOption = False
) -> None:
    """Read training logs of MLPerf, of all rounds."""
    from etesian.bench.io import read_mlperf

    _keep(read_mlperf(path, target=_optional(target)), store, as_json=as_json)


@importing.command("speedrun")
def import_speedrun(
    path: PathArgument, store: StoreOption = DEFAULT_STORE, target: OwnTargetOption = None, as_json: JsonOption = False
) -> None:
    """Read logs of modded-nanogpt's speedruns; the target is val_loss<=3.28."""
    from etesian.bench.io import read_speedrun
    from etesian.bench.io.importers.speedrun import TARGET

    _keep(read_speedrun(path, target=_optional(target) or TARGET), store, as_json=as_json)


@importing.command("algoperf")
def import_algoperf(
    path: PathArgument,
    store: StoreOption = DEFAULT_STORE,
    targets: Annotated[
        Path | None,
        typer.Option("--targets", metavar="FILE", help="AlgoPerf's workload_targets_*.json, if not found above PATH."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read measurements of AlgoPerf."""
    from etesian.bench.io import read_algoperf

    _keep(read_algoperf(path, targets=targets), store, as_json=as_json)


@importing.command("csv")
def import_csv(
    path: PathArgument,
    store: StoreOption = DEFAULT_STORE,
    column: ColumnOption = None,
    target: NeededTargetOption | None = None,
    suite: NewSuiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read CSV files, one measurement a row; columns are named as roles are, or by --column.

    Roles: suite, workload, seed (or run, for text), target, seconds (or milliseconds, minutes, hours), slices, task, organization,
    system, outcome, budget_seconds, started, error, progress, and metric for each metric.
    """
    from etesian.bench.io import Columns, read_csv

    columns = Columns.parse(column or [])
    _keep(read_csv(path, columns=columns, target=_optional(target), suite=suite), store, as_json=as_json)


@importing.command("parquet")
def import_parquet(
    path: PathArgument,
    store: StoreOption = DEFAULT_STORE,
    column: ColumnOption = None,
    target: NeededTargetOption | None = None,
    suite: NewSuiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read Parquet files, as for csv; needs etesian[parquet]."""
    from etesian.bench.io import Columns, read_parquet

    columns = Columns.parse(column or [])
    _keep(read_parquet(path, columns=columns, target=_optional(target), suite=suite), store, as_json=as_json)


@importing.command("mlflow")
def import_mlflow(
    location: Annotated[
        str, typer.Argument(metavar="LOCATION", help="A folder such as mlruns, an SQLite file, or http://HOST:PORT.")
    ],
    target: NeededTargetOption,
    store: StoreOption = DEFAULT_STORE,
    clock: ClockOption = None,
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="PARAM", help="The parameter that names what is compared.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read runs that MLflow tracked, from disk or from a server."""
    from etesian.bench.io import read_mlflow

    _keep(read_mlflow(location, target=parse_target(target), clock=clock, entry=entry), store, as_json=as_json)


@importing.command("tensorboard")
def import_tensorboard(
    path: PathArgument,
    target: NeededTargetOption,
    store: StoreOption = DEFAULT_STORE,
    clock: ClockOption = None,
    suite: NewSuiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read event files of TensorBoard, each folder a run."""
    from etesian.bench.io import read_tensorboard

    found = read_tensorboard(path, target=parse_target(target), clock=clock, suite=suite or "tensorboard")
    _keep(found, store, as_json=as_json)


@importing.command("wandb")
def import_wandb(
    path: PathArgument,
    target: NeededTargetOption,
    store: StoreOption = DEFAULT_STORE,
    suite: NewSuiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read CSV exports of Weights & Biases: charts over relative time, histories, tables of runs."""
    from etesian.bench.io import read_wandb

    _keep(read_wandb(path, target=parse_target(target), suite=suite or "wandb"), store, as_json=as_json)


def export_runs(
    store: Annotated[str, typer.Argument(metavar="STORE", help="SQLite file, or database URL.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What to write; for dawnbench a new folder.")],
    suite: SuiteOption = None,
    file_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Else by the file's name; JSON Lines alone holds all of a run."),
    ] = None,
) -> None:
    """Write the stored runs as JSON Lines, one run a line, or as CSV, Parquet or DAWNBench's files."""
    with bench.Store(store, create=False) as opened:
        entries = opened.entries(suite)
    if not entries:
        raise bench.InputError(f"the store {store} holds no runs" + (f" of the suite {suite}" if suite else ""))
    written = _writer(file_format, path)(entries, path)
    typer.echo(f"wrote {written} runs to {path}", err=True)
    if written < len(entries):
        typer.echo(f"left out {len(entries) - written} runs without a measurement", err=True)


def _writer(file_format: ExportFormat | None, path: Path) -> Callable[[list[bench.StoredRun], Path], int]:
    from etesian.bench.io import write_csv, write_dawnbench, write_parquet

    by_name: dict[str, ExportFormat] = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
    writers: dict[ExportFormat, Callable[[list[bench.StoredRun], Path], int]] = {
        "jsonl": bench.write_jsonl,
        "csv": write_csv,
        "parquet": write_parquet,
        "dawnbench": write_dawnbench,
    }
    return writers[file_format or by_name.get(path.suffix, "jsonl")]


def _keep(found: Iterator[Found], store: str, *, as_json: bool) -> None:
    """Keep the runs, and tell of everything that was not kept."""
    from etesian.bench.io import Ignored, Skipped

    first = next(found, None)  # a mistake in what was asked is found here, before there is a store
    added = already_there = 0
    skipped, ignored = list[Skipped](), list[Ignored]()
    with bench.Store(store) as opened:
        for item in _kept(_chained(first, found), opened):
            if isinstance(item, Skipped):
                skipped.append(item)
                typer.echo(f"skipped {item.path}: {item.reason}", err=True)
            elif isinstance(item, Ignored):
                ignored.append(item)
            else:
                added, already_there = added + item[0], already_there + item[1]
    _tell_ignored(ignored)
    counts = f"added {added} runs to {store}; {already_there} were already there; {len(skipped)} skipped"
    typer.echo(counts, err=True)
    if as_json:
        print(json.dumps(_as_dict(added, already_there, skipped, ignored), indent=2))
    if skipped:
        raise typer.Exit(EXIT_SKIPPED)


def _kept(found: Iterable[Found], store: bench.Store) -> Iterator[Skipped | Ignored | tuple[int, int]]:
    """Put runs into the store, some at a time, and count them; hand on what is no run."""
    waiting: list[bench.StoredRun] = []
    for item in found:
        if not isinstance(item, bench.StoredRun):
            yield item
            continue
        waiting.append(item)
        if len(waiting) == _RUNS_IN_TRANSACTION:
            yield from _add(waiting, store)
            waiting = []
    yield from _add(waiting, store)


def _add(entries: list[bench.StoredRun], store: bench.Store) -> Iterator[Skipped | tuple[int, int]]:
    """In one transaction; where a run differs from a stored one, each in its own, so that this one alone is left out."""
    from etesian.bench.io import Skipped

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


def _tell_ignored(ignored: list[Any]) -> None:
    for item in ignored[:_MOST_IGNORED_SHOWN]:
        typer.echo(f"not read: {item.path} {item.reason}", err=True)
    if len(ignored) > _MOST_IGNORED_SHOWN:
        typer.echo(f"not read: {len(ignored) - _MOST_IGNORED_SHOWN} more such files", err=True)


def _as_dict(added: int, already_there: int, skipped: list[Any], ignored: list[Any]) -> dict[str, Any]:
    return {
        "added": added,
        "already_there": already_there,
        "skipped": [{"path": item.path, "reason": item.reason} for item in skipped],
        "ignored": [{"path": item.path, "reason": item.reason} for item in ignored],
    }


def _optional(target: str | None) -> bench.Target | None:
    return None if target is None else parse_target(target)
