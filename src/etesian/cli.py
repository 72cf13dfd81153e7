"""The `etesian` command. Each part brings its own commands; this file joins them."""

from __future__ import annotations

from typing import Annotated

import typer

from etesian import __version__
from etesian.bench import commands as bench_commands

app = typer.Typer(
    cls=bench_commands.PlainErrors,
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


if __name__ == "__main__":
    app()
