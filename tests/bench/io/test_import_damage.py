"""No file brings an importer down: whatever is cut off, flipped or inserted, there are runs or a reason, never an error."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_cases import SAMPLES, sort_out

from etesian.bench import InputError


@pytest.mark.parametrize("name", SAMPLES)
def test_whole_sample_is_read(name: str, tmp_path: Path) -> None:
    write_sample, read = SAMPLES[name]
    write_sample(tmp_path)
    runs, skipped, _ = sort_out(read(tmp_path))
    assert runs
    assert not [item for item in skipped if "database" not in name]


def mangled(content: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes flipped, or with a piece taken out, doubled or put in."""
    place, other = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    piece = rng.choice(
        [b"", b"\0", b"\xff\xfe", b"NaN", b"1e999", b'"', b"{" * 3000, b"-1", b"\n\n", b"\xf0\x9f\x98\x80"]
    )
    choice = rng.randrange(5)
    if choice == 0:
        return content[:place]
    if choice == 1:
        return content[:place] + piece + content[place:]
    if choice == 2:
        return content[:place] + content[other:]
    if choice == 3:
        return content[:other] + content[place:]
    flipped = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_mangled_file_gives_runs_or_a_reason_and_never_an_error(name: str, seed: int) -> None:
    write_sample, read = SAMPLES[name]
    folder = Path(tempfile.mkdtemp(prefix="etesian-mangled-"))
    try:
        file = write_sample(folder)
        file.write_bytes(mangled(file.read_bytes(), random.Random(seed)))
        try:
            runs, skipped, _ = sort_out(read(folder))
        except InputError:
            assert name == "mlflow database"  # there is nothing in it to skip
        else:
            assert runs or skipped
            assert all(item.reason and item.reason.isprintable() for item in skipped)
    finally:
        shutil.rmtree(folder)
