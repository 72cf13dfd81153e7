"""The `etesian bench` commands."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etesian import bench
from etesian.cli import bench_transfer
from etesian.cli.bench_options import (
    DEFAULT_STORE,
    JsonOption,
    StoreArgument,
    StoreOption,
    SuiteOption,
    TargetOption,
    parse_target,
)
from etesian.cli.bench_reading import select_runs
from etesian.cli.console import PlainErrors, imported_when_run

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED_RUNS = 1

app = typer.Typer(cls=PlainErrors, no_args_is_help=True, help="Time to accuracy: how long until the target, how sure.")
app.add_typer(bench_transfer.importing, name="import")
app.command("export")(bench_transfer.export_runs)
for _name, _is_hidden in (("analyze", False), ("analyse", True)):  # both spellings work
    app.command(
        _name,
        hidden=_is_hidden,
        help="Analyze runs: times and their uncertainty, sensitivity to the target, ranking, sources of speed-ups.",
        cls=imported_when_run("etesian.cli.bench_analysis", "app"),
    )(lambda: None)
app.command(
    "check",
    help="Check if new runs are slower than base runs, for a gate on pull requests.",
    cls=imported_when_run("etesian.cli.bench_check", "app"),
)(lambda: None)
app.command(
    "report",
    help="Write runs as one HTML page: leaderboard, curves, a threshold to move, advice.",
    cls=imported_when_run("etesian.cli.bench_report", "report_app"),
)(lambda: None)
app.command(
    "publish",
    help="Write the suites of a store as a static site: an index with search, and one page per suite.",
    cls=imported_when_run("etesian.cli.bench_publish", "app"),
)(lambda: None)
app.command(
    "serve",
    help="Show a store's report in the browser, and new runs in it as they finish.",
    cls=imported_when_run("etesian.cli.bench_report", "serve_app"),
)(lambda: None)


@app.command("run")
def run_suites(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE_OR_NAME...", help="Python files that define `suite`, or names of suites."),
    ],
    seeds: Annotated[str, typer.Option(metavar="N|A,B,C", help="How many seeds from 0 on, or which.")] = "5",
    store: StoreOption = DEFAULT_STORE,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once. Above 1 they disturb each other's times.")] = 1,
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time on the clock for each run, in place of the suite's.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Such as 'accuracy>=0.93', in place of the suite's.")
    ] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="No fresh process for each run.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="ray[://HOST:PORT]", help="Make the runs on a Ray cluster, as many at once as it holds."
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Kill a run after this time without a measurement.  [default: 3 times the budget, at least 5]",
        ),
    ] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="Pool runs whose code or arguments differ.")] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION", help="Interleave runs of this git revision and the present one, and check them."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run suites, each workload with each seed, and store every finished run.

    Stored runs are not repeated, so that the same command resumes an interrupted suite. Runs whose code has changed are
    kept apart.

    Exit code: 1 if a run failed, 2 for invalid input, 130 after Ctrl-C. With --compare, that of `etesian bench check`.
    """
    chosen_seeds = parse_seeds(seeds)
    _check_limit(limit)
    console = _error_console()
    if compare is not None:
        _compare(sources, compare, chosen_seeds, store, console, limit=limit, as_json=as_json)
        return
    runs: list[bench.StoredRun] = []
    with _output_reserved():
        suites = [_adjusted(bench.load_suite(source), target=target, budget_seconds=budget) for source in sources]
        _check_names(suites)
        with bench.Store(store) as opened, _progress(console, jobs) as progress:
            for source, suite in zip(sources, suites, strict=True):
                finished = bench.run_suite(
                    suite,
                    seeds=chosen_seeds,
                    store=opened,
                    isolate=not in_process,
                    jobs=jobs,
                    source=source,
                    retry_failed=retry_failed,
                    progress=progress,
                    on=on,
                    limit_seconds=limit,
                    any_code=any_code,
                )
                runs += [bench.StoredRun(suite.name, run) for run in finished]
    _print_summary(runs, as_json=as_json, any_code=any_code)
    if any(entry.run.outcome == "failed" for entry in runs):
        raise typer.Exit(EXIT_FAILED_RUNS)


@app.command()
def show(
    store: StoreArgument = DEFAULT_STORE,
    suite: SuiteOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how long the stored runs took to their targets, with intervals."""
    with bench.Store(store, create=False) as opened:
        entries = opened.entries()
    _print_summary(select_runs(entries, store=store, suite=suite, target=target), as_json=as_json)


def parse_seeds(text: str) -> list[int]:
    """Read ``"5"`` as the seeds 0 to 4, and ``"3,7"`` or ``"3,"`` as those seeds."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if "," not in text and numbers:
        numbers = list(range(numbers[0]))
    if not numbers:
        raise bench.InputError(f"--seeds takes a number of at least 1, or seeds such as 3,7; got {text!r}")
    return numbers


def _check_limit(limit: float | None) -> None:
    if limit is not None and not limit > 0:
        raise bench.InputError(f"--limit must be a positive number of seconds; got {limit}")


def _compare(
    sources: list[str],
    revision: str,
    seeds: list[int],
    store: str,
    console: Console,
    *,
    limit: float | None,
    as_json: bool,
) -> None:
    """Run a suite of two revisions, interleaved, and check the new one against the base."""
    from etesian.bench.revisions import compare_revisions
    from etesian.cli.bench_check import EXIT_SLOWER, report_check

    if len(sources) != 1:
        raise bench.InputError(f"--compare requires one suite; got {len(sources)}")
    with bench.Store(store) as opened:
        found = compare_revisions(
            sources[0],
            revision,
            seeds=seeds,
            store=opened,
            limit_seconds=limit,
            announce=lambda line: console.print(line, markup=False),
        )
    report_check(found, markdown=None, as_json=as_json)
    if found.is_slower:
        raise typer.Exit(EXIT_SLOWER)


def _adjusted(suite: bench.Suite, *, target: str | None, budget_seconds: float | None) -> bench.Suite:
    changes: dict[str, Any] = {} if target is None else {"target": parse_target(target)}
    if budget_seconds is not None:
        if not budget_seconds > 0:
            raise bench.InputError(f"--budget takes a positive number of seconds; got {budget_seconds}")
        changes["budget_seconds"] = budget_seconds
    return dataclasses.replace(suite, **changes)


def _check_names(suites: list[bench.Suite]) -> None:
    names = [suite.name for suite in suites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bench.InputError(f"suites that are run together must have names that differ; got {twice[0]!r} twice")


def _print_summary(entries: list[bench.StoredRun], *, as_json: bool, any_code: bool = False) -> None:
    """Print the leaderboards, or the analysis and the outcomes of the runs as one JSON object."""
    from rich.console import Console

    from etesian.bench.report.document import lay_out
    from etesian.bench.report.render_terminal import print_summary

    analysis = bench.analyze(entries, any_code=any_code)
    if as_json:
        outcomes = [{"suite": suite, **run.ending()} for suite, run in entries]
        print(json.dumps({**analysis.as_dict(), "runs": outcomes}, allow_nan=False, indent=2))
    else:
        print_summary(lay_out(analysis), Console())


@contextlib.contextmanager
def _output_reserved() -> Iterator[None]:
    """Send what workloads print in this process to standard error; standard output is for the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _progress(console: Console, jobs: int) -> Iterator[Any]:
    """Draw the progress; after an interrupt, say what is kept."""
    from etesian.cli.bench_progress import SuiteProgress

    progress = SuiteProgress(console, jobs=jobs)
    try:
        with progress:
            yield progress
    except KeyboardInterrupt:
        latest = progress.latest
        kept = (
            ""
            if latest is None
            else f" with {latest.finished} of {latest.total} runs of {latest.suite} finished and kept"
        )
        console.print(f"stopped{kept}; the same command goes on from here", markup=False)
        raise


def _error_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)
