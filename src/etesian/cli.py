"""The `etesian` command. Each part brings its own commands; this file joins them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from etesian import __version__
from etesian.bench import commands as bench_commands
from etesian.console import PlainErrors, imported_when_run

app = typer.Typer(
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Faster machine learning that gives the same answer, and speed-ups that can be trusted.",
)
app.add_typer(bench_commands.app, name="bench")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"etesian {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Faster machine learning that gives the same answer, and speed-ups that can be trusted."""


def _add_sparse_command(name: str, summary: str) -> None:
    app.command(name, help=summary, cls=imported_when_run("etesian.sparse.commands", name))(lambda: None)


_add_sparse_command("fit", "Fit a linear model, ratings or words to a file, on all cores.")
_add_sparse_command("predict", "Predict by a model that `etesian fit` wrote.")
_add_sparse_command("inspect", "Tell how updates on a file's data conflict, and what several cores would gain.")


@app.command("demo")
def run_demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where runs.db and report.html go.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each schedule.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Train word vectors by three schedules on the standard library's documentation and compare their times and bits.

    Takes about two minutes on two cores. Progress goes to standard error.
    """
    from rich.console import Console

    from etesian.demo import demo, print_demo

    found = demo(folder, n_seeds=seeds, console=Console(stderr=True, highlight=False))
    if as_json:
        print(json.dumps(found.as_dict(), allow_nan=False, indent=2))
    else:
        print_demo(found, Console(highlight=False))
