"""One run in a process of its own: starts it, hears its points, records how it died. Knows nothing of suites or stores."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from typing import Protocol

from etesian.bench import machine
from etesian.bench.errors import InputError, UnknownMetricError
from etesian.bench.load import load_workload
from etesian.bench.loop import describe_error, run, timestamp
from etesian.bench.record import Point, Run
from etesian.bench.workload import Target, Workload

_SPAWN = get_context("spawn")  # a forked child would inherit threads, caches and compiled code: not fresh
_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """One run to make.

    Parameters
    ----------
    workload
        Its name.
    seed, target, budget_seconds
        As `run` takes them.
    """

    workload: str
    seed: int
    target: Target
    budget_seconds: float | None


class Recipe(Protocol):
    """How a process comes by its workload; itself picklable in any process."""

    def make(self) -> Workload: ...


@dataclass(frozen=True)
class FromSource:
    """The workload of that name in a file or entry point, loaded anew; see `load_suite`."""

    source: str
    name: str

    def make(self) -> Workload:
        return load_workload(self.source, self.name)


@dataclass(frozen=True)
class FromPickle:
    """The workload as it was when it was pickled."""

    data: bytes

    @classmethod
    def of(cls, workload: Workload) -> FromPickle:
        """Pickle a workload.

        Raises
        ------
        InputError
            If it cannot be pickled; says what would work.
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
    """A run under way in a fresh process.

    Parameters
    ----------
    job, recipe
        What to run, and how the process comes by it.
    synchronize
        As `run` takes it; picklable.
    """

    def __init__(self, job: Job, recipe: Recipe, *, synchronize: Callable[[], object] | None = None) -> None:
        self.job = job
        self._started = timestamp()
        self._points: list[Point] = []
        self.messages, theirs = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(target=_work, args=(theirs, job, recipe, synchronize), name=job.workload)
        self._process.start()
        theirs.close()  # so that the child's death ends the messages

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own."""
        assert self._process.pid is not None
        return self._process.pid

    def receive(self) -> Point | Run:
        """Wait for the next point, or for the run, after which there is nothing more.

        Raises
        ------
        UnknownMetricError
            As `run` does.
        """
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
        return message

    def has_died(self) -> bool:
        """Whether the process has ended and left no message."""
        return self._process.exitcode is not None and not self.messages.poll()

    def finish(self) -> None:
        """Let the process end by itself, then end whatever it left running."""
        self._process.join(_GRACE_SECONDS)
        self._end_group(signal.SIGKILL)
        self._process.join()
        self.messages.close()

    def stop(self) -> None:
        """End the process and all that it started."""
        self._end_group(signal.SIGTERM)
        self.finish()

    def _end_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
            return
        if self._process.is_alive():  # it has not yet come to lead its group
            self._process.kill()

    def _failed(self) -> Run:
        self._process.join(_GRACE_SECONDS)
        return failed_run(self.job, _describe_exit(self._process.exitcode), points=self._points, started=self._started)


def failed_run(job: Job, error: str, *, points: list[Point], started: str) -> Run:
    """Record a run that could not tell its own end."""
    return Run(
        workload=job.workload,
        seed=job.seed,
        target=job.target,
        outcome="failed",
        points=tuple(points),
        budget_seconds=job.budget_seconds,
        error=error,
        machine=machine.describe(),
        started=started,
    )


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C waiting until the end of the block, and from the processes that are started in it."""
    resource_tracker.ensure_running()  # its start would let interrupts through again
    held: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what a child inherits
    handler = signal.getsignal(signal.SIGINT)
    # Another thread may still take the signal; Python then calls the handler in this one.
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


def _work(messages: connection.Connection, job: Job, recipe: Recipe, synchronize: Callable[[], object] | None) -> None:
    """What the child does."""
    _stand_alone()
    started = timestamp()
    try:
        workload = recipe.make()
    except Exception as error:
        messages.send(failed_run(job, describe_error(error), points=[], started=started))
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
    messages.send(result)


def _stand_alone() -> None:
    """Leave the terminal's interrupts to the parent, print to standard error, and die with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also drops one that came during the start
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(2, 1)  # standard output is the parent's, which may print JSON there
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait, asleep, for the parent's end, however it comes: a killed suite leaves no run behind on the machine."""
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
