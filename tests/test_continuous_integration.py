"""Continuous integration: a missing program fails its tests, and a slower part fails the check of small benchmarks."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from etesian.bench import Store

ROOT = Path(__file__).parents[1]

SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="chromium is not on the PATH")
def test_browser():
    pass

def test_database():
    pytest.skip("PostgreSQL's server programs are not installed")

def test_device():
    pytest.skip("no CUDA device")
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", "3 skipped"), ("chromium", "2 skipped, 1 error"), ("chromium PostgreSQL", "1 failed, 1 skipped, 1 error")],
)
def test_skips_fail_where_the_program_is_required(required, outcome, tmp_path):
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    environment = os.environ | {"ETESIAN_REQUIRED": required, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome in done.stdout.splitlines()[-1], done.stdout + done.stderr


def slow_down(base, new, workload, factor):
    """Write the runs of a store to another one, with the times of one workload multiplied."""
    with Store(base, create=False) as stored, Store(new) as changed:
        for suite, run in stored.entries():
            scale = factor if run.workload == workload else 1.0
            points = tuple(dataclasses.replace(point, seconds=scale * point.seconds) for point in run.points)
            changed.add(dataclasses.replace(run, points=points), suite=suite)


def test_small_benchmark_of_each_part_is_checked(tmp_path, monkeypatch):
    from etesian.cli.github_check import main

    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ci_check

    ci_check.main(tmp_path)
    slow_down(tmp_path / "base.db", tmp_path / "slower.db", "decode", 2.0)
    environment = {
        "ETESIAN_BASE": str(tmp_path / "base.db"),
        "ETESIAN_NEW": str(tmp_path / "slower.db"),
        "ETESIAN_MARGIN": "1.5",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    assert main(environment) == 1
    summary = (tmp_path / "summary.md").read_text()
    assert [
        line.split(" | ")[1:3] for line in summary.splitlines() if line.startswith(("| \U0001f534", "| \u26aa"))
    ] == [
        ["sparse", "within the margin"],
        ["decode", "slower"],
        ["bench", "within the margin"],
    ]
    assert ".ci/check_benchmarks" in (ROOT / ".ci/run").read_text()
