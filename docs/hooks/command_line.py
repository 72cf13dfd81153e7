"""Writes the command-line page from the commands themselves, so that it cannot fall behind them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from etesian.cli.app import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page has the mark."""
    if MARK not in markdown:
        return markdown
    return markdown.replace(MARK, "\n".join(describe(typer.main.get_command(app), "etesian")))


def describe(command: Any, path: str) -> Iterator[str]:
    """Give a command and all below it as Markdown, line by line."""
    command = command.imported() if hasattr(command, "imported") else command
    context = typer.Context(command)
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    commands = {name: command.get_command(context, name) for name in names}  # groups may build them on demand
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    if not commands:
        metavars = " ".join(_argument_name(argument) for argument in arguments)
        yield f"## {path}\n\n```text\n{' '.join(filter(None, [path, metavars, '[OPTIONS]']))}\n```\n"
        yield inspect.cleandoc(command.help or "") + "\n"
        yield from _table("argument", [(_argument_name(p), p) for p in arguments])
        yield from _table("option", [(_option_names(p), p) for p in options])
    for name, below in commands.items():
        yield from describe(below, f"{path} {name}")


def _table(kind: str, rows: list[tuple[str, Any]]) -> Iterator[str]:
    if rows:
        yield f"| {kind} | what it says | default |\n| --- | --- | --- |"
        for name, parameter in rows:
            yield f"| `{name}` | {getattr(parameter, 'help', None) or ''} | {_default(parameter)} |"
        yield ""


def _argument_name(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _option_names(parameter: Any) -> str:
    value = "" if parameter.is_flag else f" {parameter.metavar or 'N'}"  # commands name all values but counts
    return ", ".join(sorted(parameter.opts, key=len, reverse=True)) + value


def _default(parameter: Any) -> str:
    if parameter.default is None or parameter.required or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"
