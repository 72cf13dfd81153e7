"""Arguments and options that several `etesian bench` commands share, and how they are read."""

from __future__ import annotations

from typing import Annotated

import typer

from etesian.bench.errors import InputError
from etesian.bench.workload import Target

DEFAULT_STORE = "etesian.db"

StoreArgument = Annotated[
    str, typer.Argument(metavar="[STORE]", help="SQLite file, or database URL.", show_default=True)
]
StoreOption = Annotated[str, typer.Option("--store", metavar="STORE", help="SQLite file, or database URL.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", metavar="NAME", help="Only runs of this suite.")]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="TARGET", help="Only runs towards this target, such as 'loss<=3.28'.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def parse_target(text: str) -> Target:
    """Read a target such as ``"accuracy>=0.93"``; an `InputError` names the option."""
    try:
        return Target.parse(text)
    except ValueError as error:
        raise InputError(f"--target: {error}") from None
