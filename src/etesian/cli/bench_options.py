"""Options that several `etesian bench` commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from etesian.bench.address import StoreAddress
from etesian.bench.errors import InputError
from etesian.bench.workload import Target

DEFAULT_STORE = StoreAddress("etesian.db")


def _address(_: type, tokens: Sequence[Token]) -> StoreAddress:
    return StoreAddress(tokens[0].value)


_ADDRESS = Parameter(converter=_address, n_tokens=1, accepts_keys=False)

StoreArgument = Annotated[
    StoreAddress | None, _ADDRESS, Parameter(name="STORE", help="Store of runs; same as --store.")
]
StoreOption = Annotated[StoreAddress, _ADDRESS, Parameter(help="Store of runs: an SQLite file or a database URL.")]
SuiteOption = Annotated[str | None, Parameter(help="Use only the runs of this suite.")]
JsonOption = Annotated[bool, Parameter(name="--json", help="Print one JSON object instead of tables.")]


def chosen_store(argument: StoreAddress | None, option: StoreAddress) -> StoreAddress:
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
