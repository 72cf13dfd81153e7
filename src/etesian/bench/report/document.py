"""An analysis laid out as a document of sections, before it is rendered for any medium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from etesian.bench.analysis import Analysis, RaceAnalysis
from etesian.bench.report.anchors import Anchors
from etesian.bench.report.context import PageContext, RaceContext
from etesian.bench.report.format import target_words
from etesian.bench.report.marks import Mark
from etesian.bench.report.model import Section
from etesian.bench.report.sections import page_sections, race_sections
from etesian.bench.report.verdict import verdict


@dataclass(frozen=True, eq=False)
class RacePart:
    """The part of a document about one race."""

    anchor: str
    title: str
    verdict: str
    sections: tuple[Section, ...]
    context: RaceContext

    @property
    def race(self) -> RaceAnalysis:
        """Figures of the race."""
        return self.context.race


@dataclass(frozen=True, eq=False)
class Document:
    """Title, races and sections about the whole.

    Parameters
    ----------
    analysis
        The analysis that is laid out.
    title, facts
        Heading, and a line about the extent of the runs.
    races
        One part for each race.
    sections
        Sections about the whole: profiles, caveats, extra sections, machines, reproduction.
    marks
        Appearance of each entry, by name.
    """

    analysis: Analysis
    title: str
    facts: str
    races: tuple[RacePart, ...]
    sections: tuple[Section, ...]
    marks: Mapping[str, Mark]


def lay_out(
    analysis: Analysis,
    *,
    title: str = "Time to target",
    commands: Mapping[str, str] | None = None,
    extra_sections: Sequence[Section] = (),
) -> Document:
    """Lay out an analysis; `extra_sections` follow the races."""
    page = PageContext(analysis, commands or {})
    anchors, is_alone = Anchors(), len(analysis.races) == 1
    races = tuple(_part(race, page, anchors, is_alone=is_alone) for race in analysis.races)
    return Document(analysis, title, _facts(analysis), races, (*extra_sections, *page_sections(page)), page.marks)


def _part(race: RaceAnalysis, page: PageContext, anchors: Anchors, *, is_alone: bool) -> RacePart:
    """Lay out a race; its anchors begin with its name where the page has several races."""
    target = race.race.target
    anchor = "results" if is_alone else anchors.take(f"{race.race.task} {target.metric}")
    prefix = "" if is_alone else f"{anchor}-"
    links = {entry.name: anchors.take(entry.name, prefix=f"{prefix}entry-") for entry in race.race.entries}
    context = RaceContext(race, page.analysis.options, page.marks, links)
    return RacePart(
        anchor=anchor,
        title=race.race.task or target_words(target),
        verdict=verdict(race, level=page.analysis.options.level),
        sections=tuple(replace(each, name=prefix + each.name) for each in race_sections(context)),
        context=context,
    )


def _facts(analysis: Analysis) -> str:
    runs = [run for race in analysis.races for entry in race.race.entries for run in entry.runs]
    entries = sum(len(race.entries) for race in analysis.races)
    started = sorted(run.started[:16].replace("T", " ") + " UTC" for run in runs if run.started)
    parts = [
        f"{len(analysis.races)} races" if len(analysis.races) > 1 else target_words(analysis.races[0].race.target),
        f"{len(runs)} run{'s' * (len(runs) != 1)} of {entries} {'entry' if entries == 1 else 'entries'}",
        *started[:1],
    ]
    last = f" to {started[-1]}" if started and started[0] != started[-1] else ""
    return ", ".join(parts) + last
