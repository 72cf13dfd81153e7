"""Suites: the order of runs, fresh processes and how they die, and that nothing finished is lost (C4)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_fakes import Abandoning, Countdown, Dying, Meeting, is_alive, make_run, wait_until

from etesian.bench import Event, InputError, Run, Store, Suite, Target, load_suite, run_suite
from etesian.bench.source_code import code_digest
from etesian.bench.suites import plan_jobs

DONE = Target("left", 0, "at_most")
PAIR = Suite("pair", [Countdown("a"), Countdown("b")], DONE)


def order(suite: Suite, seeds: range) -> list[tuple[str, int]]:
    return [(job.workload, job.seed) for job in plan_jobs(suite, seeds)]


# The order.


def test_workloads_are_interleaved_seed_after_seed() -> None:
    assert order(PAIR, range(3)) == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]


def test_every_workload_is_at_every_place_equally_often() -> None:
    suite = Suite("four", [Countdown(name) for name in "abcd"], DONE)
    names = [workload for workload, _ in order(suite, range(8))]
    places = Counter((name, index % 4) for index, name in enumerate(names))
    assert set(places.values()) == {2}
    assert len(places) == 16


def test_steady_drift_of_the_machine_cancels_over_two_seeds() -> None:
    # The hour at which a run is made stands for the machine's drift.
    hours = {"a": 0, "b": 0}
    for hour, (workload, _) in enumerate(order(PAIR, range(2))):
        hours[workload] += hour
    assert hours["a"] == hours["b"]


# Fresh processes.


def test_each_run_has_a_process_of_its_own() -> None:
    runs = run_suite(PAIR, seeds=2)
    processes = {run.points[0].metrics["process"] for run in runs}
    assert len(processes) == 4
    assert os.getpid() not in processes
    assert all(run.outcome == "reached" for run in runs)


def test_runs_share_this_process_on_request_and_differ_in_nothing_else() -> None:
    here, isolated = run_suite(PAIR, seeds=2, isolate=False), run_suite(PAIR, seeds=2)
    assert {run.points[0].metrics["process"] for run in here} == {os.getpid()}

    def essence(run: Run) -> object:
        values = [(point.slices, point.metrics["left"], point.metrics["seed"]) for point in run.points]
        return run.workload, run.seed, run.outcome, values

    assert [essence(run) for run in here] == [essence(run) for run in isolated]


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("error", "RuntimeError: disk is full"),
        ("sys.exit", "SystemExit: 3"),
        ("os._exit", "the process ended with exit code 3 before the run did"),
        ("SIGKILL", "the process was ended by SIGKILL (out of memory?)"),
        ("SIGSEGV", "the process was ended by SIGSEGV"),
    ],
)
def test_process_that_dies_is_a_failed_run_with_its_points(way: str, error: str) -> None:
    suite = Suite("dying", [Dying("dying", way), Countdown("healthy")], DONE)
    dying, healthy = run_suite(suite, seeds=[7])
    assert (dying.outcome, dying.seed, dying.error.splitlines()[0]) == ("failed", 7, error)
    assert [point.metrics["left"] for point in dying.points] == [2.0, 1.0]
    assert healthy.outcome == "reached"


def test_what_a_dead_run_left_running_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    (run,) = run_suite(Suite("abandoning", [Abandoning(str(file))], DONE), seeds=1)
    assert run.outcome == "failed"
    wait_until(lambda: not is_alive(int(file.read_text())), "the process that was left behind has ended")


def test_several_runs_at_once_on_request(tmp_path: Path) -> None:
    suite = Suite("meeting", [Meeting(name, str(tmp_path), others=2) for name in "ab"], DONE)
    assert [run.outcome for run in run_suite(suite, seeds=1, jobs=2)] == ["reached", "reached"]


def test_workload_that_cannot_be_pickled_is_refused_before_anything_runs() -> None:
    class Local(Countdown):
        pass

    events: list[Event] = []
    with pytest.raises(InputError, match=r"the workload local cannot be sent to a fresh process .* isolate=False"):
        run_suite(Suite("mixed", [Countdown(), Local("local")], DONE), seeds=1, progress=events.append)
    assert [event.kind for event in events] == ["planned"]


def test_target_that_is_not_measured_stops_the_suite_with_the_reason() -> None:
    suite = Suite("pair", PAIR.workloads, Target("lefd", 0))
    for isolate in (True, False):
        with pytest.raises(InputError, match=r"must be one that a measures \(left, process, seed\); got lefd>=0.0"):
            run_suite(suite, seeds=1, isolate=isolate)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"seeds": 0}, "seeds must be a number of at least 1"),
        ({"seeds": [1, 1]}, "distinct seeds"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"jobs": 2, "isolate": False}, "jobs must be 1 when runs share one process"),
    ],
)
def test_options_that_name_nothing_to_do_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        run_suite(PAIR, **options)


def test_progress_reports_every_step() -> None:
    events: list[Event] = []
    run_suite(PAIR, seeds=1, isolate=False, progress=events.append)
    run = ["started", "point", "point", "point", "finished"]
    assert [event.kind for event in events] == ["planned", *run, *run]
    assert [(event.finished, event.total) for event in events if event.kind == "finished"] == [(1, 2), (2, 2)]
    assert events[-1].run.workload == "b"


# C4: a killed suite loses no finished run and resumes.


def names_run(suite: Suite, store: Store, **options: object) -> list[tuple[str, int]]:
    """Return the runs that a call makes."""
    events: list[Event] = []
    run_suite(suite, store=store, isolate=False, progress=events.append, **options)
    return [(event.job.workload, event.job.seed) for event in events if event.kind == "started"]


def test_only_what_is_missing_is_run(location: str) -> None:
    with Store(location) as store:
        assert names_run(PAIR, store, seeds=1) == [("a", 0), ("b", 0)]
        assert names_run(PAIR, store, seeds=2) == [("b", 1), ("a", 1)]
        assert names_run(PAIR, store, seeds=2) == []
        runs = run_suite(PAIR, seeds=2, store=store)
        assert [(run.workload, run.seed) for run in runs] == order(PAIR, range(2))


class Hanging(Countdown):
    """Prints, measures once, and never returns from its first slice."""

    def advance(self) -> bool:
        print("still here")
        time.sleep(1000)
        return True


def test_a_run_that_hangs_is_killed_at_its_limit_and_kept_with_its_points() -> None:
    suite = Suite("hangs", [Hanging("a")], DONE, budget_seconds=0.1)
    (run,) = run_suite(suite, seeds=1, limit_seconds=0.5)
    assert (run.outcome, len(run.points)) == ("out_of_time", 1)
    assert run.code == code_digest(suite.workloads[0])  # though its process could not report it
    assert "no measurement within the limit of 0.5 s" in run.error


class Chatty(Countdown):
    """Prints far more than is kept, and dies."""

    def advance(self) -> bool:
        for k in range(20_000):
            print(f"line {k}")
        sys.stderr.write("the end\n")
        sys.stdout.flush()
        os._exit(3)


def test_the_end_of_the_output_is_part_of_the_record(capfd: pytest.CaptureFixture[str]) -> None:
    (run,) = run_suite(Suite("chatty", [Chatty("a")], DONE), seeds=1)
    assert run.outcome == "failed"
    assert 1000 < len(run.details["output"]) <= 4000
    assert "line 19999" in run.details["output"]
    assert "line 1\n" not in run.details["output"]
    assert capfd.readouterr() == ("", "")


def test_runs_of_other_code_are_kept_apart_unless_pooled_knowingly(tmp_path: Path) -> None:
    changed = Suite("pair", [Dying("a", "error"), Countdown("b")], DONE)
    events: list[Event] = []
    with Store(tmp_path / "runs.db") as store:
        run_suite(PAIR, seeds=1, store=store, isolate=False)
        with pytest.warns(UserWarning, match="1 stored run of pair comes from other code or arguments"):
            run_suite(changed, seeds=1, store=store, isolate=False)
        run_suite(changed, seeds=1, store=store, isolate=False, progress=events.append)  # resumes
        assert len(events) == 1
        assert "kept apart" in events[0].note
        names = [suite for suite, _ in store.entries()]
        assert names[:2] == ["pair"] * 2
        assert len(set(names[2:])) == 1
        assert names[2].startswith("pair@")
        pooled = run_suite(changed, seeds=2, store=store, isolate=False, any_code=True, progress=events.append)
        assert [run.outcome for run in pooled] == ["reached", "reached", "reached", "failed"]
        assert "are pooled" in events[1].note


def test_other_target_or_other_suite_is_another_run(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.db") as store:
        names_run(PAIR, store, seeds=1)
        assert len(names_run(Suite("pair", PAIR.workloads, Target("left", 1, "at_most")), store, seeds=1)) == 2
        assert len(names_run(Suite("other", PAIR.workloads, DONE), store, seeds=1)) == 2


def test_failed_run_is_kept_and_run_again_only_on_request(location: str) -> None:
    broken = Suite("pair", [Dying("a", "error"), Countdown("b")], DONE)
    with Store(location) as store:
        names_run(broken, store, seeds=1)
        assert names_run(PAIR, store, seeds=1, any_code=True) == []
        assert [run.outcome for run in store.runs()] == ["failed", "reached"]
        assert names_run(PAIR, store, seeds=1, any_code=True, retry_failed=True) == [("a", 0)]
        assert sorted((run.workload, run.outcome) for run in store.runs()) == [("a", "reached"), ("b", "reached")]


def test_run_out_of_time_is_repeated_only_with_a_larger_budget(tmp_path: Path) -> None:
    def suite(budget_seconds: float | None) -> Suite:
        return Suite("pair", [Countdown("a")], DONE, budget_seconds)

    with Store(tmp_path / "runs.db") as store:
        censored = make_run("a", 0, target=DONE, outcome="out_of_time", points=run_points(), budget_seconds=10.0)
        store.add(censored, suite="pair")
        assert names_run(suite(5), store, seeds=1) == []
        assert names_run(suite(10), store, seeds=1) == []
        assert names_run(suite(20), store, seeds=1) == [("a", 0)]
        assert names_run(suite(None), store, seeds=1) == []  # it has arrived by now
        assert [run.outcome for run in store.runs()] == ["reached"]


def run_points() -> tuple:
    (run,) = run_suite(Suite("pair", [Countdown("a")], Target("left", 2, "at_most")), seeds=1, isolate=False)
    return run.points


def test_run_stored_first_by_another_process_is_kept(tmp_path: Path) -> None:
    first = make_run("a", 0, target=DONE, outcome="exhausted", points=run_points())

    with Store(tmp_path / "runs.db") as store:

        def interfere(event: Event) -> None:
            if event.kind == "started":
                with Store(tmp_path / "runs.db") as other:
                    other.add(first, suite="pair")

        runs = run_suite(Suite("pair", [Countdown("a")], DONE), seeds=1, store=store, isolate=False, progress=interfere)
        assert runs == store.runs() == [first]


LOGGING_SUITE = """
import os, sys, time
from pathlib import Path
from etesian.bench import Suite, Target

class Logged:
    def __init__(self, name):
        self.name = name
    def prepare(self, seed):
        print("a workload may print", self.name)
        self.left = 2
        with open("log", "a") as log:
            log.write(f"{self.name} {seed} {os.getpid()}\\n")
        if (self.name, seed) == ("b", 1) and Path("stall").exists():
            Path("stalled").touch()
            time.sleep(600)
    def advance(self):
        self.left -= 1
        return True
    def measure(self):
        return {"left": self.left}

def suite():
    return Suite("logged", [Logged("a"), Logged("b")], Target("left", 0, "at_most"))
"""
# Seeds 0 to 2 give a0 b0 b1 a1 a2 b2; with a file `stall` the third hangs, after two have finished.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suite.py").write_text(LOGGING_SUITE)
    (tmp_path / "stall").touch()
    return tmp_path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts the command in another process, and ends it with the test however that ends."""
    started: list[subprocess.Popen[str]] = []

    def start_command(location: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "etesian", "bench", "run", "suite.py", "--seeds", "3", "--store", location]
        process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As a terminal starts it: a test session in the background hands on that interrupts are ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        process.kill()
        process.communicate()


def log(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("location", "number"),
    [
        ("sqlite", signal.SIGKILL),
        ("sqlite", signal.SIGTERM),
        ("sqlite", signal.SIGINT),
        ("postgresql", signal.SIGKILL),
    ],
    indirect=["location"],
)
def test_killed_suite_loses_no_finished_run_and_resumes(
    folder: Path, start: Start, location: str, number: signal.Signals
) -> None:
    killed = start(location)
    wait_until(lambda: (folder / "stalled").exists() or killed.poll() is not None, "the third run hangs")
    killed.send_signal(number)
    _, errors = killed.communicate(timeout=60)
    wait_until(lambda: not is_alive(int(log(folder)[-1][2])), "the run that was under way has ended")
    with Store(location, create=False) as store:
        assert [(run.workload, run.seed) for run in store.runs()] == [("a", 0), ("b", 0)]
    if number == signal.SIGINT:
        assert killed.returncode == 130
        assert "stopped with 2 of 6 runs of logged finished and kept" in errors
        assert "Traceback" not in errors

    (folder / "stall").unlink()
    resumed = start(location, "--json")
    output, errors = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, errors
    run_again = [(name, int(seed)) for name, seed, _ in log(folder)[3:]]
    assert run_again == [("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    found = json.loads(output)  # and nothing that the workloads print
    assert [run["outcome"] for run in found["runs"]] == ["reached"] * 6
    with Store(location, create=False) as store:
        assert len(store.runs()) == 6


def test_processes_load_their_workload_from_the_file_that_it_came_from(folder: Path) -> None:
    (folder / "stall").unlink()
    source = str(folder / "suite.py")
    suite = load_suite(source)
    cwd = Path.cwd()
    os.chdir(folder)
    try:
        assert [run.outcome for run in run_suite(suite, seeds=1, source=source)] == ["reached", "reached"]
    finally:
        os.chdir(cwd)
