"""The benchmark of the analysis runs at toy size, on runs of which some arrive and some do not."""

from __future__ import annotations

import json

from analyze_runs import made_runs
from analyze_runs import main as analyze_runs


def test_it_prints_the_seconds_of_each_part(capsys):
    analyze_runs(["--entries", "2", "--runs", "3", "--points", "5", "--rounds", "1"])
    report = json.loads(capsys.readouterr().out)
    assert (report["runs"], len(report["seconds_to_analyze"])) == (6, 3)


def test_runs_are_made_from_a_seed_and_end_in_both_ways():
    runs = made_runs(2, 20, 10)
    assert {run.outcome for run in runs} == {"reached", "exhausted"}
    assert made_runs(2, 20, 10) == runs != made_runs(2, 20, 10, seed=1)
