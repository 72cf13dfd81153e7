"""A document as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from etesian._shared.text import printable
from etesian.bench.report.document import Document
from etesian.bench.report.model import Cell, Section, Table

_MOST_ROWS = 200


def print_document(document: Document, console: Console) -> None:
    """Print the verdict, tables and caveats of every race."""
    for part in document.races:
        print_verdict(part.verdict, console)
        print_sections(part.sections, console)
    print_sections(document.sections, console)


def print_summary(document: Document, console: Console) -> None:
    """Print the leaderboard of every race, and the errors of its runs."""
    for part in document.races:
        print_sections(part.sections[:1], console)
        for entry in part.race.race.entries:
            for run in entry.runs:
                if run.outcome == "failed" or run.error:
                    reason = (run.error or "no reason recorded").splitlines()[0]
                    line = f"{run.outcome.replace('_', ' ')}: {run.workload}, seed {run.seed}: {reason}"
                    console.print(Text(printable(line)), soft_wrap=True)


def print_verdict(sentence: str, console: Console) -> None:
    """Print the headline of a race."""
    console.print(Text(printable(sentence), style="bold"))
    console.print()


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print the tables and sentences of sections."""
    for section in sections:
        tables = section.terminal_tables
        if section.points:
            console.print(Text(section.title, style="bold"))
        for table in tables:
            _print_table(table, console)
        if tables and section.note:
            console.print(Padding(Text(printable(section.note), style="dim"), (0, 0, 1, 2)))
        for sentence in section.points:
            console.print(Text(f"- {printable(sentence)}"))
        if section.text:
            console.print(_running_text(section), soft_wrap=True)


def as_rich_table(table: Table) -> RichTable:
    """Convert a table; words are left-aligned, numbers right-aligned with their intervals below."""
    made = RichTable(title=Text(printable(table.caption), style="italic"), box=box.SIMPLE_HEAD)
    made.title_justify = "left"
    for index, heading in enumerate(table.headings):
        cells = [row.cells[index - 1] for row in table.rows[:1]] if index else []
        is_words = index == 0 or any(cell.kind != "number" for cell in cells)
        made.add_column(Text(printable(heading)), justify="left" if is_words else "right", overflow="fold")
    for row in table.rows[:_MOST_ROWS]:
        made.add_row(Text(printable(row.heading)), *map(_as_text, row.cells))
    if len(table.rows) > _MOST_ROWS:
        made.caption = f"{len(table.rows) - _MOST_ROWS} more rows; --json has all"
    return made


def _print_table(table: Table, console: Console) -> None:
    """Print a table at its full width when the output is a file, which has no edge."""
    made = as_rich_table(table)
    if console.is_terminal:
        console.print(made)
        return
    width = console.measure(made, options=console.options.update(max_width=10_000)).maximum
    usual, console.width = console.width, max(width, console.width)
    console.print(made)
    console.width = usual


def _as_text(cell: Cell) -> Text:
    text = Text(printable(cell.text))
    if cell.interval:
        text.append("\n" + cell.interval + "†" * (not cell.is_reliable))
    return text


def _running_text(section: Section) -> Text:
    text = Text()
    for span in section.text:
        text.append(printable(span.text), style=f"on {span.color}" if span.color else "dim")
    return text
