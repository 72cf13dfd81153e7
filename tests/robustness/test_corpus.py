"""Inputs that once ended in a traceback, a hang or a wrong value, reduced to the bytes that matter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etesian.bench import InputError
from etesian.bench.io import Skipped

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
"""Each in a folder with the name of the family that reads it."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_input_is_read_or_refused_by_its_name(path: Path, tmp_path: Path) -> None:
    from families import RefusedError, send_request

    from etesian.bench import read_jsonl
    from etesian.bench.io import read_csv, read_hyperfine
    from etesian.decode.drafters.ngram_table import NgramTable
    from etesian.sparse.io import load_model, read_file

    readers = {
        "sparse": read_file,
        "models": load_model,
        "ngrams": NgramTable.load,
        "jsonl": read_jsonl,
        "csv": lambda place: list(read_csv(place)),
        "hyperfine": lambda place: list(read_hyperfine(place)),
    }
    if path.parent.name in ("csv", "hyperfine"):
        found = readers[path.parent.name](path)
        assert found
        assert all(isinstance(item, Skipped) and path.name in item.path for item in found)
    elif path.parent.name == "requests":
        with pytest.raises(RefusedError, match=r"^HTTP"):
            send_request(path.read_bytes())
    else:
        with pytest.raises(InputError, match=re.escape(path.name)):
            readers[path.parent.name](path)
