"""Widen a small trained model without changing its function; see `etesian.suite.widening`.

python benchmarks/widen.py bundled/target runs/target_713m --times 4 --layers 36
python benchmarks/widen.py bundled/draft runs/draft_40m --times 4 --layers 12
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etesian.suite.widening import widen


def main(
    source: Annotated[Path, typer.Argument(help="folder of the small model")],
    out: Annotated[Path, typer.Argument(help="folder to write")],
    times: Annotated[int, typer.Option(help="how much wider")] = 4,
    layers: Annotated[int, typer.Option(help="layers of the result")] = 36,
) -> None:
    """Write the wide model and say how large it is."""
    widen(source, out, times=times, n_layers=layers)
    typer.echo(f"{(out / 'model.safetensors').stat().st_size / 2**20:.0f} MiB in {out}")


if __name__ == "__main__":
    typer.run(main)
