"""The one model of a report: tables, figures and sections, independent of HTML and of terminals.

A name or message in these objects is plain text. Each renderer escapes it once, for its own medium.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from etesian.bench.report.format import MISSING, Unit, interval, number, value_and_interval
from etesian.bench.report.marks import Mark
from etesian.bench.statistics import Estimate

Figure = Mapping[str, Any]
"""A drawing as JSON: axes and marks; see `etesian.bench.report.chart`."""


@dataclass(frozen=True)
class Cell:
    """One figure or text of a table.

    Parameters
    ----------
    text
        Displayed text.
    key
        Name of the figure in the JSON analysis; empty for text.
    exact
        Unrounded value, also used for sorting.
    interval
        Displayed interval; empty when there is none.
    note
        Reason for a missing value or interval.
    is_reliable
        False if there are too few runs for the nominal coverage of the interval.
    kind
        Numbers are right-aligned, words left-aligned and code is set in a fixed-width font.
    """

    text: str
    key: str = ""
    exact: float | None = None
    interval: str = ""
    note: str | None = None
    is_reliable: bool = True
    kind: Literal["number", "words", "code"] = "number"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Parameters
    ----------
    heading
        Text of the first column.
    cells
        The other columns.
    link
        Anchor of the entry; empty for none.
    is_home
        True if the row itself carries that anchor.
    mark
        Color, line style and symbol of the entry.
    """

    heading: str
    cells: Sequence[Cell]
    link: str = ""
    is_home: bool = False
    mark: Mark | None = None


@dataclass(frozen=True)
class Table:
    """A caption, column headings (including that of the first column) and rows."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Span:
    """A piece of running text with a background color and a tooltip."""

    text: str
    color: str = ""
    title: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Parameters
    ----------
    name
        Anchor of the section on its page.
    title
        Heading.
    table
        Main table. On a page with a figure it is collapsed below the figure.
    figure
        Drawing; terminals show the table instead.
    note
        Explanation of the figures.
    points
        Bulleted sentences.
    more
        Additional tables, collapsed on a page when they are long.
    text
        Running text, such as a sample of generated text.
    control
        Interactive control: entries to draw, or a threshold to move.
    on_terminal
        Tables printed on a terminal; None for `table` alone.
    """

    name: str
    title: str
    table: Table | None = None
    figure: Figure | None = None
    note: str = ""
    points: tuple[str, ...] = ()
    more: tuple[Table, ...] = ()
    text: tuple[Span, ...] = ()
    control: Literal["entries", "threshold"] | None = None
    on_terminal: tuple[Table, ...] | None = None

    @property
    def terminal_tables(self) -> tuple[Table, ...]:
        """Tables printed on a terminal."""
        if self.on_terminal is not None:
            return self.on_terminal
        return () if self.table is None else (self.table,)


def estimate_cell(key: str, estimate: Estimate | None, unit: Unit = "") -> Cell:
    """Format an estimate with its interval; an estimate from one run has none."""
    if estimate is None:
        return Cell(MISSING, key)
    if estimate.runs < 2:
        return Cell(number(estimate.value, unit), key, estimate.value, note=estimate.reason or "from a single run")
    text, ends = value_and_interval(estimate, unit)
    is_reliable = estimate.is_reliable or not estimate.has_interval
    return Cell(text, key, estimate.value, ends, estimate.reason, is_reliable)


def number_cell(value: float | None, unit: Unit = "", *, key: str = "", note: str | None = None) -> Cell:
    """Format a number without an interval."""
    return Cell(number(value, unit), key, value, note=note)


def words_cell(text: str) -> Cell:
    """Format text; a dash stands for an empty string."""
    return Cell(text or MISSING, kind="words")


__all__ = [
    "Cell",
    "Figure",
    "Row",
    "Section",
    "Span",
    "Table",
    "estimate_cell",
    "interval",
    "number_cell",
    "words_cell",
]
