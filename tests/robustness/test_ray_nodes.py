"""A node of a Ray cluster dies in the middle of its runs, and every run is still made and stored once."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_fakes import Countdown

from etesian.bench import Store, Suite, Target, run_suite

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

NODES = 3
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1_000,
    "health_check_failure_threshold": 5,
}


class KillsItsNode(Countdown):
    """Kills the raylet of the node it runs on, once, in the middle of the work."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self.folder, self.resources = Path(folder), {"cores": 1, "spare": 1}

    def advance(self) -> bool:
        if self.left == 1 and not list(self.folder.iterdir()):
            raylet = _parent_named(os.getpid(), "raylet")
            (self.folder / str(raylet)).touch()
            os.kill(raylet, signal.SIGKILL)
            time.sleep(600)  # until it is ended with its node
        return super().advance()


class OnAnyNode(Countdown):
    """Needs one core."""

    resources = {"cores": 1}  # noqa: RUF012


def _parent_named(process: int, name: str) -> int:
    """Return the nearest ancestor with a name."""
    while name not in Path(f"/proc/{process}/comm").read_text():
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes on this machine; the run that kills its node may not be on the head node."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_TO_NOTICE})
    for _ in range(NODES - 1):
        made.add_node(num_cpus=1, resources={"spare": 1})
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()
    made.shutdown()


def test_runs_of_a_lost_node_are_made_on_another_and_stored_once(cluster: Any, tmp_path: Path) -> None:
    (folder := tmp_path / "killed").mkdir()
    done = Target("left", 0, "at_most")
    suite = Suite("nodes", [KillsItsNode("killer", str(folder)), OnAnyNode("a"), OnAnyNode("b")], done)
    with Store(tmp_path / "runs.db") as store:
        run_suite(suite, seeds=1, store=store, on="ray")
        kept = sorted((run.workload, run.seed, run.outcome, len(run.points)) for run in store.runs())
    assert kept == [(name, 0, "reached", 3) for name in ("a", "b", "killer")]
    assert len(list(folder.iterdir())) == 1
    assert sum(node["Alive"] for node in cluster.nodes()) == NODES - 1
