"""A static site of races. MAIN PATH: one page per suite, then an index with search that links to them.

The site works from disk and from any static host: it loads nothing from elsewhere, and all links are relative.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etesian._shared.files import atomic_write
from etesian.bench.analysis import Analysis, analyze
from etesian.bench.errors import InputError
from etesian.bench.record import Run
from etesian.bench.report.format import counted, target_words
from etesian.bench.report.model import Section
from etesian.bench.report.page import write_page
from etesian.bench.report.published import published_section
from etesian.bench.report.render_html import load_templates, package_file
from etesian.bench.report.verdict import verdict
from etesian.bench.statistics import CONFIDENCE
from etesian.bench.store import StoredRun

_UNSAFE = re.compile(r"[^a-z0-9.]+")
_LONGEST_NAME = 100
INDEX = "index.html"


@dataclass(frozen=True)
class RaceLink:
    """One row of the index: a race, its verdict, and the names that a search finds it by."""

    page: str
    suite: str
    task: str
    target: str
    extent: str
    verdict: str
    names: tuple[str, ...]

    @property
    def search_text(self) -> str:
        """All names in lower case."""
        return " ".join((self.suite, self.task, self.target, *self.names)).lower()


def publish(
    entries: Sequence[StoredRun],
    folder: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    confidence: float = CONFIDENCE,
) -> list[Path]:
    """Write the runs of several suites as a static site.

    Parameters
    ----------
    entries
        Runs with their suites; each suite gets a page. Suites of MLPerf are ranked by MLPerf's own rule.
    folder
        Folder of the site. Pages of an earlier site in it are replaced one by one, the index last.
    title
        Heading of the index.
    confidence
        Confidence level of the intervals.

    Returns
    -------
    list of pathlib.Path
        The index and the pages of the suites.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    InputError
        If there are no runs, or the folder cannot be made.
    """
    load_templates()
    suites: dict[str, list[StoredRun]] = {}
    for entry in entries:
        suites.setdefault(entry.suite, []).append(entry)
    if not suites:
        raise InputError("there are no runs to publish; `etesian bench import` adds them to a store")
    names = _page_names(sorted(suites))
    written, links = [], list[RaceLink]()
    for suite, page in names.items():
        analysis = analyze(suites[suite], mlperf_rule=suite.startswith("mlperf"), level=confidence)
        written.append(
            write_page(analysis, Path(folder) / page, title=suite, extra_sections=_extra_sections(analysis, suite))
        )
        links += _links(analysis, suite, page, suites[suite])
    index = Path(folder) / INDEX
    with atomic_write(index, "w", make_parents=True) as file:
        file.write(_render_index(title, links))
    return [index, *written]


def _page_names(suites: Sequence[str]) -> dict[str, str]:
    """Name the pages after the suites, in signs that every file system and host can hold."""
    names: dict[str, str] = {}
    for suite in suites:
        stem = _UNSAFE.sub("-", suite.lower())[:_LONGEST_NAME].strip("-.") or "suite"
        taken = {INDEX, *names.values()}
        number = 1
        while (page := f"{stem}{'' if number == 1 else f'-{number}'}.html") in taken:
            number += 1
        names[suite] = page
    return names


def _extra_sections(analysis: Analysis, suite: str) -> list[Section]:
    sections = [published_section(race, suite) for race in analysis.races]
    return [_numbered(section, number) for number, section in enumerate(filter(None, sections))]


def _numbered(section: Section, number: int) -> Section:
    return section if number == 0 else replace(section, name=f"{section.name}-{number + 1}")


def _links(analysis: Analysis, suite: str, page: str, entries: Sequence[StoredRun]) -> list[RaceLink]:
    runs: list[Run] = [entry.run for entry in entries]
    organizations = tuple(dict.fromkeys(run.organization for run in runs if run.organization))
    return [
        RaceLink(
            page=page,
            suite=suite,
            task=race.race.task,
            target=target_words(race.race.target),
            extent=f"{counted(sum(each.runs for each in race.entries), 'run')} of "
            f"{counted(len(race.entries), 'entry', 'entries')}",
            verdict=verdict(race, level=analysis.options.level),
            names=(*(entry.name for entry in race.entries), *organizations),
        )
        for race in analysis.races
    ]


def _render_index(title: str, links: Sequence[RaceLink]) -> str:
    environment: Any = load_templates().environment
    return str(environment.get_template("site.html").render(title=title, races=links, css=package_file("page.css")))
