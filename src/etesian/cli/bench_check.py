"""The command `etesian bench check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from etesian.bench.io.benchmark_files import read_benchmark_file
from etesian.bench.regression import MARGIN, Check, check_runs
from etesian.bench.statistics import CONFIDENCE
from etesian.cli.bench_options import SuiteOption, parse_target

EXIT_SLOWER = 1
EXIT_UNDECIDED = 3

app = typer.Typer(add_completion=False)


@app.command("check")
def check(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Runs before the change: a store or a file.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Runs after the change.")],
    margin: Annotated[float, typer.Option(help="Largest ratio of times that counts as unchanged.")] = MARGIN,
    level: Annotated[float, typer.Option(help="Joint confidence level of the intervals.")] = CONFIDENCE,
    suite: SuiteOption = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Target of CSV files that state none, such as 'loss<=3.28'.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 if an entry is undecided.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the result as GitHub Markdown.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Check if new runs are slower than base runs.

    BASE and NEW are stores, JSON Lines, CSV files, or JSON files of pytest-benchmark or hyperfine. Each entry is faster,
    slower, within the margin, or undecided. The unit is the run, not the iteration within a process.

    Exit code: 0 if nothing is shown to be slower than the margin, 1 if something is, 2 for invalid input, 3 with --strict
    if something is undecided.
    """
    goal = None if target is None else parse_target(target)
    before, after = (read_benchmark_file(source, suite=suite, target=goal) for source in (base, new))
    found = check_runs(before, after, margin=margin, level=level)
    report_check(found, markdown=markdown, as_json=as_json)
    if found.is_slower:
        raise typer.Exit(EXIT_SLOWER)
    if strict and found.is_undecided:
        raise typer.Exit(EXIT_UNDECIDED)


def report_check(found: Check, *, markdown: Path | None, as_json: bool) -> None:
    """Print a check as a table or as JSON, and write it as Markdown."""
    from etesian._shared.files import atomic_write
    from etesian.bench.report.check_tables import check_headline, check_markdown, check_notes, check_table

    if markdown is not None:
        with atomic_write(markdown, "w") as file:
            file.write(check_markdown(found))
    if as_json:
        print(json.dumps(found.as_dict(), allow_nan=False, indent=2))
        return
    from rich.console import Console

    from etesian.bench.report.model import Section
    from etesian.bench.report.render_terminal import print_sections, print_verdict

    console = Console()
    print_verdict(check_headline(found), console)
    print_sections([Section("check", "Notes", check_table(found), points=tuple(check_notes(found)))], console)
