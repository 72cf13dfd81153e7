"""Runs spread over a Ray cluster: who waits, what each run needs, what is lost and started again. Knows nothing of stores.

An actor a run: it starts the same fresh process on its node as `run_suite` does here, so a workload that dies is a failed run,
and only what dies with its actor or its node is lost. What a run says is asked for message by message, which works through
Ray's client (``ray://``) too.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etesian.bench.errors import InputError, UnknownMetricError
from etesian.bench.isolate import Child, FromPickle, FromSource, Job, Recipe, interrupts_held, unfinished_run
from etesian.bench.load import load_workload
from etesian.bench.loop import timestamp
from etesian.bench.record import Point, Run
from etesian.bench.workload import Suite, WithResources, Workload

MAX_LOST = 3
"""How many times a run is started again after it was lost; once more, and it is recorded as failed."""

_SCHEME = "ray"
_SECONDS_BETWEEN_LOOKS = 1.0  # at whether the cluster has grown
_IN_RAY = {"cores": "CPU", "gpus": "GPU"}


class Listener(Protocol):
    """Hears what becomes of each run."""

    def start(self, job: Job) -> None:
        """It has begun, perhaps anew."""

    def note(self, job: Job, point: Point) -> None:
        """It has measured."""

    def finish(self, job: Job, run: Run) -> None:
        """It has ended."""


@dataclass(frozen=True)
class FromText:
    """The workload of that name in a Python file that is sent along; read in place where a node has the same file.

    Parameters
    ----------
    path, text
        The file, as it is called and what it holds here.
    name
        Of the workload.
    """

    path: str
    text: str
    name: str

    def make(self) -> Workload:
        """Load the file on this node."""
        path = Path(self.path)
        if path.is_file() and path.read_text() == self.text:  # a shared folder: what the file imports is there too
            return load_workload(self.path, self.name)
        copy = Path(tempfile.mkdtemp(prefix="etesian-")) / path.name  # stays, so that tracebacks can show its lines
        copy.write_text(self.text)
        return load_workload(str(copy), self.name)


class Runner:
    """A run on a node of the cluster: starts its process, hands on what it says. Ray makes an actor of it."""

    def begin(self, job: Job, recipe: Recipe, synchronize: Callable[[], object] | None, path: Sequence[str]) -> None:
        """Start the process; returns once it is started. `path` is where Python looks for modules on the suite's machine."""
        sys.path += [folder for folder in path if folder not in sys.path]  # as processes on that machine have it
        vars(sys.modules["__main__"]).pop("__file__", None)  # Ray's own script: not for the run's process to load
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
    """A run that waits for a place on the cluster, or has one."""

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
    """Make runs on a Ray cluster, as many at once as their `resources` let it.

    Parameters
    ----------
    missing
        The runs, in the order in which they are to begin.
    suite
        Where their workloads come from.
    listener
        Told of each run as it goes on.
    address
        ``"ray"`` for the cluster that Ray finds by itself (``RAY_ADDRESS``, one that runs on this machine, or a new one that
        ends with the suite), ``"ray://host:port"`` for one that is reached through Ray's client.
    source
        As `run_suite` takes it.
    synchronize
        As `run` takes it; picklable.

    Raises
    ------
    InputError
        If Ray is missing, the cluster does not answer, or no node could ever hold one of the runs.
    UnknownMetricError
        As `run` does.
    """
    if not missing:
        return
    with _connected(address) as ray:
        places = {workload.name: place_of(workload, _nodes(ray)) for workload in suite.workloads}
        recipes = _recipes(ray, suite, {job.workload for job in missing}, source)
        spread = _Spread(ray, missing, listener, places, recipes, synchronize)
        try:
            while spread.waiting or spread.under_way:
                spread.begin()
                spread.hear()
        finally:
            spread.end()


class _Spread:
    """The runs that wait, and those under way by the answer that is awaited of each."""

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
        # Starting again is ours, so that it is counted and a run is stored once.
        self._actor = ray.remote(max_restarts=0, max_task_retries=0)(Runner)
        self.waiting = deque(missing)
        self.under_way: dict[Any, _Attempt] = {}
        self._times_lost: Counter[Job] = Counter()

    def begin(self) -> None:
        """Ask for a place for the next runs; more than there are cores could never be at once."""
        at_once = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        while self.waiting and len(self.under_way) < at_once:
            job = self.waiting.popleft()
            runner = self._actor.options(**self._places[job.workload]).remote()
            answer = runner.begin.remote(job, self._recipes[job.workload], self._synchronize, sys.path)
            self.under_way[answer] = _Attempt(job, runner, timestamp())

    def hear(self) -> None:
        """Wait for the next message, and hand it on."""
        ready, _ = self._ray.wait(list(self.under_way), num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
        for answer in ready:
            attempt = self.under_way[answer]
            try:
                message = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError:
                raise  # our own mistake, not a node that went
            except self._ray.exceptions.RayError as error:
                self._lose(attempt, error)
            else:
                self._hand_on(message, attempt)
            del self.under_way[answer]

    def _hand_on(self, message: Point | Run | UnknownMetricError | None, attempt: _Attempt) -> None:
        if isinstance(message, UnknownMetricError):
            raise message
        if isinstance(message, Run):
            with interrupts_held():  # until it is kept
                self._listener.finish(attempt.job, message)
            self._ray.kill(attempt.runner)
            return
        if message is None:
            self._listener.start(attempt.job)
        else:
            self._listener.note(attempt.job, message)
        self.under_way[attempt.runner.receive.remote()] = attempt

    def _lose(self, attempt: _Attempt, error: Exception) -> None:
        """Start a run that was lost again; record it as failed when that has not helped."""
        self._ray.kill(attempt.runner)  # were it only out of reach, two would make the same run
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
        self._listener.finish(job, dataclasses.replace(lost, machine={}))  # not this machine's

    def end(self) -> None:
        """End what is still under way; its processes die with their actors."""
        for attempt in self.under_way.values():
            self._ray.kill(attempt.runner)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected; a connection that was there before stays."""
    ray = _import_ray()
    where = None if address == _SCHEME else address
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster that starts here reports to its makers
    try:
        ray.init(where, logging_level="warning")
    except (ConnectionError, RuntimeError, TimeoutError, ImportError) as error:
        raise InputError(
            f"the Ray cluster of --on {address} cannot be reached: {' '.join(str(error).split())}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("--on ray needs Ray, which is not installed: pip install 'etesian[ray]'") from None
    return ray


def _nodes(ray: Any) -> list[dict[str, float]]:
    """What each node with cores has, in Ray's names."""
    held = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [resources for resources in held if resources.get("CPU", 0) >= 1]


def place_of(workload: Workload, nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What to ask Ray for; by default as many cores as the smallest node has, so that runs do not disturb each other's times.

    A run that wants more than any node has would wait for ever.
    """
    requested = dict(workload.resources) if isinstance(workload, WithResources) else {}
    if "cores" not in requested and nodes:
        requested["cores"] = min(node["CPU"] for node in nodes)
    asked = {_IN_RAY.get(name, name): amount for name, amount in requested.items()}
    if not any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in nodes):
        largest = {mine: max((node.get(theirs, 0) for node in nodes), default=0) for mine, theirs in _IN_RAY.items()}
        raise InputError(
            f"{workload.name} requests {_listed(requested)}, which no node has; the largest amounts are {_listed(largest)}"
        )
    others = {name: amount for name, amount in asked.items() if name not in _IN_RAY.values()}
    return {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0), "resources": others}


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def _recipes(ray: Any, suite: Suite, names: set[str], source: str | None) -> dict[str, Recipe]:
    """How nodes come by their workloads: a name is looked up there, a file is sent, anything else is pickled by value."""
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
        return bytes(ray.cloudpickle.dumps(workload))  # with the class, where a node could not import it
    except Exception as error:  # whatever the object's own methods raise
        raise InputError(
            f"the workload {workload.name} cannot be sent to the cluster ({error}); load data in prepare"
        ) from error
