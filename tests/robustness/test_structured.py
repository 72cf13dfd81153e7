"""Structured hostile input: whatever JSON a record is, it is a run or an error of one line; whatever a model says, it fits."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from bench_fakes import make_run
from families import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian._shared.text import printable
from etesian.bench import InputError, Run, read_jsonl
from etesian.bench.address import StoreAddress, hide_credentials

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GOOD = make_run().as_dict()


@given(field=st.sampled_from(sorted(GOOD)), value=values)
@settings(max_examples=150, deadline=None)
def test_record_with_any_value_is_a_run_or_an_error(field: str, value: object) -> None:
    try:
        run = Run.from_dict({**GOOD, field: value})
    except ValueError:
        return
    assert repr(Run.from_dict(json.loads(json.dumps(run.as_dict(), allow_nan=False)))) == repr(run)


@given(line=st.text(max_size=60) | values.map(json.dumps))
@settings(max_examples=100, deadline=None)
def test_any_line_is_refused_with_the_file_and_the_line(line: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        path.write_bytes(
            (FIXTURES / "runs.jsonl").read_bytes() + line.replace("\n", " ").encode(errors="surrogatepass") + b"\n"
        )
        if line.replace("\n", " ").strip():
            with pytest.raises(InputError, match=r"r\.jsonl, line "):
                read_jsonl(path)
        else:
            assert read_jsonl(path)


@given(st.text())
def test_printable_text_controls_no_terminal(text: str) -> None:
    shown = printable(text, keep="")
    assert all(sign.isprintable() or (sign.isspace() and ord(sign) > 0x9F) for sign in shown)
    assert printable(shown, keep="") == shown
    shown.encode()


words = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=4, max_size=12)


@given(user=words, password=words, option=words)
def test_no_part_of_user_info_or_query_is_in_the_text_of_an_address(user: str, password: str, option: str) -> None:
    address = StoreAddress(f"postgresql://{user}:{password}@host.example:5432/runs?key={option}")
    for text in (str(address), repr(address), f"{address}"):
        shown = text.replace("postgresql", "").replace("host.example:5432/runs", "").replace("StoreAddress", "")
        assert not any(part in shown for part in (user, password, option))


@given(user=words, password=words)
def test_credentials_in_messages_are_hidden(user: str, password: str) -> None:
    password, user = (part.replace("'", "").replace('"', "") or "none" for part in (password, user))
    shown = hide_credentials(f"got postgresql://{user}:{password}@h/db")
    assert f"{user}:{password}" not in shown
