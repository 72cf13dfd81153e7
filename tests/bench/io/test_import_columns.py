"""Tables with columns of any name, by hand; and tables that we write ourselves, read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from import_cases import CSV, LOSS, one_run, reasons, sort_out, write

from etesian.bench import InputError, Point, Run, StoredRun, Target
from etesian.bench.io import Columns, read_csv, read_parquet, write_csv, write_parquet

Write = Callable[[list[StoredRun], Path], int]


def test_rows_become_runs_by_workload_and_seed(tmp_path: Path) -> None:
    found = list(read_csv(write(tmp_path / "race.csv", CSV), target=LOSS))
    (adam, sgd), skipped, _ = sort_out(found)
    assert not skipped
    assert {item.suite for item in found if isinstance(item, StoredRun)} == {"race"}
    assert (adam.workload, adam.outcome, adam.seconds) == ("adam", "reached", 3.0)
    assert adam.points[0] == Point(1, 1.5, {"loss": 4.0, "accuracy": 0.1})
    assert adam.details == {"note": "first try"}
    assert (sgd.outcome, sgd.details) == ("exhausted", {})  # its notes differ from row to row


def test_columns_have_the_roles_that_they_are_given(tmp_path: Path) -> None:
    table = "who,try,ms,val,extra\nadam,a-1,500,4,1\nadam,a-1,1500,2,2\nadam,b-1,700,2,3\n"
    columns = Columns.parse(["workload=who", "run=try", "milliseconds=ms", "metric=val"])
    runs, skipped, _ = sort_out(
        read_csv(write(tmp_path / "t.csv", table), columns=columns, target=Target("val", 3, "at_most"))
    )
    assert not skipped
    assert [(run.workload, run.seconds) for run in runs] == [("adam", 1.5), ("adam", pytest.approx(0.7))]
    assert runs[0].seed != runs[1].seed
    assert [{*point.metrics} for point in runs[0].points] == [{"val"}, {"val"}]


def test_rows_without_the_targets_metric_are_left_out(tmp_path: Path) -> None:
    table = "seconds,loss,train_loss\n1,,4\n2,3.5,3.9\n3,,3.8\n4,2.9,3.7\n"
    run = one_run(read_csv(write(tmp_path / "t.csv", table), target=LOSS))
    assert [point.seconds for point in run.points] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "line 1 must name the columns; it is empty"),
        ("seconds,loss\n", "holds no rows"),
        ("loss,loss\n1,2\n", "column names must differ; got 'loss' twice"),
        ("seconds,loss\n1,2\n1,2,3\n", "line 3 must have 2 columns; it has 3"),
        ('seconds,loss\n1,"2\n', "unexpected end of data"),
        ("time,loss\n1,2\n", "has no column of times; name it by --column seconds=NAME; its columns are time, loss"),
        ("seconds,accuracy\n1,2\n", "has no metric 'loss'; its metrics are accuracy"),
        ("seconds,loss,seed\n1,2,1.5\n", "seed must be a whole number; got '1.5'"),
        ("seconds,loss,outcome\n1,4,reached\n", "outcome is 'reached', and no point stands at loss<=3.0"),
        ("seconds,loss,outcome\n1,4,won\n", "outcome must be one of reached,"),
        ("seconds,loss\n-1,4\n", "a time must be a number of seconds from 0 on; got -1.0"),
        ("seconds,loss\nsoon,4\n", "seconds of line 2 must be a number, a time such as 00:01:30"),
    ],
)
def test_table_that_cannot_be_read_is_skipped_with_line_and_reason(table: str, reason: str, tmp_path: Path) -> None:
    assert reason in reasons(read_csv(write(tmp_path / "t.csv", table), target=LOSS))[0]


def test_one_bad_run_does_not_affect_the_others(tmp_path: Path) -> None:
    table = "workload,seconds,loss\na,1,2\nb,never,2\nc,1,2\n"
    runs, (skipped,), _ = sort_out(read_csv(write(tmp_path / "t.csv", table), target=LOSS))
    assert [run.workload for run in runs] == ["a", "c"]
    assert "begins at line 3" in skipped.reason


def test_target_is_needed_from_somewhere(tmp_path: Path) -> None:
    assert "has no target; give one by --target" in reasons(read_csv(write(tmp_path / "t.csv", CSV)))[0]


@pytest.mark.parametrize("text", ["loss", "colour=x", "seconds="])
def test_unknown_roles_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--column takes ROLE=NAME with a role among suite"):
        Columns.parse([text])


ENTRIES = [
    StoredRun(
        "race",
        Run(
            workload="fast, she said",
            seed=2**40,
            target=LOSS,
            outcome="reached",
            points=(Point(0, 0.0, {"loss": 4.0, "acc": 0.1}), Point(3, 0.1 + 0.2, {"loss": 2.5, "acc": float("inf")})),
            budget_seconds=9.5,
            started="2026-01-01T00:00:00+00:00",
            task="t",
            organization="o",
            system="s",
        ),
    ),
    StoredRun("race", Run("slow", 0, LOSS, "out_of_time", (Point(1, 1.0, {"loss": 5.0}),), 1.0)),
    StoredRun("race", Run("broken", 1, LOSS, "failed", (), error="no\nidea")),
]


@pytest.mark.parametrize(
    ("write_table", "read", "name"), [(write_csv, read_csv, "t.csv"), (write_parquet, read_parquet, "t.parquet")]
)
def test_table_that_we_write_is_read_back_as_the_same_runs(
    write_table: Write, read: object, name: str, tmp_path: Path
) -> None:
    if name == "t.parquet":
        pytest.importorskip("pyarrow")
    assert write_table(ENTRIES, tmp_path / name) == 3
    assert callable(read)
    found = [item for item in read(tmp_path / name) if isinstance(item, StoredRun)]
    assert [item.suite for item in found] == ["race"] * 3
    for before, after in zip(ENTRIES, found, strict=True):
        expected = before.run.as_dict() | {"error": before.run.error and "no?idea"}
        assert after.run.as_dict() == expected  # line ends are control characters, which are replaced


def test_metric_named_like_a_column_is_refused(tmp_path: Path) -> None:
    run = Run("w", 0, Target("seed", 1), "reached", (Point(0, 1.0, {"seed": 2.0}),))
    with pytest.raises(InputError, match="a column 'seed' of its own"):
        write_csv([StoredRun("s", run)], tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


def test_damaged_parquet_is_skipped(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(ENTRIES, tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    for damaged in (content[:-9], b"PAR1", b"", content[:100] + b"\xff" * 40 + content[140:]):
        (tmp_path / "t.parquet").write_bytes(damaged)
        runs, skipped, _ = sort_out(read_parquet(tmp_path / "t.parquet"))
        assert runs or skipped
