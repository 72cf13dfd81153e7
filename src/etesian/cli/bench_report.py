"""The commands `etesian bench report` and `etesian bench serve`: an HTML page of stored runs, as a file or live."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from etesian import bench
from etesian._shared.files import check_output
from etesian.bench.address import StoreAddress
from etesian.bench.analysis import Analysis, Options, analyze
from etesian.bench.report import write_page
from etesian.cli.bench_analysis import parse_options, with_analysis_options
from etesian.cli.bench_options import (
    DEFAULT_STORE,
    StoreArgument,
    StoreOption,
    SuiteOption,
    chosen_store,
)
from etesian.cli.bench_reading import select_runs
from etesian.cli.console import note

TargetOption = Annotated[
    str | None, Parameter(help="Use only the runs with this target, for example 'accuracy>=0.93'.")
]
TitleOption = Annotated[str | None, Parameter(help="Heading of the page; the name of the suite by default.")]


@with_analysis_options
def report(
    argument: StoreArgument = None,
    /,
    *,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("report.html"),
    suite: SuiteOption = None,
    target: TargetOption = None,
    title: TitleOption = None,
    **options: Any,
) -> None:
    """Write an HTML report: leaderboard, curves, movable target, variation, attribution and caveats.

    Exit code: 2 for a mistake in the arguments.

    Parameters
    ----------
    output
        HTML file to write.
    """
    check_output(output)
    request = _Request(chosen_store(argument, store), suite, target, options)
    with bench.Store(request.store, create=False) as opened:
        entries = opened.entries()
    try:
        write_page(request.analyze(entries), output, title=title or request.title(entries), commands=request.commands())
    except ImportError as error:
        raise bench.InputError(str(error)) from error
    note(f"wrote {output}")


@with_analysis_options
def serve(
    argument: StoreArgument = None,
    /,
    *,
    store: StoreOption = DEFAULT_STORE,
    host: str = "127.0.0.1",
    port: int = 0,
    suite: SuiteOption = None,
    target: TargetOption = None,
    title: TitleOption = None,
    **options: Any,
) -> None:
    """Serve a live HTML report that shows new runs as they finish. Nothing is written; Ctrl-C ends it.

    Exit code: 2 for a mistake in the arguments.

    Parameters
    ----------
    host
        Address to listen on. Only addresses of this machine are reachable by default.
    port
        Port to listen on; 0 chooses a free one.
    """
    from etesian.bench.serve import LiveReport
    from etesian.bench.serve import serve as serve_until_interrupted

    if not 0 <= port <= 65535:
        raise bench.InputError(f"--port must lie between 0 and 65535; got {port}")
    request = _Request(chosen_store(argument, store), suite, target, options)
    with bench.Store(request.store, create=False) as opened:
        heading = title or suite or request.store.name
        live = LiveReport(opened, request.analyze, title=heading, commands=request.commands())
        try:
            serve_until_interrupted(live, host=host, port=port, announce=_announce)
        except ImportError as error:
            raise bench.InputError(str(error)) from error
    note("stopped")


def _announce(url: str) -> None:
    note(f"serving {url}; press Ctrl-C to stop")


@dataclass(frozen=True)
class _Request:
    """Runs to analyze and the options of the analysis."""

    store: StoreAddress
    suite: str | None
    target: str | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        Options(**parse_options(self.options))  # reports mistakes before the store is read

    def analyze(self, entries: list[bench.StoredRun]) -> Analysis:
        """Analyze the chosen runs."""
        return analyze(self._chosen(entries), **parse_options(self.options))

    def title(self, entries: list[bench.StoredRun]) -> str:
        """Return the default heading of the page."""
        suites = {entry.suite for entry in self._chosen(entries)}
        return suites.pop() if len(suites) == 1 else "Time to target"

    def commands(self) -> dict[str, str]:
        """Return the commands that reproduce the page and its data. A database URL may hold a password and is left out."""
        where = "STORE" if self.store.is_url else str(self.store)
        words = [where, *_words({"suite": self.suite, "target": self.target}), *_words(self._changed_options())]
        return {
            "This page": shlex.join(["etesian", "bench", "report", *words]),
            "The same figures as JSON": shlex.join(["etesian", "bench", "analyze", *words, "--json"]),
        }

    def _changed_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if value != getattr(Options, name)}

    def _chosen(self, entries: list[bench.StoredRun]) -> list[bench.StoredRun]:
        return select_runs(entries, store=self.store, suite=self.suite, target=self.target)


def _words(options: dict[str, Any]) -> list[str]:
    """Return options as words of a command line."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None:
            words += [
                word for each in (value if isinstance(value, tuple) else (value,)) for word in (option, str(each))
            ]
    return words
