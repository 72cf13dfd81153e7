"""`etesian bench import` and `export`: counts, reasons and exit codes; nothing dropped in silence, nothing half written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Result, run_command
from import_cases import CSV, DAWNBENCH_JSON, DAWNBENCH_TSV, MLPERF_V07, SPEEDRUN, sort_out, write

from etesian.bench import InputError, Store, StoredRun
from etesian.bench.io import read_dawnbench


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def etesian(*arguments: str, code: int = 0) -> Result:
    result = run_command("bench", *arguments)
    assert result.exit_code == code, result.output
    return result


def logs(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "result_0.txt", MLPERF_V07)
    write(tmp_path / "logs" / "result_1.txt.gz", MLPERF_V07)
    write(tmp_path / "logs" / "notes.md", "")


def test_import_reports_stored_and_unread_files(tmp_path: Path) -> None:
    logs(tmp_path)
    said = etesian("import", "mlperf", "logs", "--store", "a.db").stderr
    assert "not read: logs/notes.md does not match this format by its name" in said
    assert "added 2 runs to a.db; 0 were already there; 0 skipped" in said
    assert "added 0 runs to a.db; 2 were already there" in etesian("import", "mlperf", "logs", "--store", "a.db").stderr


def test_skipped_file_is_named_with_its_reason_and_the_exit_code_is_one(tmp_path: Path) -> None:
    logs(tmp_path)
    write(tmp_path / "logs" / "result_2.txt", "not a log\n")
    result = etesian("import", "mlperf", "logs", "--store", "a.db", "--json", code=1)
    assert "skipped logs/result_2.txt: holds no line of an MLPerf log" in result.stderr
    report = json.loads(result.stdout)
    assert (report["added"], [item["path"] for item in report["skipped"]]) == (2, ["logs/result_2.txt"])
    with Store("a.db", create=False) as store:
        assert len(store.runs()) == 2


def test_run_that_differs_from_a_stored_one_is_skipped_alone(tmp_path: Path) -> None:
    logs(tmp_path)
    etesian("import", "mlperf", "logs", "--store", "a.db")
    write(tmp_path / "logs" / "result_0.txt", MLPERF_V07.replace("0.5,", "0.6,"))
    write(tmp_path / "logs" / "result_3.txt", MLPERF_V07)
    said = etesian("import", "mlperf", "logs", "--store", "a.db", code=1).stderr
    assert "skipped mlperf-resnet, result_0, seed 0: a.db already holds a run" in said
    assert "added 1 runs to a.db; 1 were already there; 1 skipped" in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("import dawnbench none", "there is no file or folder none"),
        ("import mlperf .", "holds no log (result_*.txt"),
        ("import csv runs.csv --column colour=x", "--column takes ROLE=NAME"),
        ("import csv runs.csv --target loss", "--target: a target reads like"),
        ("import mlflow . --target loss<=3", "holds no experiment of MLflow"),
    ],
)
def test_invalid_arguments_create_no_store(command: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "runs.csv", CSV)
    assert message in etesian(*command.split(), "--store", "a.db", code=2).stderr
    assert not (tmp_path / "a.db").exists()


def test_every_format_has_its_command(tmp_path: Path) -> None:
    write(tmp_path / "runs.csv", CSV)
    write(tmp_path / "log.txt", SPEEDRUN)
    etesian("import", "csv", "runs.csv", "--target", "loss<=3", "--suite", "mine", "--store", "a.db")
    etesian("import", "speedrun", "log.txt", "--store", "a.db")
    with Store("a.db", create=False) as store:
        assert {entry.suite for entry in store.entries()} == {"mine", "speedrun"}
    offered = etesian("import", "--help").stdout
    for name in (
        "algoperf",
        "csv",
        "dawnbench",
        "jsonl",
        "mlflow",
        "mlperf",
        "parquet",
        "speedrun",
        "tensorboard",
        "wandb",
    ):
        assert name in offered


def test_exported_table_is_imported_as_the_same_runs(tmp_path: Path) -> None:
    write(tmp_path / "log.txt", SPEEDRUN)
    etesian("import", "speedrun", "log.txt", "--store", "a.db")
    assert "wrote 1 runs to t.csv" in etesian("export", "a.db", "t.csv").stderr
    etesian("import", "csv", "t.csv", "--store", "b.db")
    with Store("a.db") as first, Store("b.db") as second:
        (before,), (after,) = first.entries(), second.entries()
    assert (after.suite, after.run.points, after.run.target) == (before.suite, before.run.points, before.run.target)


def test_dawnbench_files_that_we_write_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "in" / "CIFAR10" / "fast.json", DAWNBENCH_JSON)
    write(tmp_path / "in" / "CIFAR10" / "fast.tsv", DAWNBENCH_TSV)
    write(tmp_path / "in" / "SQuAD" / "quick.json", '{"latency": 7.5, "cost": 1e-5, "f1Score": 0.8}')
    etesian("import", "dawnbench", "in", "--store", "a.db")
    etesian("export", "a.db", "out", "--format", "dawnbench")
    before, after = (
        {e.suite: e.run for e in read_dawnbench(folder) if isinstance(e, StoredRun)} for folder in ("in", "out")
    )
    assert before.keys() == after.keys()
    for suite, run in before.items():
        assert (after[suite].workload, after[suite].outcome) == (run.workload, run.outcome)
        assert after[suite].seconds == pytest.approx(run.seconds)
        assert [p.metrics for p in after[suite].points] == [p.metrics for p in run.points]
        assert after[suite].details["cost_per_hour"] == pytest.approx(run.details["cost_per_hour"])
    assert "out already exists" in etesian("export", "a.db", "out", "--format", "dawnbench", code=2).stderr
    assert not sort_out(read_dawnbench("out"))[1]


def test_broken_importer_disables_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from etesian.bench import io
    from etesian.cli import bench_transfer

    def fail(name: str) -> None:
        raise InputError(f"importer {name!r} cannot be loaded")

    monkeypatch.setattr(io, "importer", fail)
    with pytest.raises(InputError, match="importer 'broken' cannot be loaded"):
        bench_transfer._import_command("broken")("path")
