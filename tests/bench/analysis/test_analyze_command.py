"""`etesian bench analyze`: what it prints, where, and with which exit code."""

from __future__ import annotations

import json

import pytest
from command_line import run_command as run_etesian
from races_by_hand import ACCURACY, climbs, curve

from etesian.bench import Store, StoredRun, Target, analyze, write_jsonl
from etesian.bench.report import caveats


def run_command(*arguments):
    return run_etesian("bench", "analyze", *arguments, env={"COLUMNS": "160"})


def as_json(analysis):
    return json.loads(json.dumps({**analysis.as_dict(), "caveats": caveats(analysis)}))


@pytest.fixture
def stored():
    runs = [
        *climbs([20, 22, 24, 21, 23], workload="a", system="x"),
        *climbs([10, 11, 12, 10.5, 9], workload="b", system="y"),
        curve([0.1, 0.2], workload="b", system="y", seed=9, outcome="exhausted"),
    ]
    return [StoredRun("race", run) for run in runs]


@pytest.fixture
def jsonl(stored, tmp_path):
    path = tmp_path / "runs.jsonl"
    write_jsonl(stored, path)
    return path


def test_json_is_the_analysis_and_nothing_else(stored, jsonl):
    done = run_command(jsonl, "--json", "--seed", 3, "--price", 36)
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == as_json(analyze(stored, seed=3, price=36.0))


def test_stores_and_files_give_the_same(stored, jsonl, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        store.add_all(stored)
    assert run_command(tmp_path / "runs.db", "--json").stdout == run_command(jsonl, "--json").stdout


def test_options_reach_the_analysis(stored, jsonl):
    done = run_command(
        *(jsonl, "--json", "--target", "accuracy>=0.9", "--target", "accuracy>=0.99", "--rule", "stays_above"),
        *("--mlperf-rule", "--baseline", "a", "--price", "a=36", "--price", "b=72", "--watts", "50", "--level", "0.9"),
    )
    asked = {
        "targets": [ACCURACY, Target("accuracy", 0.99)],
        "rule": "stays_above",
        "mlperf_rule": True,
        "baseline": "a",
        "price": {"a": 36.0, "b": 72.0},
        "watts": 50.0,
        "level": 0.9,
    }
    assert json.loads(done.stdout) == as_json(analyze(stored, **asked))


def test_tables_tell_who_is_ahead_and_what_is_amiss(jsonl):
    done = run_command(jsonl)
    assert done.exit_code == 0
    for part in ("accuracy>=0.9", "P(fastest)", "5 of 6", "Time relative to b", "p (log-rank)", "Caveats"):
        assert part in done.stdout
    assert "b: 5 of 6 runs reached the target (1 never)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--target", "accuracy"], "--target: a target reads like"),
        (["--target", "loss<=3"], "no run has the metric 'loss'; known: accuracy"),
        (["--rule", "often"], 'Invalid value "often" for --rule'),
        (["--price", "much"], "--price takes a number; got 'much'"),
        (["--price", "1", "--price", "2"], "--price takes one number for all, or ENTRY=NUMBER for each"),
        (["--level", "95"], "level must lie between 0 and 1"),
        (["--baseline", "c"], "baseline must be an entry; got 'c', and there are a, b"),
        (["--suite", "other"], "holds no runs of the suite other"),
    ],
)
def test_mistakes_end_with_2_and_one_line(jsonl, arguments, complaint):
    done = run_command(jsonl, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_sources_that_are_none_are_refused(tmp_path):
    missing = run_command(tmp_path / "none.db")
    assert (missing.exit_code, "there is no store at" in missing.stderr) == (2, True)
    (tmp_path / "text.jsonl").write_text("no run\n")
    damaged = run_command(tmp_path / "text.jsonl")
    assert (damaged.exit_code, "line 1" in damaged.stderr) == (2, True)
