"""Options that several `etesian bench` commands share."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from etesian.bench.errors import InputError
from etesian.bench.workload import Target

DEFAULT_STORE = "etesian.db"

StoreArgument = Annotated[str | None, Parameter(name="STORE", help="Store of runs; same as --store.")]
StoreOption = Annotated[str, Parameter(help="Store of runs: an SQLite file or a database URL.")]
SuiteOption = Annotated[str | None, Parameter(help="Use only the runs of this suite.")]
JsonOption = Annotated[bool, Parameter(name="--json", help="Print one JSON object instead of tables.")]


def chosen_store(argument: str | None, option: str) -> str:
    """Return the store that was given as an argument or as an option."""
    if argument is None:
        return option
    if option not in (DEFAULT_STORE, argument):
        raise InputError(f"the store was given twice: {argument} and --store {option}; remove one")
    return argument


def parse_target(text: str) -> Target:
    """Read a target such as ``"accuracy>=0.93"``; an `InputError` names the option."""
    try:
        return Target.parse(text)
    except ValueError as error:
        raise InputError(f"--target: {error}") from None
