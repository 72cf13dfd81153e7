"""One run in a fresh process: starts it, receives its points, and records how it ended."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Protocol

from etesian.bench import machine
from etesian.bench.errors import InputError, UnknownMetricError
from etesian.bench.load import load_workload
from etesian.bench.loop import describe_error, run, timestamp
from etesian.bench.record import Outcome, Point, Run
from etesian.bench.workload import Target, Workload

_SPAWN = get_context("spawn")  # a forked process would inherit threads, caches and compiled code
_GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.5
_OUTPUT_BYTES = 4000  # kept from the end of a run's output

DEFAULT_LIMIT = 3.0
"""Default of the limit on the time between measurements, as a multiple of the budget."""

SHORTEST_LIMIT = 5.0
"""Smallest default limit in seconds."""


@dataclass(frozen=True)
class Job:
    """A run to execute.

    Parameters
    ----------
    workload
        Name of the workload.
    seed, target, budget_seconds
        Arguments of `etesian.bench.run`.
    limit_seconds
        Longest time between two measurements, after which the process is killed; None for no limit.
    """

    workload: str
    seed: int
    target: Target
    budget_seconds: float | None
    limit_seconds: float | None = None


def default_limit(budget_seconds: float | None) -> float | None:
    """Return the default limit on the time between two measurements; None without a budget."""
    return None if budget_seconds is None else max(SHORTEST_LIMIT, DEFAULT_LIMIT * budget_seconds)


class Recipe(Protocol):
    """A picklable description from which a process makes its workload."""

    def make(self) -> Workload: ...


@dataclass(frozen=True)
class FromSource:
    """A workload of a file or an entry point, loaded in the process; see `load_suite`."""

    source: str
    name: str

    def make(self) -> Workload:
        return load_workload(self.source, self.name)


@dataclass(frozen=True)
class FromPickle:
    """A pickled workload."""

    data: bytes

    @classmethod
    def of(cls, workload: Workload) -> FromPickle:
        """Pickle a workload.

        Raises
        ------
        InputError
            If it cannot be pickled; the message lists alternatives.
        """
        try:
            return cls(pickle.dumps(workload))
        except Exception as error:  # pickle raises whatever the object's own methods raise
            raise InputError(
                f"the workload {workload.name} cannot be sent to a fresh process ({error}); define its class at the top level "
                "of a module, load data in prepare, or run with isolate=False"
            ) from error

    def make(self) -> Workload:
        return pickle.loads(self.data)  # noqa: S301  # our own bytes


class Child:
    """A run in progress in a fresh process.

    Parameters
    ----------
    job, recipe
        Run to make, and how the process makes its workload.
    synchronize
        Argument of `etesian.bench.run`; picklable.
    path
        Folders in which the process searches for modules first.
    """

    def __init__(
        self,
        job: Job,
        recipe: Recipe,
        *,
        synchronize: Callable[[], object] | None = None,
        path: Sequence[str] = (),
    ) -> None:
        self.job = job
        self._started = timestamp()
        self._points: list[Point] = []
        self._latest: float | None = None  # time of the last measurement
        self.messages, theirs = _SPAWN.Pipe(duplex=False)
        self._output = _Tail()
        arguments = (theirs, self._output.writer, job, recipe, synchronize)
        self._process = _SPAWN.Process(target=_work, args=arguments, name=job.workload)
        with _searched_first(path):
            self._process.start()
        theirs.close()  # so that the end of the process ends the messages
        self._output.start()

    @property
    def pid(self) -> int:
        """Identifier of the process, which leads its own process group."""
        assert self._process.pid is not None
        return self._process.pid

    def receive(self) -> Point | Run:
        """Wait for the next point, or for the run, which is the last message.

        Raises
        ------
        UnknownMetricError
            As `etesian.bench.run` does.
        """
        while not self.messages.poll(_POLL_SECONDS):
            if self.is_overdue():
                return self._killed_at_limit()
            if self.has_died():
                return self._failed()
        try:
            message = self.messages.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._failed()
        if isinstance(message, UnknownMetricError):
            raise message
        if isinstance(message, Point):
            self._points.append(message)
            self._latest = time.monotonic()
            return message
        return self._with_output(message)

    def has_died(self) -> bool:
        """Return True if the process has ended and left no message."""
        return self._process.exitcode is not None and not self.messages.poll()

    def is_overdue(self) -> bool:
        """Return True if the time since the last measurement exceeds the limit."""
        limit = self.job.limit_seconds
        return limit is not None and self._latest is not None and time.monotonic() - self._latest > limit

    def finish(self) -> None:
        """Wait for the process to end, then end all processes that it has left running."""
        self._process.join(_GRACE_SECONDS)
        self._end_group(signal.SIGKILL)
        self._process.join()
        self.messages.close()
        self._output.close()

    def stop(self) -> None:
        """End the process and all that it started."""
        self._end_group(signal.SIGTERM)
        self.finish()

    def _end_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
            return
        if self._process.is_alive():  # it does not lead its group yet
            self._process.kill()

    def _failed(self) -> Run:
        self._process.join(_GRACE_SECONDS)
        reason = _describe_exit(self._process.exitcode)
        return self._with_output(unfinished_run(self.job, "failed", reason, points=self._points, started=self._started))

    def _killed_at_limit(self) -> Run:
        """Kill the process; its run was still on its way to the target."""
        self._end_group(signal.SIGKILL)
        reason = f"killed: no measurement within the limit of {self.job.limit_seconds:g} s"
        return self._with_output(
            unfinished_run(self.job, "out_of_time", reason, points=self._points, started=self._started)
        )

    def _with_output(self, finished: Run) -> Run:
        self._process.join(_GRACE_SECONDS)
        text = self._output.text()
        return dataclasses.replace(finished, details={**finished.details, "output": text}) if text else finished


class _Tail:
    """The end of the output of a process."""

    def __init__(self) -> None:
        self._reader, self.writer = _SPAWN.Pipe(duplex=False)
        self._kept = b""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Read until the process and all that it started have closed their output."""
        self.writer.close()
        self._thread.start()

    def text(self) -> str:
        """Return the last part of the output so far."""
        self._thread.join(_POLL_SECONDS)
        return self._kept.decode("utf-8", errors="replace").strip()

    def close(self) -> None:
        self._thread.join(_GRACE_SECONDS)
        if not self._thread.is_alive():
            self._reader.close()

    def _read(self) -> None:
        with suppress(OSError):
            while chunk := os.read(self._reader.fileno(), 65536):
                self._kept = (self._kept + chunk)[-_OUTPUT_BYTES:]


def unfinished_run(job: Job, outcome: Outcome, error: str, *, points: list[Point], started: str) -> Run:
    """Record a run whose process did not report its end; without any measurement it has failed."""
    return Run(
        workload=job.workload,
        seed=job.seed,
        target=job.target,
        outcome=outcome if points else "failed",
        points=tuple(points),
        budget_seconds=job.budget_seconds,
        error=error,
        machine=machine.describe(),
        started=started,
    )


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, and hide it from processes that are started in the block."""
    resource_tracker.ensure_running()  # starting it later would unblock interrupts
    held: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by children
    handler = signal.getsignal(signal.SIGINT)
    # Another thread may still receive the signal; Python then calls the handler in this one.
    is_handled_here = callable(handler) and threading.current_thread() is threading.main_thread()
    if is_handled_here:
        signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        if is_handled_here:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if held:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _searched_first(path: Sequence[str]) -> Iterator[None]:
    """Put folders at the front of the module search path that a started process inherits."""
    usual = list(sys.path)
    sys.path[:0] = path
    try:
        yield
    finally:
        sys.path[:] = usual


def _work(
    messages: connection.Connection,
    output: connection.Connection,
    job: Job,
    recipe: Recipe,
    synchronize: Callable[[], object] | None,
) -> None:
    """Make the run, in the child process."""
    _detach(output)
    started = timestamp()
    try:
        workload = recipe.make()
    except Exception as error:
        messages.send(unfinished_run(job, "failed", describe_error(error), points=[], started=started))
        return
    try:
        result: Run | UnknownMetricError = run(
            workload,
            job.target,
            seed=job.seed,
            budget_seconds=job.budget_seconds,
            synchronize=synchronize,
            on_point=messages.send,
        )
    except UnknownMetricError as error:
        result = error
    sys.stdout.flush()
    sys.stderr.flush()
    messages.send(result)


def _detach(output: connection.Connection) -> None:
    """Lead a process group, leave interrupts to the parent, send all output to it, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also drops an interrupt from during the start
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the parent: a killed suite leaves no run behind."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        name = {number.value: number.name for number in signal.Signals}.get(-code, f"signal {-code}")
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{hint}"
    return f"the process ended with exit code {code} before the run did"
