"""The `etesian` command. Each part brings its own commands; this file joins them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from etesian import __version__
from etesian.cli import bench as bench_commands
from etesian.cli.console import PlainErrors, imported_when_run

EXIT_DIFFERENT = 1

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


def _add_command(name: str, module: str, application: str, summary: str) -> None:
    app.command(name, help=summary, cls=imported_when_run(module, application))(lambda: None)


_SPARSE = "etesian.cli.sparse"
_add_command("fit", _SPARSE, "fit", "Fit a linear model, ratings or words to a file, on all cores.")
_add_command("predict", _SPARSE, "predict", "Predict by a model that `etesian fit` wrote.")
_add_command(
    "inspect", _SPARSE, "inspect", "Tell how updates on a file's data conflict, and what several cores would gain."
)
_add_command(
    "generate",
    "etesian.cli.decode",
    "generate",
    "Continue a text by a model, several tokens a pass: the same text as one at a time.",
)
_add_command(
    "chat",
    "etesian.cli.decode_chat",
    "chat",
    "Chat with an instruction-tuned model, several tokens per pass.",
)
_add_command("models", "etesian.cli.decode_catalog", "app", "List models that have a short name, or fetch one.")
_add_command("ngram", "etesian.cli.decode_ngram", "app", "Count an N-gram that drafts for a draft model, or show one.")


@app.command("demo")
def run_demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where runs.db and report.html go.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each schedule.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Train word vectors by three schedules and write text by four decoders: compare their times, bits and tokens.

    The words are those of the standard library's documentation, the models the bundled ones. Takes about three minutes on two
    cores. Progress goes to standard error.

    Exit code: 1 if a decoder wrote another text than plain decoding.
    """
    from rich.console import Console

    from etesian.demo import demo, print_demo

    found = demo(folder, n_seeds=seeds, console=Console(stderr=True, highlight=False))
    if as_json:
        print(json.dumps(found.as_dict(), allow_nan=False, indent=2))
    else:
        print_demo(found, Console(highlight=False))
    if not found.keeps_the_promise:
        raise typer.Exit(EXIT_DIFFERENT)
