"""The command `etesian bench check`."""

from __future__ import annotations

from pathlib import Path

from etesian.bench.io.benchmark_files import read_benchmark_file
from etesian.bench.regression import MARGIN, Check, check_runs
from etesian.bench.statistics import CONFIDENCE
from etesian.cli.bench_options import JsonOption, SuiteOption, parse_target
from etesian.cli.console import print_json

EXIT_SLOWER = 1
EXIT_UNDECIDED = 3


def check(
    base: str,
    new: str,
    /,
    *,
    margin: float = MARGIN,
    level: float = CONFIDENCE,
    suite: SuiteOption = None,
    target: str | None = None,
    strict: bool = False,
    markdown: Path | None = None,
    as_json: JsonOption = False,
) -> int:
    """Check if new runs are slower than base runs.

    Each entry is faster, slower, within the margin, or undecided. The unit is the run, not the iteration within a process.

    Exit code: 0 if nothing is shown to be slower than the margin, 1 if something is, 2 for a mistake in the arguments, 3
    with --strict if something is undecided.

    Parameters
    ----------
    base
        Runs before the change: a store, JSON Lines, CSV, JSON of pytest-benchmark or hyperfine, or a folder of such files.
    new
        Runs after the change.
    margin
        Largest ratio of times that counts as unchanged.
    level
        Joint confidence level of the intervals.
    target
        Target of CSV files that state none, for example 'loss<=3.28'.
    strict
        Exit with code 3 if an entry is undecided.
    markdown
        Also write the result to this file as GitHub Markdown.
    """
    goal = None if target is None else parse_target(target)
    before, after = (read_benchmark_file(source, suite=suite, target=goal) for source in (base, new))
    found = check_runs(before, after, margin=margin, level=level)
    if markdown is not None:
        _write_markdown(found, markdown)
    print_check(found, as_json=as_json)
    if found.is_slower:
        return EXIT_SLOWER
    return EXIT_UNDECIDED if strict and found.is_undecided else 0


def print_check(found: Check, *, as_json: bool) -> None:
    """Print a check as a table or as one JSON object."""
    if as_json:
        print_json(found.as_dict())
        return
    from rich.console import Console

    from etesian.bench.report.check_tables import check_headline, check_notes, check_table
    from etesian.bench.report.model import Section
    from etesian.bench.report.render_terminal import print_sections, print_verdict

    console = Console()
    print_verdict(check_headline(found), console)
    print_sections([Section("check", "Notes", check_table(found), points=tuple(check_notes(found)))], console)


def _write_markdown(found: Check, path: Path) -> None:
    from etesian._shared.files import atomic_write
    from etesian.bench.report.check_tables import check_markdown

    with atomic_write(path, "w") as file:
        file.write(check_markdown(found))
