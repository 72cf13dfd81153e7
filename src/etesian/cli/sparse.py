"""The commands `etesian fit`, `predict` and `inspect`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from etesian._shared.files import atomic_write, check_output
from etesian._shared.stopwatch import Stopwatch
from etesian._shared.text import printable
from etesian.cli.console import EXIT_FAILED, EXIT_INTERRUPTED, note, print_json
from etesian.cli.derive import options_from, with_limit_factor, without
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
from etesian.sparse import SGD, SparseClassifier, minimize
from etesian.sparse.columns import parse_columns
from etesian.sparse.io import FORMATS, Contents, Format, LabeledRows, Triples, load_model, read_file, save_model
from etesian.sparse.schedules.makers import Plan

FOR_PROGRAMS = ("warm_start", "callback", "verbose")
"""Parameters of estimators that are of no use on a command line."""

DataFile = Annotated[Path, Parameter(help="Data file; may be compressed by gzip, bzip2, xz, zstd or zip.")]
FileFormat = Annotated[
    Format | None,
    Parameter(name="--format", help="Format of the data file; recognized from its content by default."),
]
ColumnsOption = Annotated[
    str | None,
    Parameter(
        help="Columns of a table of ratings, by name or by number from 1: user=NAME,item=NAME,rating=NAME. "
        "By default they are found by the names in the header."
    ),
]
OutputFile = Annotated[Path, Parameter(name=("--output", "-o"))]
AsJson = Annotated[bool, Parameter(name="--json", help="Print one JSON object instead of text.")]

fit = App(
    name="fit",
    help="Fit a model to a file. Ctrl-C keeps the model reached so far.\n\n"
    "Exit code: 1 if the fit diverged, 2 for a mistake in the arguments, 130 after Ctrl-C.",
)


def _fit_command(task: Task) -> Any:
    """Return the command of a task, with the parameters of its estimator as options."""

    @options_from(
        task.estimator,
        leave_out={*FOR_PROGRAMS, *task.parameters},
        see_also=(SparseClassifier, SGD, minimize),  # the last one that describes a parameter counts
    )
    def command(
        data: DataFile,
        /,
        *,
        output: OutputFile = Path("model.npz"),
        test: Path | None = None,
        file_format: FileFormat = None,
        columns: ColumnsOption = None,
        as_json: AsJson = False,
        **options: Any,
    ) -> int:
        chosen: dict[str, Any] = {
            "output": output,
            "test": test,
            "file_format": file_format,
            "columns": columns,
            "as_json": as_json,
        }
        return run_fit(task, data, **chosen, options=options)

    command.__doc__ = f"""{task.summary}

    Exit code: 1 if the fit diverged, 2 for a mistake in the arguments, 130 after Ctrl-C.

    Parameters
    ----------
    output
        Model file to write.
    test
        Data file to score the model on.
    """
    return command if "ratings" in task.accepted else without(command, "columns")


for _task in TASKS:
    fit.command(with_limit_factor(_fit_command(_task)), name=_task.name)


def run_fit(
    task: Task,
    path: Path,
    *,
    output: Path,
    test: Path | None,
    file_format: Format | None,
    columns: str | None,
    as_json: bool,
    options: dict[str, Any],
) -> int:
    """Read the data, fit, save and score the model, and print a report. Return the exit code."""
    console = Console(stderr=True, highlight=False)
    check_output(output)
    if test is not None and not is_scored(task, options):
        raise InputError("--test needs labels, values or explicit ratings to score; this model does not predict any")
    contents = _read(path, task.accepted, file_format, columns=columns)
    tested = None if test is None else _read(test, task.accepted, file_format, columns=columns)
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
    if as_json:
        print_json(report)
    else:
        print(printable(_in_words(report, estimator.plan_)))
    return _announce_outcome(estimator, output)


def _fit_until_interrupted(estimator: Any, data: tuple[Any, ...], console: Console) -> float:
    """Fit and return the seconds spent. Ctrl-C ends the fit and is raised only if there is no model to keep."""
    stopwatch = Stopwatch()
    with EpochProgress(console, estimator.max_iter) as progress, stopwatch:
        try:
            estimator.set_params(callback=progress).fit(*data)
        except ValueError as error:  # raised by scikit-learn for unusable data and parameters
            raise InputError(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            if not hasattr(estimator, "outcome_"):
                raise
    return stopwatch.seconds


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


def _announce_outcome(estimator: Any, output: Path) -> int:
    if estimator.outcome_ == "diverged":
        note("the fit diverged: no model was written")
        return EXIT_FAILED
    is_interrupted = estimator.outcome_ == "interrupted"
    interrupted = f"stopped after {estimator.n_iter_} epochs; " if is_interrupted else ""
    note(f"{interrupted}wrote {output}")
    return EXIT_INTERRUPTED if is_interrupted else 0


@with_limit_factor
def predict(
    model: Path,
    data: DataFile,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    file_format: FileFormat = None,
    columns: ColumnsOption = None,
    as_json: AsJson = False,
) -> None:
    """Predict with a model: one number per line, in the order of the data file.

    A linear model predicts a label or value for each row, a model of ratings a rating for each user and item, and word vectors
    the cosine similarity of the two words on each line.

    Parameters
    ----------
    model
        Model file written by "etesian fit".
    output
        File for the predictions; standard output by default.
    """
    estimator = load_model(model)
    if output is not None:
        check_output(output)
    contents = _read(data, formats_of(estimator), file_format, columns=columns, with_notes=False)
    _print_notes(unknown_ids(estimator, contents), data)
    predicted = [_plain(value) for value in predict_contents(estimator, contents, data).tolist()]
    lines = "\n".join(printable(str(each), keep="") for each in predicted)
    text = json.dumps({"predictions": predicted}) if as_json else lines
    if output is None:
        print(text)
        return
    with atomic_write(output, "w") as file:
        file.write(f"{text}\n")
    note(f"wrote {len(predicted):,} predictions to {output}")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@with_limit_factor
def inspect(
    data: DataFile,
    /,
    *,
    file_format: FileFormat = None,
    columns: ColumnsOption = None,
    edges: bool = False,
    picture: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Analyze update conflicts in a file and predict parallel speed-up.

    Updates are the rows of a matrix or graph, which touch their features or neighbors; ratings, which touch their user and item;
    or pairs of nearby words in a text, which touch both words.

    Parameters
    ----------
    edges
        Use the edges of a graph as updates instead of its rows.
    picture
        Plot the predicted speed-up to this file, such as a.svg.
    """
    if picture is not None:
        check_output(picture)
    contents = _read(data, tuple(FORMATS), file_format, columns=columns)
    try:
        report = inspect_contents(contents, by_edge=edges)
    except ValueError as error:
        raise InputError(str(error)) from error
    if as_json:
        print_json(report.as_dict())
    else:
        print(printable(str(report)))
    if picture is not None:
        report.plot(picture)
        note(f"wrote {picture}")


def _read(
    path: Path,
    accepted: tuple[Format, ...],
    file_format: Format | None,
    *,
    columns: str | None = None,
    with_notes: bool = True,
) -> Contents:
    """Read a file and print the columns used and notes about anything unusual in it."""
    try:
        chosen = None if columns is None else parse_columns(columns)
        contents = read_file(path, format=file_format, accepted=accepted, columns=chosen)
    except ValueError as error:
        raise InputError(str(error)) from error
    if isinstance(contents, Triples) and contents.columns is not None:
        _print_notes([contents.columns], path)
    if with_notes:
        _print_notes(contents.notes(), path)
    return contents


def _print_notes(notes: list[str], path: Path) -> None:
    for each in notes:
        note(f"note: {path}: {each}")
