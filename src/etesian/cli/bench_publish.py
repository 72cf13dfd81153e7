"""The command `etesian bench publish`: the suites of a store as a static site."""

from __future__ import annotations

from pathlib import Path

from etesian import bench
from etesian.bench.report.publish import publish as publish_site
from etesian.cli.bench_options import DEFAULT_STORE, StoreOption, SuiteOption
from etesian.cli.console import note


def publish(
    folder: Path,
    /,
    *,
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    title: str = "Time to target",
) -> None:
    """Write the suites of a store as a static site: an index with search, and one page per suite.

    The site works from disk and from any static host. Suites imported from DAWNBench, MLPerf, AlgoPerf and speedruns show
    the published statistic of each record next to ours.

    Exit code: 2 for a mistake in the arguments.

    Parameters
    ----------
    folder
        Folder of the site; made if it does not exist.
    title
        Heading of the index.
    """
    if folder.exists() and not folder.is_dir():
        raise bench.InputError(f"FOLDER must be a folder; {folder} is a file")
    with bench.Store(store, create=False) as opened:
        entries = opened.entries(suite)
    try:
        written = publish_site(entries, folder, title=title)
    except ImportError as error:
        raise bench.InputError(str(error)) from error
    note(f"wrote {len(written) - 1} pages and {written[0]}")
