"""Options of a command from the signature and the docstring of the function that it calls."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from etesian import bench
from etesian.cli.bench_options import parse_target

_SECTION = re.compile(r"^(\w[\w ]*)\n-+\n", re.MULTILINE)


def summary_of(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")


def text_of(function: Callable[..., Any]) -> str:
    """Return the docstring up to its first section, one line per paragraph."""
    text = _SECTION.split(inspect.getdoc(function) or "")[0].strip()
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).replace("`", "")


def parameter_texts(function: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each parameter in a docstring that follows numpydoc."""
    parts = _SECTION.split(inspect.getdoc(function) or "")
    section = next((text for title, text in zip(parts[1::2], parts[2::2], strict=True) if title == "Parameters"), "")
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(":")[0].split(",")]
        for name in names:
            texts.setdefault(name, []).extend([line.strip()] if line.startswith(" ") else [])
    return {name: " ".join(filter(None, lines)).replace("`", "") for name, lines in texts.items()}


def options_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the keyword-only parameters of a function as parameters of a typer command."""
    hints, texts = typing.get_type_hints(function), parameter_texts(function)
    keyword_only = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return [_option(parameter, hints[parameter.name], texts.get(parameter.name, "")) for parameter in keyword_only]


def converted(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Convert the values of options to what the function takes; leave out those that were not given."""
    hints = typing.get_type_hints(function)
    return {name: _converted(_inner(hints[name]), value) for name, value in given.items() if value is not None}


def _option(parameter: inspect.Parameter, hint: Any, text: str) -> inspect.Parameter:
    name = "column" if _inner(hint) is bench.io.Columns else parameter.name
    is_required = parameter.default is parameter.empty
    shown, metavar = _shown_type(_inner(hint))
    default = parameter.default if isinstance(parameter.default, str | bool | int | float) else None
    info = typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    annotation: Any = shown if is_required or isinstance(default, bool) else shown | None
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if is_required else default,
        annotation=Annotated[annotation, info],
    )


def _inner(hint: Any) -> Any:
    """Return the type of a parameter without None and without the alternatives of a path."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return Path if Path in kinds else kinds[0]
    return hint


def _shown_type(kind: Any) -> tuple[Any, str | None]:
    """Return the type of the option on the command line, and the name of its value in the help."""
    if kind is bench.Target:
        return str, "TARGET"
    if kind is bench.io.Columns:
        return list[str], "ROLE=NAME"
    if kind is Path:
        return Path, "FILE"
    if typing.get_origin(kind) is Literal:
        return kind, "|".join(typing.get_args(kind))
    return kind, None if kind is bool else "NAME" if kind is str else "N"


def _converted(kind: Any, value: Any) -> Any:
    if kind is bench.Target:
        return parse_target(value) if isinstance(value, str) else value
    if kind is bench.io.Columns:
        return bench.io.Columns.parse(value if isinstance(value, Iterable) else [])
    return value
