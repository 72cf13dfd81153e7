"""Names are data in every output, and records that no store can hold are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_fakes import make_run
from command_line import run_command

from etesian._shared.text import printable
from etesian.bench import Run, Store, StoredRun, Target, analyze, write_jsonl
from etesian.bench.report import write_report

NAMES = [
    "adam [lr=0.1]",
    "a [/] b",
    "\x1b[31mred\x1b]0;x\x07",
    "[bold]x[/bold]",
    "<b>&amp;",
    "日本語 é",
    "same" * 40,
    "a\u202eb\u2066c",
]


def stored(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "s.db"
    runs = [make_run(workload, seed) for workload in (name, f"{name} too") for seed in range(3)]
    with Store(path) as store:
        store.add_all([StoredRun("names", run) for run in runs])
    return path


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_whole_and_without_control_characters(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path, name)
    shown = printable(name)
    for command in ("show", "analyze"):
        done = run_command("bench", command, str(path), env={"COLUMNS": "400"})
        assert done.exit_code == 0, done.stderr
        assert shown in done.stdout
        assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_names_make_a_page(tmp_path: Path, name: str) -> None:
    page = write_report([make_run(workload) for workload in (name, f"{name} too")], tmp_path / "r.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert list(data["marks"]) == [name, f"{name} too"]
    shown = page.split('id="data">')[0]
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(shown)
    assert "<b>&" not in shown


def odd(**changes: object) -> dict[str, object]:
    return {**make_run().as_dict(), **changes}


def points(*seconds: float) -> list[dict[str, object]]:
    return [{"slices": k, "seconds": s, "metrics": {"loss": 3.0}} for k, s in enumerate(seconds)]


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (odd(seed=10**30), "seed must fit into 64 bits"),
        (odd(seed=-(2**63) - 1), "seed must fit into 64 bits"),
        (odd(points=points(10**400)), "seconds is too large for a number; got 1000"),
        (odd(budget_seconds=10**400), "budget_seconds is too large"),
        (odd(workload="\ud800"), "workload must be valid Unicode text"),
        (odd(system="\udfff"), "system must be valid Unicode text"),
        (odd(points=points(0.0, 5.0, 3.0)), "must not decrease within a run.*got 3.0 after 5.0"),
        (odd(points=points(-1.0)), "start at 0 or later; got -1.0"),
    ],
)
def test_records_that_no_store_can_hold_are_refused(record: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Run.from_dict(record)


def test_a_time_has_no_negative_bound() -> None:
    runs = [
        make_run(seed=k, points=(make_run().points[0], type(make_run().points[1])(1, s, {"loss": 3.0})))
        for k, s in enumerate((1.0, 1.5, 90.0, 1.2, 0.8))
    ]
    (entry,) = analyze(runs).races[0].entries
    for estimate in (entry.expected_running_time, entry.mean, entry.median, entry.restricted_mean):
        assert estimate.low is None or estimate.low >= 0


def test_targets_of_json_lines_survive(tmp_path: Path) -> None:
    write_jsonl([StoredRun("s", make_run(target=Target("loss", 3.28, "at_most")))], tmp_path / "a.jsonl")
    assert run_command("bench", "analyze", str(tmp_path / "a.jsonl")).exit_code == 0
