"""The long runs of robustness resume where they stopped, and the page shows their figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "robustness"))

import exactness
import fuzz
import what_is_tested


def test_fuzzing_is_resumed_with_other_inputs(tmp_path):
    arguments = ["--out", str(tmp_path), "--families", "N-gram files"]
    fuzz.main([*arguments, "--inputs", "20"])
    (found,) = fuzz.main([*arguments, "--inputs", "50"])
    assert found["inputs"] == found["read"] + found["refused"] == 50
    assert found["failures"] == []
    assert json.loads((tmp_path / "records.json").read_text())["results"] == [found]
    assert "| N-gram files | 1 | 50 |" in (tmp_path / "table.md").read_text()


def test_exactness_is_resumed_and_counts_parallel_runs(tmp_path):
    pytest.importorskip("torch")
    exactness.main(["--out", str(tmp_path), "--problems", "1", "--requests", "1"])
    records = exactness.main(["--out", str(tmp_path), "--problems", "2", "--requests", "1"])
    numbers = [(record["part"], record["number"]) for record in records]
    assert numbers == [("decoding", 0)] + 3 * [("sparse", 0)] + 2 * [("sparse", 1)]
    assert sum(record["different"] for record in records) == 0
    shared = [record["shared"] for record in records if record["schedule"] == "levels"]
    assert all(count >= 2 for count in shared)


def test_exactness_would_see_another_order(monkeypatch, tmp_path):
    fit = exactness.fit
    monkeypatch.setattr(exactness, "fit", lambda problem, schedule, n, seed: fit(problem, schedule, n, seed + n))
    (found, *_) = exactness.sparse_records(range(1))
    assert found["different"] == 3


def test_page_shows_the_newest_records(tmp_path):
    for day in ("2026-01-01", "2026-01-02"):
        (folder := tmp_path / f"{day}_fuzz").mkdir()
        (folder / "table.md").write_text(f"| {day} |\n")
    page = "a\n<!-- fuzz: begin -->\nold\n<!-- fuzz: end -->\nb\n"
    changed = what_is_tested.with_figures(page, tmp_path)
    assert "| 2026-01-02 |" in changed
    assert "old" not in changed
    assert what_is_tested.with_figures(changed, tmp_path) == changed


def test_page_agrees_with_the_records():
    page = what_is_tested.PAGE.read_text()
    assert what_is_tested.with_figures(page, what_is_tested.RESULTS) == page
