"""JSON Lines that are valid JSON and no runs: each is refused by file and line, without a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command
from import_cases import write

from etesian.bench import InputError, read_jsonl
from etesian.bench.io import jsonl


def line(points: list[tuple[float, float]] | None = None, **changes: Any) -> str:
    curve = [(0.0, 9.0), (10.0, 0.5)] if points is None else points
    data = {
        "format_version": 1,
        "suite": "s",
        "workload": "a",
        "seed": 0,
        "target": {"metric": "loss", "threshold": 1.0, "direction": "at_most"},
        "outcome": "reached",
        "points": [{"slices": k, "seconds": t, "metrics": {"loss": v}} for k, (t, v) in enumerate(curve)],
    }
    return json.dumps(data | changes) + "\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "is nested too deeply"),
        (line().replace('"seconds": 10.0', '"seconds": 1' + "0" * 400), "is too large for a number"),
        (line().replace('"seconds": 10.0', '"seconds": 1' + "0" * 5000), "Exceeds the limit"),
        (
            line().replace('"seconds": 10.0', '"seconds": 1e999'),
            "got inf after 0.0",
        ),
        (line().replace('"threshold": 1.0', '"threshold": 1' + "0" * 400), "is too large for a number"),
        (line(seed=10**30), "seed must fit into 64 bits"),
        (line(seed=-(10**30)), "seed must fit into 64 bits"),
        (line().replace('"slices": 1', '"slices": 1' + "0" * 30), "slices must be whole numbers from 0 on"),
        (line().replace('"workload": "a"', '"workload": "\\ud800"'), "must be valid Unicode text"),
        (line(details={"x": ["\udfff"]}), "the lone surrogate \\udfff"),
        (line(suite="\ud800"), "'suite' must be valid Unicode text; got the lone surrogate \\ud800"),
        (line().replace('{"loss"', '{"\\ud801"'), "a name must be valid Unicode text"),
        (line(workload="a\0b"), "'workload' must not contain NUL characters"),
        (line(details={"x": [["a\0b"]]}), "'x' must not contain NUL characters"),
        (line([(0.0, 9.0), (5.0, 4.0), (3.0, 0.5)]), "seconds must not decrease within a run"),
        (line([(-1.0, 9.0), (5.0, 0.5)]), "got -1.0 after 0.0"),
        (line(budget_seconds=-3), "budget_seconds must be a positive number"),
    ],
)
def test_invalid_line_is_refused_by_file_and_number(content: str, reason: str, tmp_path: Path) -> None:
    file = write(tmp_path / "runs.jsonl", line(workload="first") + content)
    with pytest.raises(InputError) as caught:
        read_jsonl(file)
    assert reason in str(caught.value)
    assert f"{file}, line 2" in str(caught.value)
    result = run_command("bench", "import", "jsonl", file, "--store", tmp_path / "s.db")
    assert result.exit_code == 2
    assert not (tmp_path / "s.db").exists()


def test_backslash_before_u0000_is_text(tmp_path: Path) -> None:
    (entry,) = read_jsonl(write(tmp_path / "runs.jsonl", line(details={"x": "a\\u0000"})))
    assert entry.run.details == {"x": "a\\u0000"}


def test_long_line_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_RUN_BYTES", 1000)
    file = write(tmp_path / "runs.jsonl", line() + line(details={"x": "y" * 2000}))
    with pytest.raises(InputError, match="line 2 is larger than 1,000 bytes"):
        read_jsonl(file)


def test_folders_and_devices_are_refused_as_files(tmp_path: Path) -> None:
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="neither a regular file nor a folder"):
        read_jsonl(tmp_path / "zero.jsonl")
    with pytest.raises(InputError, match="is a folder; give a JSON Lines file"):
        read_jsonl(tmp_path)


def test_compressed_lines_are_read(tmp_path: Path) -> None:
    assert read_jsonl(write(tmp_path / "runs.jsonl.gz", line()))[0].run.seconds == 10.0
