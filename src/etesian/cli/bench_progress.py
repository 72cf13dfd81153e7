"""Progress of a suite: current runs and time left on a terminal, one line per finished run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from etesian._shared.text import printable
from etesian.bench.isolate import Job
from etesian.bench.record import Point, Run
from etesian.bench.suites import Event
from etesian.cli.console import describe_duration


class TimeLeft:
    """Estimates the remaining time of a suite from the durations of its finished runs.

    Parameters
    ----------
    jobs
        Number of simultaneous runs.
    now
        Function that returns the time in seconds.
    """

    def __init__(self, *, jobs: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._now = now
        self._began: dict[Job, float] = {}
        self._took: list[float] = []

    def start(self, job: Job) -> None:
        """Note that a run has begun."""
        self._began[job] = self._now()

    def finish(self, job: Job) -> None:
        """Note that a run has ended."""
        self._took.append(self._now() - self._began.pop(job))

    def seconds(self, unfinished: int) -> float | None:
        """Estimate the time until `unfinished` runs, including current ones, have ended; None before the first has ended."""
        if not self._took:
            return None
        mean = sum(self._took) / len(self._took)
        spent = sum(min(mean, self._now() - began) for began in self._began.values())
        return max(0.0, mean * unfinished - spent) / self._jobs


class SuiteProgress:
    """Draws the events of `run_suite`; use it in a ``with`` block and pass it as `progress`.

    Parameters
    ----------
    console
        Console for the progress.
    jobs
        Number of simultaneous runs.

    Attributes
    ----------
    latest : Event or None
        The last event drawn.
    """

    def __init__(self, console: Console, *, jobs: int = 1) -> None:
        self.latest: Event | None = None
        self._console = console
        self._time_left = TimeLeft(jobs=jobs)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._suites: dict[str, TaskID] = {}
        self._running: dict[Job, Point | None] = {}

    def __enter__(self) -> SuiteProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        self.latest = event
        if event.kind == "planned":
            self._plan(event)
        elif event.job is not None:
            self._update(event, event.job)
        self._bars.update(self._suites[event.suite], completed=event.finished, note=self._note(event))

    def _plan(self, event: Event) -> None:
        self._suites[event.suite] = self._bars.add_task(escape(printable(event.suite)), total=event.total, note="")
        if event.note:
            self._console.print(Text(printable(f"warning: {event.note}")), soft_wrap=True)
        if event.finished:
            self._console.print(
                f"{escape(printable(event.suite))}: {event.finished} of {event.total} runs are already in the store"
            )

    def _update(self, event: Event, job: Job) -> None:
        if event.kind == "started":
            self._time_left.start(job)
            self._running[job] = None
        elif event.kind == "point":
            self._running[job] = event.point
        elif event.run is not None:
            self._time_left.finish(job)
            del self._running[job]
            self._console.print(printable(f"[{event.finished}/{event.total}] {describe_run(event.run)}"), markup=False)

    def _note(self, event: Event) -> str:
        left = self._time_left.seconds(event.total - event.finished)
        parts = [] if left is None else [f"about {describe_duration(left)} left"]
        parts += [describe_state(job, point) for job, point in self._running.items()]
        return escape("; ".join(parts))


def describe_run(run: Run) -> str:
    """Describe in one line how a run ended."""
    name = f"{run.workload}, seed {run.seed}: "
    if run.outcome == "reached" and run.seconds is not None:
        return f"{name}{run.target} after {run.seconds:.3g} s"
    if run.outcome == "failed":
        return f"{name}failed, {(run.error or 'no reason known').splitlines()[0]}"
    last = run.points[-1]
    value = f"{run.target.metric} {last.metrics[run.target.metric]:.4g} after {last.seconds:.3g} s"
    reason = f" ({run.error.splitlines()[0]})" if run.error else ""
    return f"{name}{run.outcome.replace('_', ' ')}, {value}{reason}"


def describe_state(job: Job, point: Point | None) -> str:
    """Describe the progress of a run."""
    if point is None:
        return f"{job.workload}, seed {job.seed}: preparing"
    value = point.metrics.get(job.target.metric)
    return f"{job.workload}, seed {job.seed}: {job.target.metric} {value:.4g} at {point.seconds:.1f} s"
