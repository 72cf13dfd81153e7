"""Reader of text tables with two ids and an optional number per row: ratings (CSV and similar) and edge lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.limits import LINE_BYTES, limit_of
from etesian.errors import InputError
from etesian.sparse.columns import chosen_columns, find_columns
from etesian.sparse.ids import IdColumn
from etesian.sparse.io.contents import Triples
from etesian.sparse.io.dialect import SPACES, Dialect, find_dialect
from etesian.sparse.io.quotes import flattened, numbered_records, open_field
from etesian.sparse.io.source import MalformedFileError, Source, shortened

LONGEST_ID = 1_000  # characters
_UNIT_SEPARATOR = "\x1f"  # replaces delimiters of two characters
_POSITIONS = ("user", "item", "rating")
_COMMENT = re.compile(rb"(?m)(?:^|(?<=[ \t]))[#%]+(?=\s|$)[^\n]*")  # ids may begin with these signs
_EDGE_COMMENT = re.compile(rb"[#%][^\n]*")


def read_ratings(source: Source, *, columns: Mapping[str, str] | None = None) -> Triples:
    """Read a table with one rating per row: a user, an item and a rating; other columns are ignored.

    Columns are detected by the names in the header, or by position without a header.

    Parameters
    ----------
    source
        File to read.
    columns
        Names or numbers from 1 of columns by role: "user", "item" and optionally "rating". Default: detected.

    Raises
    ------
    InputError
        If the columns of users and items are not recognized.
    MalformedFileError
        At the first row with a different number of columns, an empty id, or a rating that is not a finite number.
    """
    dialect = find_dialect(source, source.head_lines(), (columns or {}).values())
    places = _places(source, dialect, columns)
    user, item, rating = _read_columns(source, dialect, places, comments=_COMMENT)
    return Triples(user, item, rating, is_graph=False, columns=_description(dialect, places))


def read_edges(source: Source) -> Triples:
    """Read one edge per row: ``u v``, ``u v weight`` or ``u v {}``. Comments begin with # or %."""
    lines = [(number, line) for number, line in source.head_lines() if not line.lstrip().startswith(("#", "%"))]
    if not lines:
        raise InputError(f"{source.path} is empty: it must contain at least one line of two ids")
    number, line = lines[0]
    n_columns = len(re.split(r"[#%]", line.replace("{}", ""))[0].split())
    if n_columns < 2:
        raise MalformedFileError(source.path, number, f"has {n_columns} columns; an edge needs two ids")
    dialect = Dialect(SPACES, n_columns, None, number)
    places = dict(zip(_POSITIONS[: min(n_columns, 3)], range(3), strict=False))
    found = _read_columns(source, dialect, places, comments=_EDGE_COMMENT, words=("id", "id", "weight"))
    return Triples(*found, is_graph=True)


def _places(source: Source, dialect: Dialect, columns: Mapping[str, str] | None) -> dict[str, int]:
    remedy = "name the columns with --columns user=NAME,item=NAME,rating=NAME (or numbers from 1)"
    header = dialect.header
    try:
        if columns is not None:
            return chosen_columns(columns, header, dialect.n_columns)
        if header is not None:
            return find_columns(header)
    except ValueError as error:
        shown = "" if header is None else f"; its header is {', '.join(header)!r}"
        raise InputError(f"{source.path}: {error}{shown}: {remedy}") from None
    if dialect.n_columns < 2:
        raise InputError(f"{source.path} has {dialect.n_columns} column; it must have user, item and rating: {remedy}")
    return dict(zip(_POSITIONS[: dialect.n_columns], range(3), strict=False))


def _description(dialect: Dialect, places: Mapping[str, int]) -> str:
    roles = [role for role in _POSITIONS if role in places]
    if dialect.header is None:
        return "no header: " + ", ".join(f"column {places[role] + 1} is the {role}" for role in roles)
    return "columns: " + ", ".join(f"{role} is {dialect.header[places[role]]!r}" for role in roles)


def _read_columns(
    source: Source,
    dialect: Dialect,
    places: Mapping[str, int],
    *,
    comments: re.Pattern[bytes],
    words: tuple[str, ...] = _POSITIONS,
) -> tuple[IdColumn, IdColumn, NDArray[np.float64] | None]:
    wanted = [places[role] for role in _POSITIONS if role in places]
    chunks: list[list[Any]] = [[] for _ in wanted]
    with_ratings = "rating" in places
    for first_line, text in _data_blocks(source, dialect, comments):
        block = _Block(source, dialect, first_line, text)
        for place, (chunk, column) in enumerate(zip(chunks, block.parse(wanted), strict=True)):
            chunk.append(block.checked(column, words[place], is_rating=place == 2))
    if not chunks[0]:
        raise InputError(f"{source.path} is empty: it must contain at least one row of two ids")
    user, item = (_joined_ids(each) for each in chunks[:2])
    return user, item, np.concatenate(chunks[2]) if with_ratings else None


def _data_blocks(source: Source, dialect: Dialect, comments: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of rows without the header, with single-byte delimiters, and the number of their first line."""
    for first, block in _records(source, dialect):
        skipped = max(0, min(dialect.first_line - first, block.count(b"\n")))
        text = _simplified(block.split(b"\n", skipped)[skipped], dialect, comments)
        if text.strip():
            yield first + skipped, text


def _records(source: Source, dialect: Dialect) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole records, which may contain line ends in quoted fields."""
    if not dialect.has_quotes:
        yield from source.blocks()
        return
    line, held = 1, b""
    for first, block in source.blocks():
        line = line if held else first
        text = held + block
        cut = open_field(text)
        whole, held = (text, b"") if cut is None else (text[:cut], text[cut:])
        if whole:
            yield line, whole
        line += whole.count(b"\n")
        if len(held) > limit_of(LINE_BYTES):
            break
    if held:
        raise MalformedFileError(source.path, line, "has a quoted field that is never closed: add the second quote")


def _simplified(text: bytes, dialect: Dialect, comments: re.Pattern[bytes]) -> bytes:
    if dialect.delimiter == SPACES:
        if b"#" in text or b"%" in text:
            text = comments.sub(b"", text)
        text = re.sub(rb"[ \t\v\f]+", b"\t", text.replace(b"{}", b""))
        return re.sub(rb"(?m)^\t|\t$", b"", text)
    if len(dialect.delimiter) > 1:
        return text.replace(dialect.delimiter.encode(), _UNIT_SEPARATOR.encode())
    return text


@dataclass(frozen=True)
class _Block:
    """Consecutive rows of a file as text.

    Parameters
    ----------
    source, dialect
        File, and its dialect.
    first_line
        Number of the first line.
    text
        Rows, with blank lines.
    """

    source: Source
    dialect: Dialect
    first_line: int
    text: bytes

    def parse(self, wanted: list[int]) -> list[Any]:
        """Return the given columns as dictionary arrays of pyarrow."""
        import pyarrow as pa
        from pyarrow import csv

        self._check_utf8()  # pyarrow would print a traceback for invalid rows with such text
        names = [str(place) for place in range(self.dialect.n_columns)]
        invalid: list[Any] = []

        def handle(row: Any) -> str:
            if not row.text.strip():
                return "skip"
            invalid.append(row)
            return "error"

        sign = self.dialect.delimiter
        is_quoted = self.dialect.has_quotes
        text = pa.dictionary(pa.int32(), pa.string())
        try:
            table = csv.read_csv(
                pa.BufferReader(self.text),
                read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=len(self.text) + 1),
                parse_options=csv.ParseOptions(
                    delimiter="\t" if sign == SPACES else sign if is_quoted else _UNIT_SEPARATOR,
                    quote_char='"' if is_quoted else False,
                    newlines_in_values=is_quoted and flattened(self.text) != self.text,
                    invalid_row_handler=handle,
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=[names[place] for place in wanted],
                    column_types=dict.fromkeys(names, text),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            self._fail(str(error), invalid)
        return [column.combine_chunks() for column in table.columns]

    def _check_utf8(self) -> None:
        if self.text.isascii():
            return
        try:
            self.text.decode()
        except UnicodeDecodeError:
            for offset, line in enumerate(self.text.split(b"\n")):
                self.source.decoded(line, self.first_line + offset)

    def _fail(self, message: str, invalid: list[Any]) -> None:
        if invalid:
            row = invalid[0]
            complaint = f"has {row.actual_columns} columns; every row must have {row.expected_columns}, like the first"
            raise MalformedFileError(self.source.path, self.line_of(row.number - 1, skipped=b""), complaint) from None
        raise InputError(
            f"{self.source.path}: the rows from line {self.first_line} on cannot be read: {message}"
        ) from None

    def line_of(self, row: int, *, skipped: bytes = b" \t") -> int:
        """Return the line number of a row, counted from 0 among lines with characters other than `skipped`."""
        if self.dialect.has_quotes:
            lines = numbered_records(self.text, self.first_line)
        else:
            lines = list(enumerate(self.text.split(b"\n"), self.first_line))
        filled = [number for number, line in lines if line.strip(skipped)]
        return filled[min(row, len(filled) - 1)]

    def checked(self, column: Any, word: str, *, is_rating: bool) -> Any:
        """Validate a column; return ids unchanged, and ratings as an array of numbers."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = _trimmed(column)
        codes, names = column.indices.to_numpy(), column.dictionary
        if not is_rating:
            lengths = pc.utf8_length(names).to_numpy()
            wrong = np.flatnonzero((lengths == 0) | (lengths > LONGEST_ID))
            if len(wrong):
                complaint = f"the {word} is " + (
                    f"longer than {LONGEST_ID:,} characters" if lengths[wrong[0]] else "empty"
                )
                self._refuse(codes, wrong[0], complaint)
            return column
        try:
            numbers = pc.cast(names, pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            texts = names.to_pylist()
            may_have_commas = self.dialect.delimiter != "," and not any("." in text for text in texts)
            numbers = np.array([_number(text, may_have_commas) for text in texts])
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            self._refuse(
                codes, wrong[0], f"the {word} must be a finite number; got {shortened(names[wrong[0]].as_py())}"
            )
        return numbers[codes]

    def _refuse(self, codes: NDArray[Any], name: Any, complaint: str) -> None:
        raise MalformedFileError(self.source.path, self.line_of(int(np.flatnonzero(codes == name)[0])), complaint)


def _trimmed(column: Any) -> Any:
    """Remove whitespace around the values of a dictionary array, and merge equal values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column.dictionary)
    if trimmed.equals(column.dictionary):
        return column
    merged = trimmed.dictionary_encode()
    return pa.DictionaryArray.from_arrays(merged.indices.take(column.indices), merged.dictionary)


def _number(text: str, may_have_commas: bool) -> float:
    """Convert text to a number, or NaN if it is invalid; a comma may be a decimal point."""
    if may_have_commas and text.count(",") == 1:
        text = text.replace(",", ".")
    try:
        return math.nan if "_" in text else float(text)  # Python accepts 1_000
    except ValueError:
        return math.nan


def _joined_ids(chunks: list[Any]) -> IdColumn:
    """Number the distinct ids of all blocks."""
    import pyarrow as pa

    joined = pa.chunked_array(chunks).unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in joined.chunks]).astype(np.int64)
    return IdColumn(codes, np.array(joined.chunk(0).dictionary.to_pylist(), np.str_))
