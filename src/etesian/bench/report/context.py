"""Input of sections: a race or the whole analysis, and the appearance and anchors of its entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from etesian.bench.analysis import Analysis, EntryFigures, Options, RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.report.marks import Mark, assign_marks
from etesian.bench.report.model import Cell, Row

MOST_DRAWN = 12
"""Largest number of entries in a figure; beyond it, readers cannot distinguish them. The tables hold all."""


@dataclass(frozen=True, eq=False)
class RaceContext:
    """A race and its surroundings.

    Parameters
    ----------
    race, options
        Figures of the race, and how they were computed.
    marks, links
        Appearance and anchor of each entry, by name.
    """

    race: RaceAnalysis
    options: Options
    marks: Mapping[str, Mark]
    links: Mapping[str, str]

    @cached_property
    def entries(self) -> list[EntryFigures]:
        """Entries from the fastest to the slowest."""
        by_name = {each.name: each for each in self.race.entries}
        return [by_name[name] for name in self.race.standing.names]

    @cached_property
    def runs_of(self) -> dict[str, Entry]:
        """Runs of each entry, by name."""
        return {entry.name: entry for entry in self.race.race.entries}

    @cached_property
    def drawn(self) -> list[EntryFigures]:
        """Entries in the figures: the fastest, and the baseline."""
        fastest = self.entries[:MOST_DRAWN]
        others = [each for each in self.entries[MOST_DRAWN:] if each.name == self.race.baseline]
        return [*fastest[: MOST_DRAWN - len(others)], *others]

    @property
    def drawn_note(self) -> str:
        """A sentence that says how many entries are drawn; empty when all are."""
        drawn, total = len(self.drawn), len(self.entries)
        return f" The figure shows {drawn} of {total} entries." if drawn < total else ""

    def row(self, name: str, cells: list[Cell], *, is_home: bool = False) -> Row:
        """Make a table row about an entry."""
        return Row(name, cells, self.links[name], is_home=is_home, mark=self.marks[name])


@dataclass(frozen=True, eq=False)
class PageContext:
    """An analysis and its origin.

    Parameters
    ----------
    analysis
        All races.
    commands
        Commands that made the runs and the page, by their outputs.
    """

    analysis: Analysis
    commands: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """Appearance of each entry, by name."""
        names = [entry.name for race in self.analysis.races for entry in race.race.entries]
        return assign_marks(list(dict.fromkeys(names)))
