"""Command-line options derived from the signature and the numpydoc docstring of a function or class."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import Parameter

from etesian._shared.limits import raised_limits
from etesian.errors import InputError

Annotations = Mapping[str, Any]
_SIMPLE = (int, float, str, bool, Path, types.NoneType)


def options_from(
    source: Callable[..., Any],
    *,
    leave_out: Collection[str] = (),
    annotations: Annotations = types.MappingProxyType({}),
    see_also: Sequence[Callable[..., Any]] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that replaces ``**options`` of a command by the parameters of `source`.

    Parameters
    ----------
    source
        Function or class whose keyword parameters become options with the same names, types, defaults and descriptions.
    leave_out
        Parameters that do not become options.
    annotations
        Types for parameters that the command line writes differently.
    see_also
        Functions or classes that describe the parameters for which the docstring of `source` refers to them ("See ...").
    """
    described = {name: text for other in see_also for name, text in descriptions(other).items()}
    described |= {name: text for name, text in descriptions(source).items() if not text.startswith("See ")}
    parameters = [
        _option(parameter, annotations.get(name, parameter.annotation), described.get(name, ""))
        for name, parameter in inspect.signature(source, eval_str=True).parameters.items()
        if name not in leave_out and parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_KEYWORD)
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        command.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
        return command

    return decorate


def with_limit_factor(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that raises the limits on the size of input to a command that reads files."""

    @wraps(command)
    def limited(*arguments: Any, limit_factor: float = 1.0, **options: Any) -> Any:
        if not limit_factor >= 1:
            raise InputError(f"--limit-factor must be at least 1; got {limit_factor}")
        with raised_limits(limit_factor):
            return command(*arguments, **options)

    option = inspect.Parameter(
        "limit_factor",
        inspect.Parameter.KEYWORD_ONLY,
        default=1.0,
        annotation=Annotated[
            float, Parameter(help="Multiply the limits on line length, file size and decompression by this.")
        ],
    )
    signature = inspect.signature(command, eval_str=True)
    limited.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    return limited


def without(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Remove an option from a command, which then always has its default."""
    signature = inspect.signature(command)
    kept = [each for each in signature.parameters.values() if each.name != name]
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return command


def descriptions(source: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each parameter in a numpydoc docstring, as one paragraph without markup."""
    lines = inspect.cleandoc(source.__doc__ or "").splitlines()
    if "Parameters" not in lines:
        return {}
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in lines[lines.index("Parameters") + 2 :]:
        if line.startswith("---"):
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(":")[0].split(",")]
        elif line.strip():
            for name in names:
                found.setdefault(name, []).append(line.strip())
    return {name: " ".join(text).replace("`", "") for name, text in found.items()}


def _option(parameter: inspect.Parameter, annotation: Any, text: str) -> inspect.Parameter:
    kind, default = _plain_kind(annotation), parameter.default
    if default is None:
        kind = _or_none(kind)
    elif default is not inspect.Parameter.empty and _is_text(kind):
        default = str(default)  # a target, for example, which is typed as text
    negative = f"--no-{parameter.name.replace('_', '-')}" if parameter.default is True else ()
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, Parameter(help=text, negative=negative)],
    )


def _is_text(kind: Any) -> bool:
    """Return True if values of a type are typed as text."""
    if get_origin(kind) is Annotated:
        return _is_text(get_args(kind)[0])
    return kind is str or set(get_args(kind)) == {str, type(None)}


def _or_none(kind: Any) -> Any:
    """Let a type accept None, the default; cyclopts validates defaults where pydantic happens to be imported."""
    if get_origin(kind) is Annotated:
        inner, *described = get_args(kind)
        return Annotated[_or_none(inner), *described]
    return Union[kind, None]  # noqa: UP007  built at run time


def _plain_kind(annotation: Any) -> Any:
    """Drop the alternatives of a type that cannot be typed at a prompt, such as a random generator."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    kept = tuple(each for each in get_args(annotation) if each in _SIMPLE or get_origin(each) is Literal)
    return Union[kept]  # noqa: UP007  built at run time
