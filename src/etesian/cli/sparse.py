"""The commands `etesian fit`, `predict` and `inspect`: options in, files read, estimators called, one result out."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from etesian._shared.files import atomic_write, check_output
from etesian.cli.console import EXIT_INTERRUPTED
from etesian.cli.sparse_options import with_options_of
from etesian.cli.sparse_progress import EpochProgress
from etesian.cli.sparse_tasks import (
    TASKS,
    Task,
    formats_of,
    inspect_contents,
    is_scored,
    predict_contents,
    score,
    unknown_ids,
)
from etesian.errors import InputError
from etesian.sparse.columns import parse_columns
from etesian.sparse.io import FORMATS, Contents, Format, LabeledRows, Triples, load_model, read_file, save_model
from etesian.sparse.schedules.makers import Plan

EXIT_DIVERGED = 1

fit = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Fit a model to a file. Ctrl-C keeps the model reached so far.\n\n"
    "Exit code: 1 if the fit diverged, 2 for a mistake in what was asked, 130 after Ctrl-C.",
)
predict = typer.Typer(add_completion=False)
inspect = typer.Typer(add_completion=False)

DataArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The data; may be packed by gzip, bzip2, xz, zstd or zip.")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="What `etesian fit` wrote.")]
ModelOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The model file to write.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where predictions go; by default standard output."),
]
TestOption = Annotated[Path | None, typer.Option("--test", metavar="FILE", help="Data to score the model on.")]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Format of FILE; by default found from its content.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="user=NAME,item=NAME,rating=NAME",
        help="Columns of a table of ratings, by name or by number from 1; by default found by the names in the header.",
    ),
]
PictureOption = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="A picture to write, such as a.svg.")
]
EdgesOption = Annotated[bool, typer.Option("--edges", help="Take a graph's edges as updates, not its rows.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def _fit_command(task: Task) -> Any:
    """Return the command of a task, with the options of its estimator."""

    def command(
        data: DataArgument,
        *,
        output: ModelOption = Path("model.npz"),
        test: TestOption = None,
        file_format: FormatOption = None,
        as_json: JsonOption = False,
        **options: Any,
    ) -> None:
        run_fit(task, data, output=output, test=test, file_format=file_format, as_json=as_json, options=options)

    def command_of_ratings(
        data: DataArgument,
        *,
        output: ModelOption = Path("model.npz"),
        test: TestOption = None,
        file_format: FormatOption = None,
        columns: ColumnsOption = None,
        as_json: JsonOption = False,
        **options: Any,
    ) -> None:
        run_fit(
            task,
            data,
            output=output,
            test=test,
            file_format=file_format,
            columns=columns,
            as_json=as_json,
            options=options,
        )

    chosen = command_of_ratings if "ratings" in task.accepted else command
    return with_options_of(task.estimator, chosen, meanings=task.meanings)


for _task in TASKS:
    fit.command(_task.name, help=_task.summary)(_fit_command(_task))


def run_fit(
    task: Task,
    path: Path,
    *,
    output: Path,
    test: Path | None,
    file_format: Format | None,
    as_json: bool,
    options: dict[str, Any],
    columns: str | None = None,
) -> None:
    """Read, fit, save the model, score it and report.

    Exit code: 1 if the fit diverged, 2 for a mistake in what was asked, 130 after Ctrl-C.
    """
    console = Console(stderr=True, highlight=False)
    check_output(output)
    if test is not None and not is_scored(task, options):
        raise InputError("--test scores predictions of labels, values and explicit ratings; this fit makes none")
    contents = _read(path, task.accepted, file_format, console, columns=columns)
    tested = None if test is None else _read(test, task.accepted, file_format, console, columns=columns)
    estimator = task.estimator(**task.parameters, **options)
    seconds = _fit_until_interrupted(estimator, task.take(contents, path), console)
    report = _report(task, estimator, seconds)
    if estimator.outcome_ != "diverged":
        if isinstance(contents, LabeledRows) and contents.y is not None:
            estimator.features_ = contents.features  # the model has no coefficients for features that never occurred
        save_model(estimator, output)
        report["model"] = str(output)
        if test is not None and tested is not None:
            report["test"] = score(estimator, tested, test)
    print(json.dumps(report, allow_nan=False, indent=2) if as_json else _in_words(report, estimator.plan_))
    _exit_by_outcome(estimator, output, console)


def _fit_until_interrupted(estimator: Any, data: tuple[Any, ...], console: Console) -> float:
    """Return how many seconds the fit took; Ctrl-C ends it, and is passed on only if there is nothing to keep."""
    started = time.perf_counter()
    with EpochProgress(console, estimator.max_iter) as progress:
        try:
            estimator.set_params(callback=progress).fit(*data)
        except ValueError as error:  # scikit-learn's manner of saying that data or parameters will not do
            raise InputError(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            if not hasattr(estimator, "outcome_"):
                raise
    return time.perf_counter() - started


def _report(task: Task, estimator: Any, seconds: float) -> dict[str, Any]:
    plan = estimator.plan_
    objective = estimator.objective_[-1] if estimator.objective_ else math.nan
    return {
        "task": task.name,
        "outcome": estimator.outcome_,
        "epochs": estimator.n_iter_,
        "objective": objective if math.isfinite(objective) else None,
        "seconds": seconds,
        "plan": {
            "schedule": plan.schedule,
            "workers": plan.n_workers,
            "batches": plan.n_batches,
            "predicted_speedup": plan.predicted_speedup,
            "note": plan.note,
        },
    }


def _in_words(report: dict[str, Any], plan: Plan) -> str:
    objective = "none" if report["objective"] is None else f"{report['objective']:.6g}"
    lines = [
        f"{report['task']}: {report['outcome'].replace('_', ' ')} after {report['epochs']} epochs, "
        f"objective {objective}, {report['seconds']:.2f} s",
        str(plan),
    ]
    lines += [f"test {metric}: {value:.6g}" for metric, value in report.get("test", {}).items()]
    return "\n".join(lines)


def _exit_by_outcome(estimator: Any, output: Path, console: Console) -> None:
    if estimator.outcome_ == "diverged":
        console.print("the fit diverged: no model was written", soft_wrap=True)
        raise typer.Exit(EXIT_DIVERGED)
    interrupted = f"stopped after {estimator.n_iter_} epochs; " if estimator.outcome_ == "interrupted" else ""
    console.print(f"{interrupted}wrote {output}", markup=False, soft_wrap=True)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@predict.command()
def run_predict(
    model: ModelArgument,
    data: DataArgument,
    output: OutputOption = None,
    file_format: FormatOption = None,
    columns: ColumnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict with a model: one number for each row of FILE, in its order.

    A linear model predicts a label or value for each row, a model of ratings a rating for each user and item, a model of words
    the cosine of the two words on each line.
    """
    estimator = load_model(model)
    if output is not None:
        check_output(output)
    console = Console(stderr=True, highlight=False)
    contents = _read(data, formats_of(estimator), file_format, console, columns=columns, with_notes=False)
    _print_notes(unknown_ids(estimator, contents), data, console)
    predicted = [_plain(value) for value in predict_contents(estimator, contents, data).tolist()]
    text = json.dumps({"predictions": predicted}) if as_json else "\n".join(map(str, predicted))
    if output is None:
        print(text)
        return
    with atomic_write(output, "w") as file:
        file.write(f"{text}\n")
    console.print(f"wrote {len(predicted):,} predictions to {output}", markup=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@inspect.command()
def run_inspect(
    data: DataArgument,
    file_format: FormatOption = None,
    columns: ColumnsOption = None,
    edges: EdgesOption = False,
    picture: PictureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how updates on a file's data conflict, and what several cores would gain.

    Updates are the rows of a matrix or graph, which touch their features or neighbors; ratings, which touch their user and
    item; or pairs of words near one another in text, which touch the two.
    """
    if picture is not None:
        check_output(picture)
    console = Console(stderr=True, highlight=False)
    contents = _read(data, tuple(FORMATS), file_format, console, columns=columns)
    try:
        report = inspect_contents(contents, by_edge=edges)
    except ValueError as error:
        raise InputError(str(error)) from error
    print(json.dumps(report.as_dict(), allow_nan=False, indent=2) if as_json else report)
    if picture is not None:
        report.plot(picture)
        console.print(f"wrote {picture}", markup=False, soft_wrap=True)


def _read(
    path: Path,
    accepted: tuple[Format, ...],
    file_format: Format | None,
    console: Console,
    *,
    columns: str | None = None,
    with_notes: bool = True,
) -> Contents:
    """Read a file, and print the columns used and what is unusual about it."""
    try:
        chosen = None if columns is None else parse_columns(columns)
        contents = read_file(path, format=file_format, accepted=accepted, columns=chosen)
    except ValueError as error:
        raise InputError(str(error)) from error
    if isinstance(contents, Triples) and contents.columns is not None:
        _print_notes([contents.columns], path, console)
    if with_notes:
        _print_notes(contents.notes(), path, console)
    return contents


def _print_notes(notes: list[str], path: Path, console: Console) -> None:
    for note in notes:
        console.print(f"note: {path}: {note}", markup=False, soft_wrap=True)
