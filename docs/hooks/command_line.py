"""Generates the command-line page from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from cyclopts import App

from etesian.cli.app import ALIASES, BENCH_COMMANDS, COMMANDS, build_app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the commands where a page has the mark."""
    if MARK not in markdown:
        return markdown
    app = build_app([*COMMANDS, *BENCH_COMMANDS])  # with their own help in place of the summaries
    return markdown.replace(MARK, "\n".join(line for path, each in commands(app) for line in describe(each, path)))


def commands(app: App, path: str = "etesian") -> Iterator[tuple[str, App]]:
    """Yield every command without subcommands, with its full name."""
    names = [name for name in app if not name.startswith("-") and name not in ALIASES.values()]
    if not names:
        yield path, app
    for name in names:
        yield from commands(app[name], f"{path} {name}")


def describe(command: App, path: str) -> Iterator[str]:
    """Describe a command in Markdown."""
    parameters = [each for each in command.assemble_argument_collection() if each.show]
    arguments = [each for each in parameters if not each.names[0].startswith("-")]
    options = [each for each in parameters if each.names[0].startswith("-")]
    names = " ".join(each.names[0] if each.required else f"[{each.names[0]}]" for each in arguments)
    yield f"## {path}\n\n```text\n{' '.join(filter(None, [path, names, '[OPTIONS]' if options else '']))}\n```\n"
    yield inspect.cleandoc(command.help or "").partition("\n\nParameters\n")[0] + "\n"
    yield from _table("argument", arguments)
    yield from _table("option", options)


def _table(kind: str, rows: list[Any]) -> Iterator[str]:
    if rows:
        yield f"| {kind} | description | default |\n| --- | --- | --- |"
        for row in rows:
            yield f"| `{', '.join(option_names(row))}` | {row.parameter.help or ''} | {_default(row)} |"
        yield ""


def option_names(row: Any) -> list[str]:
    """Return the names of a parameter, without the negative forms that do not exist on the command line."""
    is_on = row.field_info.default is True
    return [name for name in row.names if not name.startswith("--empty-") and (is_on or not name.startswith("--no-"))]


def _default(row: Any) -> str:
    default = row.field_info.default
    if row.required or default is None or default is False or default == () or default is inspect.Parameter.empty:
        return ""
    return f"`{default}`"
