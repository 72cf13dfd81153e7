"""The command line: what goes where, which exit code, and one clear line for every mistake."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from bench_fakes import Countdown, make_run
from command_line import Result, run_command
from rich.console import Console

from etesian import __version__
from etesian.bench import Event, InputError, Point, Store, Suite, Target, known_names, load_suite
from etesian.bench.isolate import Job
from etesian.cli.bench import parse_seeds
from etesian.cli.bench_progress import SuiteProgress, TimeLeft, describe_duration, describe_run

DONE = Target("left", 0, "at_most")
SUITE_FILE = """
from bench_fakes import Countdown, Dying
from etesian.bench import Suite, Target

def suite():
    return Suite("pair", [Countdown("a"), Countdown("b")], Target("left", 0, "at_most"))
"""


def make_suite() -> Suite:
    return Suite("installed", [Countdown("a")], DONE)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, but for a suite."""
    (tmp_path / "pair.py").write_text(SUITE_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return tmp_path


def etesian(*arguments: object) -> Result:
    return run_command(*arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})


def run_pair(*options: object) -> Result:
    return etesian("bench", "run", "pair.py", "--seeds", "2", "--in-process", *options)


def test_run_keeps_runs_and_prints_a_table_with_progress_on_standard_error() -> None:
    result = run_pair()
    assert result.exit_code == 0
    assert "pair (left<=0.0)" in result.stdout
    assert "[4/4] a, seed 1: left<=0.0 after" in result.stderr
    assert "[4/4]" not in result.stdout
    with Store("etesian.db", create=False) as store:
        assert len(store.runs("pair")) == 4


def test_second_run_of_the_same_command_runs_nothing() -> None:
    run_pair()
    result = run_pair()
    assert "pair: 4 of 4 runs are already in the store" in result.stderr
    assert "seed" not in result.stderr


def test_json_is_one_object_on_standard_output_and_the_same_as_show_gives() -> None:
    first = run_pair("--json")
    found = json.loads(first.stdout)
    assert [target["target"] for target in found["targets"]] == ["left<=0.0"]
    assert [(run["workload"], run["seed"], run["outcome"], run["slices"]) for run in found["runs"]] == [
        ("a", 0, "reached", 2),
        ("b", 0, "reached", 2),
        ("b", 1, "reached", 2),
        ("a", 1, "reached", 2),
    ]
    assert [each["reached_share"] for each in found["entries"]] == [1.0, 1.0]
    assert json.loads(etesian("bench", "show", "--json").stdout) == found


def test_options_replace_the_suites_target_and_budget() -> None:
    run_pair("--target", "left<=1", "--budget", "60", "--store", "other.db")
    with Store("other.db", create=False) as store:
        assert {(str(run.target), run.budget_seconds) for run in store.runs()} == {("left<=1.0", 60.0)}


def test_failed_run_is_reported_with_exit_code_1(folder: Path) -> None:
    (folder / "pair.py").write_text(SUITE_FILE.replace('Countdown("b")', 'Dying("b", "error")'))
    result = run_pair()
    assert result.exit_code == 1
    assert "failed: b, seed 0: RuntimeError: disk is full" in result.stdout
    assert run_pair("--json").exit_code == 1


def test_report_is_one_page(folder: Path) -> None:
    run_pair()
    result = etesian("bench", "report", "-o", "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "wrote page.html" in result.stderr
    assert (folder / "page.html").read_text().lower().startswith("<!doctype html>")


def test_export_and_import_carry_every_run() -> None:
    run_pair()
    assert "wrote 4 runs to runs.jsonl" in etesian("bench", "export", "etesian.db", "runs.jsonl").stderr
    assert "added 4 runs to b.db; 0 were" in etesian("bench", "import", "jsonl", "runs.jsonl", "--store", "b.db").stderr
    assert "added 0 runs to b.db; 4 were" in etesian("bench", "import", "jsonl", "runs.jsonl", "--store", "b.db").stderr
    assert etesian("bench", "show", "b.db", "--json").stdout == etesian("bench", "show", "--json").stdout


def test_show_chooses_by_suite_and_target() -> None:
    run_pair()
    run_pair("--target", "left<=1")
    assert len(json.loads(etesian("bench", "show", "--json").stdout)["targets"]) == 2
    chosen = json.loads(etesian("bench", "show", "--json", "--suite", "pair", "--target", "left<=1").stdout)
    assert [each["target"] for each in chosen["targets"]] == ["left<=1.0"]


def write_files(folder: Path) -> None:
    run_pair()
    run_pair("--target", "left<=1")
    Store("empty.db").close()
    (folder / "nothing.py").write_text("x = 1\n")
    (folder / "wrong.py").write_text("suite = 3\n")
    (folder / "broken.py").write_text("\nimport no_such_module\n")
    (folder / "raises.py").write_text("def suite():\n    raise KeyError('data')\n")
    (folder / "bad.jsonl").write_text("{}\n")
    (folder / "notes.db").write_text("no database at all" * 1000)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("run none.py", "there is no file none.py"),
        ("run nobody", "no suite is named 'nobody'; known: "),
        ("run nothing.py", "nothing.py must define `suite`, a Suite or a function that returns one; it does not"),
        ("run wrong.py", "`suite` of wrong.py must be a Suite or a function that returns one; got 3"),
        ("run broken.py", "broken.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module' ("),
        ("run raises.py", "the suite of raises.py cannot be made: KeyError: 'data' ("),
        ("run pair.py --target left", "--target: a target reads like 'accuracy>=0.93' or 'loss<=3.28'; got 'left'"),
        ("run pair.py --target lost<=1", "must be one that a measures (left, process, seed); got lost<=1.0"),
        ("run pair.py --seeds two", "--seeds takes a number of at least 1, or seeds such as 3,7; got 'two'"),
        ("run pair.py --seeds 0", "--seeds takes a number"),
        ("run pair.py --seeds 3,3", "seeds must be a number of at least 1, or distinct seeds; got [3, 3]"),
        ("run pair.py --budget -1", "--budget takes a positive number of seconds; got -1.0"),
        ("run pair.py --limit 9 --in-process", "a limit requires a process per run, which can be killed; got limit"),
        ("run pair.py --jobs 2 --in-process", "jobs must be 1 when runs share one process"),
        ("run pair.py pair.py", "must have names that differ; got 'pair' twice"),
        ("run pair.py --store no/where.db", "the store's folder must exist; there is no no"),
        ("show none.db", "there is no store at none.db; `etesian bench run` makes one"),
        ("show empty.db", "the store empty.db holds no runs yet"),
        ("show notes.db", "the store notes.db cannot be used: file is not a database"),
        (f"show {'x' * 300}", "cannot be used: File name too long"),
        (f"import csv {'x' * 300}", "cannot be used: File name too long"),
        ("show --suite pear", "no runs are stored for pear; the store holds pair (left<=0.0), pair (left<=1.0)"),
        ("report --suite pear", "no runs are stored for pear; the store holds pair (left<=0.0), pair (left<=1.0)"),
        ("report --price x", "--price takes a number; got 'x'"),
        ("report --rule often", 'Invalid value "often" for --rule. Choose from: "first_passage", "stays_above".'),
        ("report --target left<=1 -o no/page.html", "there is no folder no"),
        ("export none.db x.jsonl", "there is no store at none.db"),
        ("export etesian.db x.jsonl --suite pear", "the store etesian.db holds no runs of the suite pear"),
        ("export etesian.db no/x.jsonl", "there is no folder no"),
        ("import jsonl none.jsonl", "none.jsonl cannot be read"),
        ("import jsonl bad.jsonl", "bad.jsonl, line 1: format_version must be 1"),
    ],
)
def test_user_error_gives_one_line_and_exit_code_2(folder: Path, arguments: str, complaint: str) -> None:
    write_files(folder)
    result = etesian("bench", *arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("pair: ")]
    assert line.startswith("error: ")
    assert complaint in line


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("1", [0]), ("4,2", [4, 2]), ("7,", [7]), ("-1,5", [-1, 5])]
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


# Suites by name.


def test_installed_packages_offer_suites_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = metadata.EntryPoint("theirs", "test_commands:make_suite", "etesian.workloads")
    installed = metadata.EntryPoints([offered])
    monkeypatch.setattr("etesian._shared.entry_points.entry_points", installed.select)
    assert known_names() == ["theirs"]
    assert load_suite("theirs").name == "installed"
    with pytest.raises(InputError, match="no suite is named 'ours'; known: theirs; or give a file"):
        load_suite("ours")


def test_file_may_import_what_lies_beside_it(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "beside_it.py").write_text("from bench_fakes import Countdown\n")
    text = SUITE_FILE.replace("from bench_fakes import Countdown, Dying", "from beside_it import Countdown")
    (folder / "sub" / "file.py").write_text(text)
    assert load_suite("sub/file.py").name == "pair"


# Real processes.


def test_help_and_version_are_quick_to_start() -> None:
    heavy = "('numpy', 'scipy', 'sqlalchemy', 'lifelines', 'plotly', 'pandas', 'torch', 'numba', 'multiprocessing')"
    code = f"import sys, etesian.cli.app; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert etesian("--version").stdout == f"etesian {__version__}\n"
    assert "bench" in etesian("--help").stdout


def test_isolated_run_prints_only_its_json_on_standard_output(folder: Path) -> None:
    path = Path(__file__).parent
    (folder / "pair.py").write_text(f"import sys\nsys.path.append({str(path)!r})\nprint('chatter')\n{SUITE_FILE}")
    command = [sys.executable, "-m", "etesian", "bench", "run", "pair.py", "--seeds", "1", "--jobs", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert [run["outcome"] for run in json.loads(done.stdout)["runs"]] == ["reached", "reached"]
    assert "chatter" in done.stderr


# Progress.


def test_time_left_is_the_mean_of_finished_runs_times_those_left() -> None:
    seconds = [0.0]
    left = TimeLeft(jobs=1, now=lambda: seconds[0])
    one, two = (Job(name, 0, DONE, None) for name in "ab")
    left.start(one)
    assert left.seconds(4) is None
    seconds[0] = 10.0
    left.finish(one)
    left.start(two)
    seconds[0] = 14.0
    assert left.seconds(3) == 3 * 10 - 4  # two more whole runs, and the 6 s that are left of the one under way


def test_time_left_is_shared_among_runs_at_once_and_never_negative() -> None:
    seconds = [0.0]
    left = TimeLeft(jobs=2, now=lambda: seconds[0])
    one, two = (Job(name, 0, DONE, None) for name in "ab")
    left.start(one)
    left.start(two)
    seconds[0] = 10.0
    left.finish(one)
    assert left.seconds(5) == (5 * 10 - 10) / 2
    seconds[0] = 100.0
    assert left.seconds(1) == 0


def test_terminal_shows_the_run_under_way_and_its_metric() -> None:
    screen = io.StringIO()
    job = Job("words", 3, Target("loss", 3.28, "at_most"), None)
    with SuiteProgress(Console(file=screen, force_terminal=True, width=160, highlight=False)) as progress:
        for kind, point in [("planned", None), ("started", None), ("point", Point(1, 8.2, {"loss": 3.512}))]:
            progress(Event(kind, "demo", 2, 5, None if kind == "planned" else job, point))
    assert "2 of 5 runs are already in the store" in screen.getvalue()
    assert "words, seed 3: loss 3.512 at 8.2 s" in screen.getvalue()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "words, seed 0: loss<=3.28 after 0.1 s"),
        ({"outcome": "out_of_time"}, "words, seed 0: out of time, loss 3 after 0.1 s"),
        ({"outcome": "failed", "error": "KeyError: 'x'\nframes", "points": ()}, "words, seed 0: failed, KeyError: 'x'"),
    ],
)
def test_each_ending_is_one_line(changes: dict[str, object], line: str) -> None:
    assert describe_run(make_run(**changes)) == line


@pytest.mark.parametrize(("seconds", "text"), [(42.4, "42 s"), (170, "3 min"), (7800, "2 h 10 min")])
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text
