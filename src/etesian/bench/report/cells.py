"""Tables as the page shows them: figures in words with their intervals, exact values behind them. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etesian.bench.report.marks import Mark
from etesian.bench.report.wording import MISSING, Unit, interval, number
from etesian.bench.statistics import Estimate


@dataclass(frozen=True)
class Cell:
    """A figure as it is read, its interval, and what a reader must know about them.

    Parameters
    ----------
    text
        What is read.
    key
        Name of the figure; with `exact`, its value in full.
    interval
        In words; empty where there is none.
    note
        Why a figure or its interval is missing.
    is_reliable
        Whether there are runs enough for the interval to cover as it says.
    is_words
        Whether it is aligned as words are.
    """

    text: str
    key: str = ""
    exact: float | None = None
    interval: str = ""
    note: str | None = None
    is_reliable: bool = True
    is_words: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Parameters
    ----------
    heading
        What it is about.
    cells
        One for each further column.
    link
        Anchor of the entry that it is about; empty for none.
    is_home
        Whether that anchor is here.
    mark
        How the entry is drawn.
    """

    heading: str
    cells: Sequence[Cell]
    link: str = ""
    is_home: bool = False
    mark: Mark | None = None


@dataclass(frozen=True)
class Table:
    """A caption, column headings (the first is that of the rows' headings) and rows."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Row]


def figure(key: str, estimate: Estimate | None, unit: Unit = "") -> Cell:
    """Write an estimate with its interval, for which one run is not enough; a dash where there is no estimate at all."""
    if estimate is None:
        return Cell(MISSING, key)
    if estimate.runs < 2:
        return Cell(number(estimate.value, unit), key, estimate.value, note=estimate.reason or "of one run")
    is_reliable = estimate.is_reliable or not estimate.has_interval
    words = number(estimate.value, unit)
    return Cell(words, key, estimate.value, interval(estimate, unit), estimate.reason, is_reliable)


def five_digits(key: str, estimate: Estimate) -> Cell:
    """Write results that differ in the fourth digit."""
    ends = f"{estimate.low:.5g} to {estimate.high:.5g}" if estimate.low is not None else ""
    short = figure(key, estimate)
    return short if estimate.value is None else replace(short, text=f"{estimate.value:.5g}", interval=ends)


def plain(value: float | None, unit: Unit = "", *, key: str = "", note: str | None = None) -> Cell:
    """Write a number without an interval."""
    return Cell(number(value, unit), key, value, note=note)


def words(text: str) -> Cell:
    """Write text; a dash for none."""
    return Cell(text or MISSING, is_words=True)
