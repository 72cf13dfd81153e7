"""Runs on a local Ray cluster: the same as here, lost ones started again, and what no node could hold is refused."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bench_fakes import Countdown, Dying

from etesian.bench import Event, InputError, Store, Suite, Target, ray_cluster, run_suite

DONE = Target("left", 0, "at_most")
NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


class Taking(Countdown):
    """Requests some of a cluster's resources."""

    def __init__(self, name: str, **resources: float) -> None:
        super().__init__(name)
        self.resources = resources


class Losing(Taking):
    """Ends the process that looks after it, in its first few runs, in the middle of the work."""

    def __init__(self, name: str, folder: str, times: int) -> None:
        super().__init__(name, cores=1)
        self.folder, self.times = Path(folder), times

    def advance(self) -> bool:
        if self.left == 1 and len(list(self.folder.iterdir())) < self.times:
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)  # until it is ended with its parent
        return super().advance()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores on this machine, for the tests of this file; later calls find the connection and leave it open."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(
        num_cpus=2,
        num_gpus=0,
        resources={"license": 1},
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    yield ray
    ray.shutdown()


@NEEDS_RAY
def test_runs_on_a_cluster_are_those_made_here(cluster: Any, tmp_path: Path) -> None:
    suite = Suite("pair", [Taking("a", cores=1), Taking("b", cores=1), Dying("dying", "os._exit")], DONE)

    def essence(on: str | None) -> object:
        with Store(tmp_path / f"{on}.db") as store:
            run_suite(suite, seeds=1, store=store, on=on)
            kept = sorted(store.runs(), key=lambda run: (run.workload, run.seed))
        assert len({run.points[0].metrics["process"] for run in kept}) == 3  # a fresh one each
        return [
            (run.workload, run.seed, run.outcome, run.error, [(p.slices, p.metrics["left"]) for p in run.points])
            for run in kept
        ]

    assert essence("ray") == essence(None)


@NEEDS_RAY
def test_run_whose_worker_is_killed_is_started_again_and_counted_once(cluster: Any, tmp_path: Path) -> None:
    (folder := tmp_path / "lost").mkdir()
    suite = Suite("losing", [Losing("losing", str(folder), times=1), Taking("steady", cores=1)], DONE)
    events: list[Event] = []
    with Store(tmp_path / "runs.db") as store:
        runs = run_suite(suite, seeds=1, store=store, on="ray", progress=events.append)
        assert sorted(run.workload for run in store.runs()) == ["losing", "steady"]
    assert [(run.outcome, len(run.points)) for run in runs] == [("reached", 3), ("reached", 3)]
    kinds = Counter((event.kind, event.job.workload) for event in events if event.job is not None)
    assert (kinds["started", "losing"], kinds["finished", "losing"]) == (2, 1)
    assert len(list(folder.iterdir())) == 1


@NEEDS_RAY
def test_run_that_is_lost_every_time_is_recorded_as_failed(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "MAX_LOST", 1)
    (folder := tmp_path / "lost").mkdir()
    (run,) = run_suite(Suite("losing", [Losing("losing", str(folder), times=99)], DONE), seeds=1, on="ray")
    assert (run.outcome, run.points, run.machine) == ("failed", (), {})
    assert (run.error or "").startswith("lost 2 times with its node: ")


@NEEDS_RAY
def test_workload_of_a_script_and_of_a_file_reach_the_nodes(cluster: Any, tmp_path: Path) -> None:
    class Local(Countdown):  # no node could import it
        pass

    assert [run.outcome for run in run_suite(Suite("local", [Local("local")], DONE), seeds=1, on="ray")] == ["reached"]
    file = tmp_path / "race.py"
    file.write_text(RACE)
    suite = Suite("race", [Countdown("file")], DONE)
    (run,) = run_suite(suite, seeds=1, on="ray", source=str(file))
    assert run.units == {"from": 1.0}


RACE = """
from etesian.bench import Suite, Target

class FromFile:
    name = "file"
    units = {"from": 1}

    def prepare(self, seed):
        self.left = 1

    def advance(self):
        self.left -= 1
        return True

    def measure(self):
        return {"left": self.left}

suite = Suite("race", [FromFile()], Target.parse("left<=0"))
"""


@NEEDS_RAY
def test_what_no_node_could_hold_is_refused_before_anything_runs(cluster: Any) -> None:
    suite = Suite("greedy", [Taking("greedy", cores=1, gpus=8)], DONE)
    with pytest.raises(InputError, match=r"greedy requests 1 cores, 8 gpus, which no node .* 2 cores, 0 gpus"):
        run_suite(suite, seeds=1, on="ray")


@NEEDS_RAY
def test_target_that_is_not_measured_stops_the_suite_with_the_reason(cluster: Any) -> None:
    with pytest.raises(InputError, match=r"must be one that a measures"):
        run_suite(Suite("pair", [Countdown("a")], Target("lefd", 0)), seeds=1, on="ray")


NODES: list[Mapping[str, float]] = [{"CPU": 4.0, "memory": 1e9}, {"CPU": 16.0, "GPU": 2.0, "license": 1.0}]


@pytest.mark.parametrize(
    ("resources", "requested"),
    [
        ({}, {"num_cpus": 4.0, "num_gpus": 0, "resources": {}}),  # the smallest node whole
        ({"cores": 8}, {"num_cpus": 8, "num_gpus": 0, "resources": {}}),
        ({"cores": 1, "gpus": 2, "license": 1}, {"num_cpus": 1, "num_gpus": 2, "resources": {"license": 1}}),
    ],
)
def test_resources_are_requested_by_the_names_of_ray(resources: dict[str, float], requested: object) -> None:
    assert ray_cluster.place_of(Taking("a", **resources), NODES) == requested


def test_file_is_read_in_place_where_it_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "race.py"
    file.write_text(RACE)
    here = ray_cluster.FromText(str(file), RACE, "file").make()
    assert type(here).__module__ == "etesian_suite_race"
    assert here.prepare.__code__.co_filename == str(file)
    file.write_text("raise ValueError('another file of that name')")
    sent = ray_cluster.FromText(str(file), RACE, "file").make()
    assert sent.prepare.__code__.co_filename != str(file)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"on": "slurm"}, "on must be 'ray' or 'ray://host:port'; got 'slurm'"),
        ({"on": "ray", "jobs": 2}, "got jobs=2 with on='ray'"),
        ({"on": "ray", "isolate": False}, "got isolate=False with on='ray'"),
    ],
)
def test_options_that_a_cluster_does_not_take_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        run_suite(Suite("pair", [Countdown("a")], DONE), seeds=1, **options)


def test_missing_ray_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'etesian\[ray\]'"):
        run_suite(Suite("pair", [Countdown("a")], DONE), seeds=1, on="ray")
