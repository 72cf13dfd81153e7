"""Digests of code: equal for equal code, and different after a change in the file, an import or an argument."""

from __future__ import annotations

import ast
import gc
import sys
from pathlib import Path

import pytest

from etesian.bench import load_suite
from etesian.bench.source_code import _parse, code_digest
from etesian.bench.suites import suite_digest

FILE = """
import json
from typing import TYPE_CHECKING

from etesian.bench import Suite, Target
from {helper} import STEP

if TYPE_CHECKING:
    import only_for_types


class Count:
    def __init__(self, name, size=1):
        self.name, self._size = name, size

    def prepare(self, seed):
        from {late} import LATE
        self.k = LATE

    def advance(self):
        self.k += STEP
        return True

    def measure(self):
        return {{"k": self.k}}


suite = Suite("counts", [Count("a", size={size})], Target.parse("k>=3"))
"""


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a suite and the modules that it imports, and return the digest of its workload."""
    monkeypatch.setattr("sys.path", [*sys.path])

    def digest(*, size: int = 1, step: int = 1, late: int = 0, comment: str = "") -> str:
        (tmp_path / "helper_of_digest.py").write_text(f"STEP = {step}\n")
        (tmp_path / "late_of_digest.py").write_text(f"LATE = {late}\n")
        (tmp_path / "unrelated_of_digest.py").write_text(f"# {size}\n")
        text = FILE.format(helper="helper_of_digest", late="late_of_digest", size=size)
        (tmp_path / "counts.py").write_text(text + comment)
        return suite_digest(load_suite(str(tmp_path / "counts.py")))

    return digest


def test_equal_code_has_equal_digests(digest) -> None:
    assert digest() == digest()


@pytest.mark.parametrize("change", [{"size": 2}, {"step": 2}, {"late": 1}, {"comment": "# x"}])
def test_changes_of_file_import_and_argument_change_the_digest(digest, change) -> None:
    assert digest() != digest(**change)


class Kept:
    def __init__(self, name: str, sizes: tuple[int, ...] = (1,)) -> None:
        self.name, self.sizes = name, sizes


def test_a_digest_does_not_change_as_the_workload_runs() -> None:
    workload = Kept("a")
    before = code_digest(workload)
    workload.sizes = (9,)
    assert code_digest(workload) == before
    assert code_digest(Kept("a", (9,))) != before
    assert code_digest(Kept("a")) == before


def test_objects_without_arguments_have_digests() -> None:
    assert code_digest(object()) == code_digest(object())


def test_garbage_that_parses_code_when_it_is_finalized_does_no_harm():
    class Garbage:
        is_wanted = True

        def __init__(self):
            self.cycle = self

        def __del__(self):
            ast.parse("x")  # as a printed traceback does
            if Garbage.is_wanted:
                Garbage()

    path = Path(ast.__file__)
    thresholds = gc.get_threshold()
    Garbage()
    gc.set_threshold(1)
    try:
        assert ast.dump(_parse(path.read_bytes())) == ast.dump(_parse(path.read_bytes()))
    finally:
        Garbage.is_wanted = False
        gc.set_threshold(*thresholds)
    assert gc.isenabled()
