"""The scanner reads the same numbers as Python, for any block boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etesian.sparse.io import MalformedFileError, source
from etesian.sparse.io.numbers import Layout, scan_numbers
from etesian.sparse.io.source import Source

shared = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

written = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"[-+]?[0-9]{1,20}\.[0-9]{0,25}", fullmatch=True),
    st.sampled_from(["0", "-0", "+5", ".5", "5.", "1e3", "2E-3", "9007199254740993", "0.30000000000000004"]),
)
tables = st.lists(st.lists(written, max_size=4), max_size=12)


def scanned(path: Path, layout: Layout) -> list[list[float]]:
    rows: list[list[float]] = []
    for block in scan_numbers(Source(path), layout):
        assert block.first_line == len(rows) + 1
        rows += [list(row) for row in np.split(block.values, np.cumsum(block.counts)[:-1])]
    return rows


@given(table=tables, block=st.integers(1, 60), end=st.sampled_from(["\n", "\r\n"]), ends_in_newline=st.booleans())
@shared
def test_numbers_are_those_that_python_reads(tmp_path, monkeypatch, table, block, end, ends_in_newline):
    monkeypatch.setattr(source, "BLOCK", block)
    text = end.join("  ".join(row) for row in table) + end * ends_in_newline
    (tmp_path / "a").write_bytes(text.encode())
    expected = [[float(number) for number in line.split()] for line in text.splitlines()]
    assert repr(scanned(tmp_path / "a", Layout())) == repr([[np.float64(x) for x in row] for row in expected])


@given(
    table=st.lists(st.lists(written, min_size=2, max_size=4), min_size=1, max_size=12),
    delimiter=st.sampled_from([",", "::", "\t"]),
)
@shared
def test_first_columns_are_read_and_the_others_may_be_anything(tmp_path, table, delimiter):
    (tmp_path / "a").write_text("".join(delimiter.join([*row, " a film, 1995 "]) + "\n" for row in table))
    expected = [[float(number) for number in row[:2]] for row in table]
    assert scanned(tmp_path / "a", Layout(delimiter, n_columns=2)) == expected


@pytest.mark.parametrize(
    ("text", "layout", "complaint"),
    [
        ("1 2\n\n3 x4\n", Layout(), "a:3: 'x4' is not a number"),
        ("1 2\n3 1_000\n", Layout(), "a:2: '1_000' is not a number"),
        ("1,2\n3,,4\n", Layout(","), "a:2: a number is missing between two delimiters"),
        ("1,2\n,3\n", Layout(","), "a:2: a number is missing"),
        ("1,2\n3, ,4\n", Layout(","), "a:2: a number is missing"),
        ("1,2\n3 4,5\n", Layout(","), "a:2: '3 4' is not a number"),
        ("1 2\n3 4\0\n", Layout(), "a:2: contains a zero byte"),
        ("1 2\n--3 4\n", Layout(), "a:2: '--3' is not a number"),
        ("1 2\n1.2.3 4\n", Layout(), "a:2: '1.2.3' is not a number"),
        ("1 2\n- 4\n", Layout(), "a:2: '-' is not a number"),
    ],
)
def test_invalid_number_is_reported_with_its_line(tmp_path, monkeypatch, text, layout, complaint):
    monkeypatch.chdir(tmp_path)
    Path("a").write_text(text)
    with pytest.raises(MalformedFileError) as caught:
        list(scan_numbers(Source(Path("a")), layout))
    assert str(caught.value).startswith(complaint)


def test_comments_and_placeholders_are_ignored(tmp_path):
    (tmp_path / "a").write_text("# 9 9\n1 2 {}\n% 8\n\n3 4 {} # 7\n")
    assert scanned(tmp_path / "a", Layout(comments="#%", filler="{}")) == [[], [1, 2], [], [], [3, 4]]
