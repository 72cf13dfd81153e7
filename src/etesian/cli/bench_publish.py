"""The command `etesian bench publish`: the suites of a store as a static site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etesian import bench
from etesian.bench.report.publish import publish as publish_site
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption

app = typer.Typer(add_completion=False)


@app.command("publish")
def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the site; made if it does not exist.")],
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Heading of the index.")] = "Time to target",
) -> None:
    """Write the suites of a store as a static site: an index with search, and one page per suite.

    The site works from disk and from any static host. Suites imported from DAWNBench, MLPerf, AlgoPerf and speedruns show the
    published statistic of each record next to ours.

    Exit code: 2 for a mistake in the request.
    """
    if folder.exists() and not folder.is_dir():
        raise bench.InputError(f"FOLDER must be a folder; {folder} is a file")
    with bench.Store(store, create=False) as opened:
        entries = opened.entries(suite)
    try:
        written = publish_site(entries, folder, title=title)
    except ImportError as error:
        raise bench.InputError(str(error)) from error
    typer.echo(f"wrote {len(written) - 1} pages and {written[0]}", err=True)
