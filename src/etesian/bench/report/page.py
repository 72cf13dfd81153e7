"""MAIN PATH of the report: analyze the runs, lay out what the analysis says, write the page in one piece."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etesian._shared.files import atomic_write
from etesian.bench.analysis import Analysis, analyse
from etesian.bench.report.anchors import Anchors
from etesian.bench.report.curves import embed_race, points_per_run
from etesian.bench.report.marks import Mark, assign_marks
from etesian.bench.report.run_tables import machine_records
from etesian.bench.report.sections import RaceView, Section, profiles_section, view_race
from etesian.bench.report.wording import target_words
from etesian.bench.statistics import CONFIDENCE

if TYPE_CHECKING:
    import jinja2

    from etesian.bench.record import Run
    from etesian.bench.store import StoredRun

FEW_OBJECTIONS = 12
"""Sentences of advice that stand open; more of them are to be opened."""


@dataclass(frozen=True)
class Content:
    """The changing part of a page: its body as HTML, and the data of its figures and controls."""

    body: str
    data: Mapping[str, Any]


def write_report(
    runs: Sequence[Run | StoredRun],
    path: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    command: str | None = None,
    baseline: str | None = None,
    confidence: float = CONFIDENCE,
) -> Path:
    """Write runs as one HTML page that needs no network: leaderboard, curves, thresholds, variation, advice.

    Parameters
    ----------
    runs
        Of any number of workloads; each task and target has a part of the page.
    path
        Where to; an existing file is replaced only once the page is complete.
    title
        Heading of the page.
    command
        What made the runs, to be shown under how to reproduce them.
    baseline
        Workload that the others are compared with; the fastest by default.
    confidence
        Of every interval.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    ImportError
        jinja2 or plotly is missing.
    InputError
        The runs cannot be analyzed: see `etesian.bench.analyse`.
    """
    load_libraries()
    analysis = analyse(runs, baseline=baseline, level=confidence)
    commands = {} if command is None else {"These runs": command}
    return write_page(analysis, path, title=title, commands=commands)


def write_page(
    analysis: Analysis,
    path: str | os.PathLike[str],
    *,
    title: str = "Time to target",
    commands: Mapping[str, str] | None = None,
) -> Path:
    """Write an analysis as one HTML page; for runs as they are, see `write_report`.

    Parameters
    ----------
    analysis
        What `etesian.bench.analyse` returned.
    path
        Where to; an existing file is replaced only once the page is complete.
    title
        Heading of the page.
    commands
        What made the runs and the page, to be shown under how to reproduce them; by what each made.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    ImportError
        jinja2 or plotly is missing.
    """
    page = render_page(render_content(analysis, title=title, commands=commands), title=title)
    with atomic_write(path, "w", make_parents=True) as file:
        file.write(page)
    return Path(path)


def render_content(analysis: Analysis, *, title: str, commands: Mapping[str, str] | None = None) -> Content:
    """Lay out everything that the analysis says."""
    names = [entry.name for race in analysis.races for entry in race.race.entries]
    marks = assign_marks(list(dict.fromkeys(names)))
    anchors, is_alone = Anchors(), len(analysis.races) == 1
    races = [view_race(race, analysis.options, marks, anchors, is_alone=is_alone) for race in analysis.races]
    most = points_per_run(analysis.races)
    profiles = profiles_section(analysis, marks)
    body = (
        _environment()
        .get_template("body.html")
        .render(
            title=title,
            races=races,
            profiles=profiles,
            marks=marks,
            target_words=target_words,
            most_points=most,
            advice=(analysis.advice[:FEW_OBJECTIONS], analysis.advice[FEW_OBJECTIONS:]),
            options=analysis.options,
            commands=dict(commands or {}) | _recorded_commands(analysis),
            **_facts(analysis),
        )
    )
    return Content(body, _data(analysis, races, profiles, marks, most))


def render_page(content: Content, *, title: str, live: str = "") -> str:
    """Put the content into a page with all that draws it; `live` is the script that keeps it up to date, if any."""
    scripts = [_package_file(name) for name in ("figures.js", "thresholds.js", "page.js")]
    return load_libraries().render(
        title=title,
        body=content.body,
        data=content.data,
        css=_package_file("page.css"),
        plotly_js=_load_plotly(),
        page_js="\n".join([*scripts, live]),
        is_live=bool(live),
    )


def load_libraries() -> jinja2.Template:
    """Load what a page is made with, before any work is done; an ImportError names what installs it."""
    template = _template("page.html")
    _load_plotly()
    return template


def _data(
    analysis: Analysis,
    races: Sequence[RaceView],
    profiles: Section | None,
    marks: Mapping[str, Mark],
    most: int | None,
) -> dict[str, Any]:
    sections = [section for race in races for section in race.sections] + ([profiles] if profiles else [])
    return {
        "marks": {name: [mark.color, mark.dash] for name, mark in marks.items()},
        "figures": {each.anchor: each.figure for each in sections if each.figure is not None},
        "races": {
            race.anchor: embed_race(race.analysis, rule=analysis.options.rule, most=most)
            | {"links": dict(race.links), "sections": [section.anchor for section in race.sections]}
            for race in races
        },
    }


def _facts(analysis: Analysis) -> dict[str, Any]:
    """What the header and the last sections tell of the runs as a whole."""
    runs = [run for race in analysis.races for entry in race.race.entries for run in entry.runs]
    started = sorted(run.started[:16].replace("T", " ") + " UTC" for run in runs if run.started)
    return {
        "n_runs": len(runs),
        "n_entries": sum(len(race.entries) for race in analysis.races),
        "started": started,
        "budgets": sorted({run.budget_seconds for run in runs if run.budget_seconds is not None}),
        "machines": machine_records(runs),
        "seeds": {
            entry.name: _ranges([run.seed for run in entry.runs])
            for race in analysis.races
            for entry in race.race.entries
        },
    }


def _recorded_commands(analysis: Analysis) -> dict[str, str]:
    """Commands that the runs themselves record."""
    return {
        entry.name: str(run.details["command"])
        for race in analysis.races
        for entry in race.race.entries
        for run in entry.runs[:1]
        if "command" in run.details
    }


def _ranges(seeds: Sequence[int]) -> str:
    """Write seeds, neighbors as a range."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], seed]
        else:
            parts.append([seed])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def _template(name: str) -> jinja2.Template:
    try:
        import jinja2  # noqa: F401 - an extra
    except ImportError:
        raise ImportError("the report needs jinja2: pip install etesian[report]") from None
    return _environment().get_template(name)


@lru_cache(maxsize=1)  # compiling the templates takes longer than filling them
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("etesian.bench.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _load_plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs  # an extra
    except ImportError:
        raise ImportError("the report needs plotly: pip install etesian[report]") from None
    return str(get_plotlyjs())


def _package_file(name: str) -> str:
    return (resources.files("etesian.bench.report") / name).read_text("utf-8")
