"""Runs on a Ray cluster: scheduling by resources, and repetition of runs that are lost with their node.

Each run has an actor, which starts the same kind of fresh process on its node as `run_suite` does locally. A workload that
dies is a failed run; a run is lost only if its actor or node dies. Messages are requested one at a time, which also works
through Ray's client (``ray://``).
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etesian._shared.ray_connection import connected, nodes_of
from etesian.bench.errors import InputError, UnknownMetricError
from etesian.bench.isolate import Child, FromPickle, FromSource, Job, Recipe, interrupts_held, unfinished_run
from etesian.bench.load import load_workload
from etesian.bench.loop import timestamp
from etesian.bench.record import Point, Run
from etesian.bench.workload import Suite, WithResources, Workload

MAX_LOST = 3
"""Number of times that a lost run is started again before it is recorded as failed."""

_SECONDS_BETWEEN_LOOKS = 1.0  # between checks of the size of the cluster
_IN_RAY = {"cores": "CPU", "gpus": "GPU"}


class Listener(Protocol):
    """Receiver of the progress of runs."""

    def start(self, job: Job) -> None:
        """A run has started, possibly again."""

    def note(self, job: Job, point: Point) -> None:
        """A run has measured."""

    def finish(self, job: Job, run: Run) -> None:
        """A run has ended."""


@dataclass(frozen=True)
class FromText:
    """A workload of a Python file that is sent to the node, unless the node has the same file.

    Parameters
    ----------
    path, text
        Path and content of the file.
    name
        Name of the workload.
    """

    path: str
    text: str
    name: str

    def make(self) -> Workload:
        """Load the file on this node."""
        path = Path(self.path)
        if (
            path.is_file() and path.read_text() == self.text
        ):  # a shared folder, which also holds the modules that the file imports
            return load_workload(self.path, self.name)
        copy = (
            Path(tempfile.mkdtemp(prefix="etesian-")) / path.name
        )  # not deleted, so that tracebacks can show its lines
        copy.write_text(self.text)
        return load_workload(str(copy), self.name)


class Runner:
    """A run on a node of the cluster, used as an actor: starts the process and forwards its messages."""

    def begin(self, job: Job, recipe: Recipe, synchronize: Callable[[], object] | None, path: Sequence[str]) -> None:
        """Start the process and return; `path` is the module search path on the machine of the suite."""
        sys.path += [folder for folder in path if folder not in sys.path]  # like processes on that machine
        vars(sys.modules["__main__"]).pop(
            "__file__", None
        )  # Ray's own script, which the process of the run must not import
        self._child = Child(job, recipe, synchronize=synchronize)

    def receive(self) -> Point | Run | UnknownMetricError:
        """Wait for the next message; a `Run` is the last."""
        try:
            message = self._child.receive()
        except UnknownMetricError as error:
            return error
        if isinstance(message, Run):
            self._child.finish()
        return message


@dataclass(frozen=True)
class _Attempt:
    """A run that waits for resources, or has them."""

    job: Job
    runner: Any
    started: str


def run_on_ray(
    missing: Sequence[Job],
    suite: Suite,
    listener: Listener,
    *,
    address: str,
    source: str | None,
    synchronize: Callable[[], object] | None = None,
) -> None:
    """Run on a Ray cluster, with as many concurrent runs as their `resources` allow.

    Parameters
    ----------
    missing
        Runs, in the order in which they start.
    suite
        Suite of the workloads.
    listener
        Receiver of the progress of each run.
    address
        ``"ray"`` for the cluster that Ray finds (``RAY_ADDRESS``, a cluster on this machine, or a new one that ends with
        the suite); ``"ray://host:port"`` to connect through Ray's client.
    source
        Argument of `run_suite`.
    synchronize
        Argument of `run`; picklable.

    Raises
    ------
    InputError
        If Ray is not installed, the cluster does not respond, or no node has the resources of a run.
    UnknownMetricError
        As `run` does.
    """
    if not missing:
        return
    with connected(address) as ray:
        places = {workload.name: place_of(workload, nodes_of(ray)) for workload in suite.workloads}
        recipes = _recipes(ray, suite, {job.workload for job in missing}, source)
        spread = _Spread(ray, missing, listener, places, recipes, synchronize)
        try:
            while spread.waiting or spread.under_way:
                spread.begin()
                spread.hear()
        finally:
            spread.end()


class _Spread:
    """Waiting runs, and runs in progress by their pending message."""

    def __init__(
        self,
        ray: Any,
        missing: Sequence[Job],
        listener: Listener,
        places: Mapping[str, Mapping[str, Any]],
        recipes: Mapping[str, Recipe],
        synchronize: Callable[[], object] | None,
    ) -> None:
        self._ray, self._listener, self._places, self._recipes = ray, listener, places, recipes
        self._synchronize = synchronize
        # Restarts are counted here, so that each run is stored once.
        self._actor = ray.remote(max_restarts=0, max_task_retries=0)(Runner)
        self.waiting = deque(missing)
        self.under_way: dict[Any, _Attempt] = {}
        self._times_lost: Counter[Job] = Counter()

    def begin(self) -> None:
        """Request resources for the next runs, at most as many as there are cores."""
        at_once = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        while self.waiting and len(self.under_way) < at_once:
            job = self.waiting.popleft()
            runner = self._actor.options(**self._places[job.workload]).remote()
            answer = runner.begin.remote(job, self._recipes[job.workload], self._synchronize, sys.path)
            self.under_way[answer] = _Attempt(job, runner, timestamp())

    def hear(self) -> None:
        """Wait for the next message and handle it."""
        ready, _ = self._ray.wait(list(self.under_way), num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
        for answer in ready:
            attempt = self.under_way[answer]
            try:
                message = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError:
                raise  # a bug here, not a lost node
            except self._ray.exceptions.RayError as error:
                self._lose(attempt, error)
            else:
                self._hand_on(message, attempt)
            del self.under_way[answer]

    def _hand_on(self, message: Point | Run | UnknownMetricError | None, attempt: _Attempt) -> None:
        if isinstance(message, UnknownMetricError):
            raise message
        if isinstance(message, Run):
            with interrupts_held():  # until it is stored
                self._listener.finish(attempt.job, message)
            self._ray.kill(attempt.runner)
            return
        if message is None:
            self._listener.start(attempt.job)
        else:
            self._listener.note(attempt.job, message)
        self.under_way[attempt.runner.receive.remote()] = attempt

    def _lose(self, attempt: _Attempt, error: Exception) -> None:
        """Start a lost run again, or record it as failed after too many attempts."""
        self._ray.kill(attempt.runner)  # it may only be unreachable, and must not continue
        job = attempt.job
        self._times_lost[job] += 1
        if self._times_lost[job] <= MAX_LOST:
            self.waiting.appendleft(job)
            return
        reason = " ".join(str(error).split())
        lost = unfinished_run(
            job,
            "failed",
            f"lost {self._times_lost[job]} times with its node: {reason}",
            points=[],
            started=attempt.started,
        )
        self._listener.finish(job, dataclasses.replace(lost, machine={}))  # the record would describe this machine

    def end(self) -> None:
        """End the runs in progress; their processes end with their actors."""
        for attempt in self.under_way.values():
            self._ray.kill(attempt.runner)


def place_of(workload: Workload, nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the resources to request from Ray: by default all cores of the smallest node, so that runs do not overlap.

    A request that no node can satisfy would wait forever, and is refused.
    """
    requested = dict(workload.resources) if isinstance(workload, WithResources) else {}
    if "cores" not in requested and nodes:
        requested["cores"] = min(node["CPU"] for node in nodes)
    needed = {_IN_RAY.get(name, name): amount for name, amount in requested.items()}
    if not any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
        largest = {mine: max((node.get(theirs, 0) for node in nodes), default=0) for mine, theirs in _IN_RAY.items()}
        raise InputError(
            f"{workload.name} requests {_listed(requested)}, which no node has; the largest amounts are {_listed(largest)}"
        )
    others = {name: amount for name, amount in needed.items() if name not in _IN_RAY.values()}
    return {"num_cpus": needed["CPU"], "num_gpus": needed.get("GPU", 0), "resources": others}


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def _recipes(ray: Any, suite: Suite, names: set[str], source: str | None) -> dict[str, Recipe]:
    """Choose how nodes make their workloads: by name, from a copy of the file, or pickled by value."""
    workloads = [workload for workload in suite.workloads if workload.name in names]
    if source is None:
        return {workload.name: FromPickle(_pickled(ray, workload)) for workload in workloads}
    if not source.endswith(".py"):
        return {workload.name: FromSource(source, workload.name) for workload in workloads}
    path = Path(source).resolve()
    text = path.read_text()
    return {workload.name: FromText(str(path), text, workload.name) for workload in workloads}


def _pickled(ray: Any, workload: Workload) -> bytes:
    try:
        return bytes(ray.cloudpickle.dumps(workload))  # including the class, which the node may not be able to import
    except Exception as error:  # pickling raises whatever the object's methods raise
        raise InputError(
            f"the workload {workload.name} cannot be sent to the cluster ({error}); load data in prepare"
        ) from error
