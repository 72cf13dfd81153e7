"""The commands `etesian bench run` and `etesian bench show`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from etesian import bench
from etesian.bench.address import StoreAddress
from etesian.cli.bench_options import (
    DEFAULT_STORE,
    JsonOption,
    StoreArgument,
    StoreOption,
    SuiteOption,
    chosen_store,
    parse_target,
)
from etesian.cli.bench_reading import select_runs
from etesian.cli.console import EXIT_FAILED, note, print_json

if TYPE_CHECKING:
    from rich.console import Console


def run(
    *sources: Annotated[str, Parameter(name="FILE_OR_NAME")],
    seeds: str = "5",
    store: StoreOption = DEFAULT_STORE,
    jobs: int = 1,
    budget: float | None = None,
    target: str | None = None,
    in_process: bool = False,
    retry_failed: bool = False,
    on: str | None = None,
    limit: float | None = None,
    any_code: bool = False,
    compare: str | None = None,
    as_json: JsonOption = False,
) -> int:
    """Run suites, each workload with each seed, and store every finished run.

    Runs that the store already holds are not repeated, so the same command resumes an interrupted one. Runs whose code or
    arguments have changed are kept apart.

    Exit code: 1 if a run failed, 2 for a mistake in the arguments, 130 after Ctrl-C. With --compare, 1 if an entry is shown
    to be slower than the margin of `etesian bench check`.

    Parameters
    ----------
    sources
        Python files that define "suite", or names of installed suites.
    seeds
        Number of seeds, counted from 0, or a list such as 3,7.
    jobs
        Number of simultaneous runs. More than 1 distorts the timings.
    budget
        Time limit of each run in seconds on its clock; that of the suite by default.
    target
        Target such as 'accuracy>=0.93'; that of the suite by default.
    in_process
        Make all runs in this process. A run that hangs is then not killed; see --limit.
    retry_failed
        Repeat failed runs.
    on
        Make the runs on a Ray cluster, as many at once as it holds: ray, or ray://HOST:PORT.
    limit
        Kill a run after this many seconds without a measurement; 3 times the budget by default, at least 5. Not available with
        --in-process.
    any_code
        Pool runs whose code or arguments differ.
    compare
        Interleave the runs with those of this git revision, and check the ratio of their times.
    """
    if not sources:
        raise bench.InputError("name at least one suite: a Python file or one of " + ", ".join(bench.known_names()))
    if jobs < 1:
        raise bench.InputError(f"--jobs must be at least 1; got {jobs}")
    chosen_seeds = parse_seeds(seeds)
    if limit is not None and not limit > 0:
        raise bench.InputError(f"--limit must be a positive number of seconds; got {limit}")
    console = _error_console()
    if compare is not None:
        return _compare(sources, compare, chosen_seeds, store, limit=limit, as_json=as_json)
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
    return EXIT_FAILED if any(entry.run.outcome == "failed" for entry in runs) else 0


def show(
    argument: StoreArgument = None,
    /,
    *,
    store: StoreOption = DEFAULT_STORE,
    suite: SuiteOption = None,
    target: str | None = None,
    any_code: bool = False,
    as_json: JsonOption = False,
) -> None:
    """Show the times to target of the stored runs, with intervals.

    Parameters
    ----------
    target
        Use only the runs with this target, for example 'loss<=3.28'.
    any_code
        Pool runs whose code or arguments differ.
    """
    chosen = chosen_store(argument, store)
    with bench.Store(chosen, create=False) as opened:
        entries = opened.entries()
    selected = select_runs(entries, store=chosen, suite=suite, target=target)
    _print_summary(selected, as_json=as_json, any_code=any_code)


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


def _compare(
    sources: Sequence[str],
    revision: str,
    seeds: list[int],
    store: StoreAddress,
    *,
    limit: float | None,
    as_json: bool,
) -> int:
    """Run a suite of two revisions, interleaved, and check the new one against the base."""
    from etesian.bench.revisions import compare_revisions
    from etesian.cli.bench_check import EXIT_SLOWER, print_check

    if len(sources) != 1:
        raise bench.InputError(f"--compare requires one suite; got {len(sources)}")
    with bench.Store(store) as opened:
        found = compare_revisions(
            sources[0],
            revision,
            seeds=seeds,
            store=opened,
            limit_seconds=limit,
            announce=note,
        )
    print_check(found, as_json=as_json)
    return EXIT_SLOWER if found.is_slower else 0


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
        print_json({**analysis.as_dict(), "runs": [{"suite": suite, **run.ending()} for suite, run in entries]})
    else:
        print_summary(lay_out(analysis), Console())


@contextlib.contextmanager
def _output_reserved() -> Iterator[None]:
    """Redirect what workloads print to standard error; standard output is for the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _progress(console: Console, jobs: int) -> Iterator[Any]:
    """Draw the progress; after an interrupt, print which runs are kept."""
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
        note(f"stopped{kept}; the same command continues from here")
        raise


def _error_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)
