"""What every part's commands share: how mistakes and Ctrl-C end them, and how durations are written."""

from __future__ import annotations

import importlib
from typing import Any

import typer
import typer.core

from etesian.errors import InputError

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class PlainErrors(typer.core.TyperGroup):
    """Shows a user's mistake as one line on standard error, and ends an interrupted command quietly."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(EXIT_MISTAKE) from None
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None


def imported_when_run(module: str, name: str) -> type[typer.core.TyperCommand]:
    """Return the class of a command that stands for another, whose module is slow to import.

    Parameters
    ----------
    module, name
        Where the other is: a typer application. Its help is its own; in the list of commands stands the help of this one.
    """

    class ImportedWhenRun(typer.core.TyperCommand):
        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            return self.imported().make_context(info_name, args, parent=parent, **extra)

        def imported(self) -> Any:
            """Import the command that this one stands for."""
            return typer.main.get_command(getattr(importlib.import_module(module), name))

    return ImportedWhenRun


def describe_duration(seconds: float) -> str:
    """Write a duration as people say it: 42 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
