"""Exports for other tools: entries that never arrive have no number, and no cell is run as a formula."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from import_cases import LOSS, sort_out

from etesian.bench import Point, Run, StoredRun, Target
from etesian.bench.io import (
    exporter,
    read_benchopt,
    read_csv,
    write_benchopt,
    write_csv,
    write_dawnbench,
    write_github_action_benchmark,
    write_github_summary,
    write_parquet,
)
from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.io._reading.rows import parquet_rows


def entry(workload: str, seconds: float, seed: int, *, suite: str = "race", arrives: bool = True) -> StoredRun:
    points = (Point(0, 0.0, {"loss": 9.0}), Point(1, seconds, {"loss": 1.0 if arrives else 8.0}))
    return StoredRun(suite, Run(workload, seed, LOSS, "reached" if arrives else "exhausted", points))


RUNS = [entry("fast", 10.0 + seed, seed) for seed in range(5)] + [
    entry("slow", 99.0, seed, arrives=False) for seed in range(5)
]


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-cmd", "@sum", "'=x", "''+y", "plain", "it's"])
def test_cells_that_begin_like_a_formula_are_text_and_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    write_csv([entry(name, 10.0, 0, suite=name)], tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        for cells in csv.reader(file):
            assert not any(cell[:1] in ("=", "+", "-", "@", "\t") for cell in cells)
    (run,) = sort_out(read_csv(tmp_path / "t.csv"))[0]
    assert run.workload == name


@pytest.mark.parametrize("name", ["..", ".", "../../up", "x" * 5000, "\u00e9" * 300, "a/b", "/", "\U0001f600" * 300])
def test_names_stay_inside_the_folder_of_an_export(name: str, tmp_path: Path) -> None:
    runs = [entry(name, 9.0, seed, suite=name) for seed in range(2)]
    entries = runs + [StoredRun(suite, replace(run, task=name)) for suite, run in runs]
    (tmp_path / "out").mkdir()
    assert write_dawnbench(entries, tmp_path / "out/folder") == 4
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["folder"]
    assert len(list((tmp_path / "out/folder").rglob("*.tsv"))) == 4


def test_carriage_return_in_a_name_does_not_start_a_row(tmp_path: Path) -> None:
    write_csv([entry("a\r=1+1,b", 9.0, 0)], tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not any(cell.startswith("=") for row in rows for cell in row)
    (found,) = read_csv(tmp_path / "r.csv")
    assert isinstance(found, StoredRun)
    assert found.run.workload.endswith("=1+1,b")


def test_metric_named_like_a_formula_is_text_too(tmp_path: Path) -> None:
    target = Target("@loss", 3.0, "at_most")
    run = Run("a", 0, target, "reached", (Point(1, 5.0, {"@loss": 1.0}),))
    write_csv([StoredRun("s", run)], tmp_path / "t.csv")
    assert "'@loss" in (tmp_path / "t.csv").read_text().splitlines()[0]
    (again,) = sort_out(read_csv(tmp_path / "t.csv"))[0]
    assert (again.target, again.points) == (target, run.points)


def test_github_action_benchmark_has_medians_and_leaves_out_what_never_arrives(tmp_path: Path) -> None:
    assert write_github_action_benchmark(RUNS, tmp_path / "b.json") == 5
    (benchmark,) = json.loads((tmp_path / "b.json").read_text())
    assert (benchmark["name"], benchmark["unit"], benchmark["value"]) == ("race/fast (loss<=3.0)", "s", 12.0)
    assert benchmark["extra"] == "5 of 5 runs reached loss<=3.0"


def test_github_summary_is_a_table_whose_names_are_escaped(tmp_path: Path) -> None:
    odd = [entry("a|b <img src=x> [link](http://x)", 10.0, seed) for seed in range(5)]
    assert write_github_summary([*RUNS, *odd], tmp_path / "s.md") == 15
    text = (tmp_path / "s.md").read_text()
    assert "| fast | 5 | 5 | 12 s |" in text
    assert "| slow | 5 | 0 | never |" in text
    assert "a&#124;b &lt;img src=x&gt; &#91;link&#93;(http://x)" in text
    assert all(line.count("|") - line.count(r"\|") == 6 for line in text.splitlines() if line.startswith("|"))


def test_benchopt_file_is_read_back_as_the_same_curves(tmp_path: Path) -> None:
    assert write_benchopt(RUNS, tmp_path / "b.parquet") == 10
    runs, skipped, _ = sort_out(read_benchopt(tmp_path / "b.parquet", target=Target("objective_value", 3.0, "at_most")))
    assert not skipped
    assert [(run.workload, run.seconds) for run in runs[:2]] == [("fast", 10.0), ("fast", 11.0)]
    assert [run.outcome for run in runs].count("exhausted") == 5


def test_exporters_are_registered() -> None:
    assert exporter("github-action-benchmark") is write_github_action_benchmark
    assert exporter("github-summary") is write_github_summary
    assert exporter("benchopt") is write_benchopt


def test_any_flipped_bit_of_a_parquet_file_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    write_parquet(RUNS, path)
    good, expected = path.read_bytes(), repr(parquet_rows(path))
    rng = np.random.default_rng(0)
    n_refused = 0
    for place in rng.integers(0, len(good), 300):
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << rng.integers(8))]) + good[place + 1 :])
        try:
            assert repr(parquet_rows(path)) == expected, place
        except UnreadableError:
            n_refused += 1
    assert n_refused > 100


def test_pages_of_parquet_files_have_checksums(tmp_path: Path) -> None:
    """The checksum is that of the format, so that other readers verify it too."""
    from pyarrow import parquet

    path = tmp_path / "runs.parquet"
    write_parquet(RUNS, path)
    good = path.read_bytes()
    start = parquet.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset + 40
    path.write_bytes(good[:start] + bytes([good[start] ^ 1]) + good[start + 1 :])
    with pytest.raises(OSError, match=r"CRC|could not verify|Unexpected end of stream"):
        parquet.ParquetFile(path, page_checksum_verification=True).read()


def test_interval_of_too_few_runs_is_not_called_one_of_95_percent(tmp_path: Path) -> None:
    few = [entry("few", 10.0 + seed, seed) for seed in range(3)]
    write_github_action_benchmark(few, tmp_path / "g.json")
    (benchmark,) = json.loads((tmp_path / "g.json").read_text())
    assert benchmark["range"] == "10 to 12 (too few runs for a 95% interval; it requires 5)"
    write_github_summary(few, tmp_path / "g.md")
    assert "| 11 s | 10 s to 12 s† |" in (tmp_path / "g.md").read_text()
    assert "†: too few runs for a 95% interval; it requires 5." in (tmp_path / "g.md").read_text()
    write_github_summary(RUNS, tmp_path / "g.md")
    assert "†" not in (tmp_path / "g.md").read_text()
