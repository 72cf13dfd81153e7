"""Dialects of CSV: delimiter, decimal comma, words for missing values, and text that spreadsheets would run as a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from etesian.bench.io._reading.errors import UnreadableError

DELIMITERS = ",;\t|"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MISSING = frozenset({"none", "null", "nil", "na", "n/a", "n.a.", "<na>", "#n/a", "missing", "-", "--", "?"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+|\d{1,3}(?:,\d{3})+(?:\.\d*)?)(?:e[+-]?\d+)? ?%?", re.IGNORECASE)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")


_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_formula(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'")[:1] in _FORMULA_SIGNS else value


def unescape_formula(text: str) -> str:
    """Remove the apostrophe that `escape_formula` has added."""
    return text[1:] if text[:1] == "'" and text.lstrip("'")[:1] in _FORMULA_SIGNS else text


def delimiter_of(lines: Sequence[str]) -> str:
    """Return the delimiter that cuts the first lines of a file into rows of one width.

    Raises
    ------
    UnreadableError
        If two delimiters do so equally well.
    """
    widths = {sign: _widths(lines, sign) for sign in DELIMITERS}
    consistent = {sign: found[0] for sign, found in widths.items() if found and found[0] > 1 and len(set(found)) == 1}
    best = [sign for sign, width in consistent.items() if width == max(consistent.values())]
    if len(best) > 1:
        raise UnreadableError(
            f"line 1 can be split by {' and by '.join(_NAMES[sign] for sign in best)}; use one of them"
        )
    if best:
        return best[0]
    widths_by_space = {len(line.split()) for line in lines if line.strip()}
    if len(widths_by_space) == 1 and widths_by_space != {1} and all({*found} <= {1} for found in widths.values()):
        raise UnreadableError("line 1 seems to be split by spaces; use commas, semicolons or tabs")
    return max(DELIMITERS, key=lambda sign: widths[sign][0] if widths[sign] else 0)


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return []


def normalize(columns: dict[str, list[tuple[int, str]]]) -> dict[str, list[tuple[int, str | None]]]:
    """Write the cells of numeric columns as Python reads them; None stands for a missing value, and "50%" becomes 0.50.

    Parameters
    ----------
    columns
        The line number and text of each cell that is not empty, by column. A column is numeric if all its cells are numbers or
        words for a missing value.

    Raises
    ------
    UnreadableError
        If commas within numbers may mean decimals or thousands.
    """
    numeric = {name: cells for name, cells in columns.items() if _is_numeric(text for _, text in cells)}
    has_comma = _decimal_comma(cell for cells in numeric.values() for cell in cells)
    return {
        name: [(line, _as_number(text, has_comma)) for line, text in cells] if name in numeric else list(cells)
        for name, cells in columns.items()
    }


def _is_numeric(cells: Iterable[str]) -> bool:
    kept = [cell for cell in cells if cell.lower() not in _MISSING]
    return bool(kept) and all(_NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell) for cell in kept)


def _decimal_comma(cells: Iterable[tuple[int, str]]) -> bool:
    """Return whether commas are decimal; False also if there are none."""
    with_comma, has_point, is_certain = None, False, False
    for line, cell in cells:
        has_point = has_point or "." in cell
        if "," in cell:
            with_comma = with_comma or (line, cell)
            is_certain = is_certain or not _THOUSANDS.fullmatch(cell)
    if with_comma is None:
        return False
    if is_certain and not has_point:
        return True
    line, cell = with_comma
    raise UnreadableError(
        f"line {line}: {cell!r} may have a decimal comma or a thousands separator; write decimal points"
    )


def _as_number(text: str, has_comma: bool) -> str | None:
    if text.lower() in _MISSING:
        return None
    number = text.replace(",", ".") if has_comma else text
    return str(Decimal(number[:-1].rstrip()).scaleb(-2)) if number.endswith("%") else number
