"""Output of benchmark results: a table on the terminal, and records with the machine and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from etesian import __version__
from etesian.bench import machine


def report(results: list[dict[str, Any]], table: str, folder: Path | None) -> None:
    """Print the table; with a folder, write records.json and table.md there."""
    print(table)
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    record = {"version": __version__, "arguments": sys.argv[1:], "machine": machine.describe(), "results": results}
    (folder / "records.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "table.md").write_text(table + "\n")
