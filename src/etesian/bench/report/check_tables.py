"""A regression check as a table and as Markdown."""

from __future__ import annotations

from etesian.bench.markdown import escape_markdown, markdown_table
from etesian.bench.regression import Check, EntryCheck
from etesian.bench.report.format import counted, number, value_and_interval
from etesian.bench.report.model import Cell, Row, Table, words_cell

_HEADINGS = ("entry", "verdict", "new / base", "smallest change shown", "runs", "runs needed")
_SYMBOLS = {"slower": "🔴", "faster": "🟢", "within the margin": "⚪", "undecided": "🟡"}


def check_table(check: Check) -> Table:
    """Tabulate the verdicts."""
    rows = []
    for each in check.entries:
        text, ends = value_and_interval(each.ratio)
        cells = [words_cell(each.verdict), Cell(text, "ratio", each.ratio.value, ends, each.ratio.reason)]
        cells += [Cell(number(each.smallest_change)), Cell(_runs(each)), Cell(number(each.runs_needed))]
        rows.append(Row(each.name, cells))
    return Table(f"New runs relative to base runs, margin {check.margin:g}", _HEADINGS, rows)


def check_headline(check: Check) -> str:
    """Summarize the verdicts in one sentence."""
    counts = {verdict: sum(each.verdict == verdict for each in check.entries) for verdict in _SYMBOLS}
    parts = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{counted(len(check.entries), 'entry', 'entries')}: {', '.join(parts)} (margin {check.margin:g})."


def check_notes(check: Check) -> list[str]:
    """List entries without a counterpart, caveats, and how to read the figures."""
    notes = list(check.caveats)
    if check.missing:
        notes.append(f"Only in the base runs: {', '.join(check.missing)}.")
    if check.added:
        notes.append(f"Only in the new runs: {', '.join(check.added)}.")
    undecided = [each for each in check.entries if each.verdict == "undecided" and each.runs_needed]
    return notes + list(map(_needed, undecided))


def _needed(each: EntryCheck) -> str:
    """Say how many runs would decide; from too few runs for an interval, only that there must be more."""
    if each.ratio.low is None:
        return f"{each.name}: at least {each.runs_needed} runs of each are needed for an interval."
    more = max((each.runs_needed or 0) - min(each.runs), 0)
    return f"{each.name}: {each.runs_needed} runs of each, {more} more, would probably decide."


def check_markdown(check: Check) -> str:
    """Write the check as GitHub Markdown; names are escaped."""
    rows = []
    for each in check.entries:
        text, ends = value_and_interval(each.ratio)
        cells = [_SYMBOLS[each.verdict], escape_markdown(each.name), each.verdict, f"{text} ({ends})" if ends else text]
        rows.append([*cells, number(each.smallest_change), _runs(each), number(each.runs_needed)])
    lines = [f"**{check_headline(check)}**", "", *markdown_table(["", *_HEADINGS], rows, numbers_from=3)]
    lines += ["", *(f"- {escape_markdown(note)}" for note in check_notes(check))]
    lines.append(
        f"\n<sub>Ratios of times, with intervals at a joint confidence level of {check.level:.0%}; the unit is the run. Smallest "
        "change: the ratio that these runs would have shown with 80% power.</sub>"
    )
    return "\n".join(lines) + "\n"


def _runs(each: EntryCheck) -> str:
    base, new = each.runs
    return str(base) if base == new else f"{base} and {new}"
