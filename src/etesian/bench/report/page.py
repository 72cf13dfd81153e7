"""MAIN PATH of the report: analyze the runs, lay the analysis out, render the page, write it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from etesian._shared.files import atomic_write
from etesian.bench.analysis import Analysis, analyze
from etesian.bench.record import Run, StoredRun
from etesian.bench.report.document import lay_out
from etesian.bench.report.model import Section
from etesian.bench.report.render_html import load_templates, render_page
from etesian.bench.statistics import CONFIDENCE


def write_report(
    runs: Sequence[Run | StoredRun],
    path: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    command: str | None = None,
    baseline: str | None = None,
    confidence: float = CONFIDENCE,
    extra_sections: Sequence[Section] = (),
) -> Path:
    """Write runs as one HTML page that works offline.

    Parameters
    ----------
    runs
        Runs of any number of workloads. The page has one part for each task and target.
    path
        File to write. An existing file is replaced only once the page is complete.
    title
        Heading of the page.
    command
        Command that made the runs, shown under "How to reproduce".
    baseline
        Workload that the others are compared with; None for the fastest.
    confidence
        Confidence level of the intervals.
    extra_sections
        Sections to add after those about the runs.

    Returns
    -------
    pathlib.Path
        The path of the page.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    InputError
        If the runs cannot be analyzed; see `etesian.bench.analyze`.
    """
    load_templates()
    analysis = analyze(runs, baseline=baseline, level=confidence)
    commands = {} if command is None else {"These runs": command}
    return write_page(analysis, path, title=title, commands=commands, extra_sections=extra_sections)


def write_page(
    analysis: Analysis,
    path: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    commands: Mapping[str, str] | None = None,
    extra_sections: Sequence[Section] = (),
) -> Path:
    """Write an analysis as one HTML page; see `write_report` for runs.

    Parameters
    ----------
    analysis
        Result of `etesian.bench.analyze`.
    path
        File to write. An existing file is replaced only once the page is complete.
    title
        Heading of the page.
    commands
        Commands that made the runs and the page, by their outputs.
    extra_sections
        Sections to add after those about the runs.

    Returns
    -------
    pathlib.Path
        The path of the page.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    """
    document = lay_out(analysis, title=title, commands=commands, extra_sections=extra_sections)
    with atomic_write(path, "w", make_parents=True) as file:
        file.write(render_page(document))
    return Path(path)
