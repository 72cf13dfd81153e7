"""`check_runs` and `etesian bench check`: verdicts, exit codes, Markdown and every kind of input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command

from etesian.bench import InputError, Point, Run, Store, StoredRun, Target, write_jsonl
from etesian.bench.regression import check_runs, recommended_runs
from etesian.bench.report.check_tables import check_markdown

DONE = Target("done", 1.0)


def timed(seconds, *, name="work", start="2026-01-01", side=0, unit=1.0):
    """Runs of fixed work, the base and the new ones interleaved by their start times."""
    return [
        Run(
            name,
            1000 * side + k,
            DONE,
            "reached",
            (Point(1, unit * float(s), {"done": 1.0}),),
            started=f"{start}T00:{k:02d}:{30 * side:02d}",
        )
        for k, s in enumerate(seconds)
    ]


def noise(seed, count=10, spread=0.01):
    return np.exp(spread * np.random.default_rng(seed).normal(size=count))


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(1.2, 0.01, "slower"), (0.8, 0.01, "faster"), (1.0, 0.01, "within the margin"), (1.05, 0.05, "undecided")],
)
def test_verdicts(factor, spread, verdict):
    base, new = timed(noise(0, spread=spread)), timed(factor * noise(1, spread=spread), side=1)
    (entry,) = check_runs(base, new).entries
    assert entry.verdict == verdict
    assert entry.ratio.value == pytest.approx(factor, rel=3 * spread)


def test_few_runs_are_undecided_and_the_number_needed_is_given():
    (entry,) = check_runs(timed([1, 1.1]), timed([2, 2.1], side=1)).entries
    assert (entry.verdict, entry.runs_needed) == ("undecided", 4)


def test_undecided_entries_need_more_runs_than_they_have():
    (entry,) = check_runs(timed(noise(0, spread=0.05)), timed(1.07 * noise(1, spread=0.05), side=1)).entries
    assert entry.verdict == "undecided"
    assert entry.runs_needed is None or entry.runs_needed > 10


def test_runs_that_do_not_finish_are_slower():
    failed = [Run("work", 50 + k, DONE, "failed", (), error="crash") for k in range(10)]
    (entry,) = check_runs(timed(noise(0)), failed).entries
    assert entry.verdict == "slower"


def test_entries_of_one_side_only_are_named():
    base, new = timed(noise(0)) + timed([1] * 5, name="gone"), timed(noise(1), side=1) + timed([1] * 5, name="fresh")
    found = check_runs(base, new)
    assert (found.missing, found.added) == (("gone",), ("fresh",))


def test_intervals_of_many_entries_hold_jointly():
    def sides(count):
        names = [f"e{k}" for k in range(count)]
        base = [run for k, name in enumerate(names) for run in timed(noise(k), name=name)]
        new = [run for k, name in enumerate(names) for run in timed(noise(100 + k), name=name, side=1)]
        return check_runs(base, new).entries[0].ratio

    one, many = sides(1), sides(10)
    assert many.high / many.low > one.high / one.low


def test_runs_that_were_not_interleaved_are_a_caveat():
    apart = check_runs(timed(noise(0)), timed(noise(1), start="2026-01-02", side=1))
    assert any("not interleaved" in each for each in apart.caveats)
    assert check_runs(timed(noise(0)), timed(noise(1), side=1)).caveats == ()


def test_a_slowdown_of_a_tenth_is_found_with_the_recommended_number_of_runs():
    rng, count = np.random.default_rng(1), recommended_runs(0.03)
    found = [
        check_runs(
            timed(np.exp(0.03 * rng.normal(size=count))), timed(1.1 * np.exp(0.03 * rng.normal(size=count)), side=1)
        ).is_slower
        for _ in range(200)
    ]
    assert np.mean(found) >= 0.8


def test_equal_revisions_raise_few_alarms():
    rng = np.random.default_rng(2)
    alarms = [
        check_runs(
            timed(np.exp(0.05 * rng.normal(size=8))), timed(np.exp(0.05 * rng.normal(size=8)), side=1), margin=1.0
        )
        for _ in range(300)
    ]
    assert np.mean([each.is_slower for each in alarms]) <= 0.05


@pytest.mark.parametrize("wrong", [{"margin": 0.9}, {"margin": float("nan")}, {"level": 95}])
def test_invalid_options_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        check_runs(timed([1, 1]), timed([1, 1], side=1), **wrong)


def test_sets_without_a_common_entry_are_refused():
    with pytest.raises(InputError, match="one has work and the other other"):
        check_runs(timed([1, 1]), timed([1, 1], name="other"))


def test_markdown_escapes_names():
    name = "a|b <script> @team `x`\n# h"
    text = check_markdown(check_runs(timed(noise(0), name=name), timed(noise(1), name=name, side=1)))
    assert "<script>" not in text
    assert "@team" not in text
    assert "`x`" not in text
    row = next(line for line in text.splitlines() if "script" in line)
    assert row.count("|") == 8


def hyperfine(path: Path, times) -> Path:
    path.write_text(json.dumps({"results": [{"command": "make", "times": list(times)}]}))
    return path


def sessions(folder: Path, times) -> Path:
    """A folder of pytest-benchmark's files, one for each session."""
    folder.mkdir()
    for k, time in enumerate(times):
        benchmarks = [{"name": "test_it", "fullname": "t.py::test_it", "stats": {"median": time, "rounds": 5}}]
        content = {"benchmarks": benchmarks, "machine_info": {}, "datetime": f"2026-01-01T00:00:{k:02d}"}
        (folder / f"{k:04d}_session.json").write_text(json.dumps(content))
    return folder


def check(*arguments):
    return run_command("bench", "check", *map(str, arguments), env={"COLUMNS": "160"})


def test_exit_codes(tmp_path):
    base, slow = hyperfine(tmp_path / "a.json", noise(0)), hyperfine(tmp_path / "b.json", 1.3 * noise(1))
    vague = hyperfine(tmp_path / "c.json", 1.05 * noise(2, spread=0.06))
    assert check(base, slow).exit_code == 1
    assert check(slow, base).exit_code == 0
    assert check(base, vague).exit_code == 0
    assert check(base, vague, "--strict").exit_code == 3
    assert check(base, tmp_path / "none.json").exit_code == 2


def test_json_and_markdown_hold_the_verdict(tmp_path):
    base, slow = hyperfine(tmp_path / "a.json", noise(0)), hyperfine(tmp_path / "b.json", 1.3 * noise(1))
    done = check(base, slow, "--json", "--markdown", tmp_path / "c.md")
    (entry,) = json.loads(done.stdout)["entries"]
    assert (entry["name"], entry["verdict"], entry["runs"]) == ("make", "slower", {"base": 10, "new": 10})
    assert "| make | slower | 1.3" in (tmp_path / "c.md").read_text()


def test_stores_and_json_lines_are_read(tmp_path):
    stored = [StoredRun("s", run) for run in timed(noise(0))]
    write_jsonl(stored, tmp_path / "a.jsonl")
    with Store(tmp_path / "b.db") as store:
        store.add_all([StoredRun("s", run) for run in timed(1.2 * noise(1), side=1)])
    done = check(tmp_path / "a.jsonl", tmp_path / "b.db")
    assert done.exit_code == 1
    assert "1 entry: 1 slower" in done.stdout


def test_folder_of_sessions_is_read_and_a_session_is_one_run(tmp_path):
    base, slow = sessions(tmp_path / "a", noise(0)), sessions(tmp_path / "b", 1.2 * noise(1))
    done = check(base, slow, "--json")
    assert (done.exit_code, json.loads(done.stdout)["entries"][0]["runs"]) == (1, {"base": 10, "new": 10})
    one = check(base / "0000_session.json", slow / "0000_session.json", "--strict")
    assert one.exit_code == 3
    assert "t.py::test_it: at least 4 runs of each are needed for an interval." in one.stdout


def test_notes_say_how_many_more_runs_would_decide(tmp_path):
    base = hyperfine(tmp_path / "a.json", noise(0, spread=0.05))
    new = hyperfine(tmp_path / "b.json", noise(3, spread=0.05))
    entry = json.loads((done := check(base, new, "--json")).stdout)["entries"][0]
    assert (done.exit_code, entry["verdict"]) == (0, "undecided")
    needed = entry["runs_needed"]
    assert f"make: {needed} runs of each, {needed - 10} more, would probably decide." in check(base, new).stdout


def test_csv_files_are_read(tmp_path):
    for name, times in (("a.csv", noise(0)), ("b.csv", 1.2 * noise(1))):
        rows = [f"work,{k},{t},1" for k, t in enumerate(times)]
        (tmp_path / name).write_text("\n".join(["workload,seed,seconds,done", *rows]) + "\n")
    assert check(tmp_path / "a.csv", tmp_path / "b.csv", "--target", "done>=1").exit_code == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": 1}', "no benchmark", "[" * 3000])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    base = hyperfine(tmp_path / "a.json", noise(0))
    (tmp_path / "b.json").write_text(content)
    done = check(base, tmp_path / "b.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "b.json" in done.stderr
