"""Many workloads by many seeds: in which order, which are missing, several at once. Each finished run is kept at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Literal

from etesian.bench.errors import AlreadyStoredError, InputError
from etesian.bench.isolate import Child, FromPickle, FromSource, Job, Recipe, interrupts_held
from etesian.bench.loop import run
from etesian.bench.record import Point, Run
from etesian.bench.workload import Suite

if TYPE_CHECKING:
    from etesian.bench.store import Ending, Store

_SECONDS_BETWEEN_LOOKS = 0.5  # at whether a silent process still lives


@dataclass(frozen=True)
class Event:
    """What `run_suite` tells while it works.

    Parameters
    ----------
    kind
        ``"planned"`` once, before anything runs; then ``"started"``, ``"point"`` and ``"finished"`` for each run.
    suite
        Its name.
    finished, total
        Runs that need no more work, and all runs; those that the store already held count in both.
    job
        Which run it is about; None when planned.
    point, run
        The point just measured; the run just finished.
    """

    kind: Literal["planned", "started", "point", "finished"]
    suite: str
    finished: int
    total: int
    job: Job | None = None
    point: Point | None = None
    run: Run | None = None


Progress = Callable[[Event], object]


def run_suite(
    suite: Suite,
    *,
    seeds: int | Sequence[int] = 5,
    store: Store | None = None,
    isolate: bool = True,
    jobs: int = 1,
    source: str | None = None,
    synchronize: Callable[[], object] | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    on: str | None = None,
) -> list[Run]:
    """Run every workload of a suite with every seed, except what the store already holds.

    The order is A B C, B C A, C A B: seed after seed, each workload at each place equally often, so that a machine that
    warms up or slows down falls on all alike (always A B C would give the last one the latest hour of every round).

    Parameters
    ----------
    suite
        What to run.
    seeds
        The seeds, or how many from 0 on.
    store
        Each run is kept there as soon as it ends, and what it already holds is not run again. A run that went out of time
        is run again, and replaced, when the suite's budget has grown.
    isolate
        Whether each run gets a fresh process. A process that dies is recorded as a failed run.
    jobs
        How many processes at once. More than one disturb each other's times: for trials rather than results.
    source
        The file or name that `load_suite` took the suite from; processes load their workload from there. Without it
        workloads are pickled.
    synchronize
        As `run` takes it; picklable when isolated.
    retry_failed
        Whether to run failed runs again, and replace them.
    progress
        Called with each `Event`.
    on
        ``"ray"`` or ``"ray://host:port"`` makes the runs on a Ray cluster, as many at once as the `resources` of the workloads
        let it. A run that is lost with its node is started again, and told of as started again, up to three times.

    Returns
    -------
    list of Run
        One for each workload and seed, in the order of the plan, those from the store included.

    Raises
    ------
    InputError
        If a workload cannot be sent to a process, or lacks the target's metric.
    ValueError
        If `seeds` or `jobs` name nothing to do, or `jobs` is above 1 without isolation or on a cluster.

    Notes
    -----
    After an interrupt from the keyboard the processes are ended and the interrupt is passed on; the same call with the
    same store resumes. Scripts that call this guard it by ``if __name__ == "__main__":``, as fresh processes import them.
    """
    _check_jobs(jobs, isolate=isolate, on=on)
    plan = plan_jobs(suite, _as_seeds(seeds))
    endings = {} if store is None else store.endings(suite.name, suite.target)
    missing = [job for job in plan if _is_missing(job, endings, retry_failed=retry_failed)]
    ledger = _Ledger(suite, plan, endings, store, progress)
    ledger.plan(missing)
    if on is not None:
        from etesian.bench.ray_cluster import run_on_ray  # for those who have a cluster

        run_on_ray(missing, suite, ledger, address=on, source=source, synchronize=synchronize)
    elif isolate:
        recipes = _recipes(suite, {job.workload for job in missing}, source)
        _run_in_processes(missing, recipes, ledger, at_once=jobs, synchronize=synchronize)
    else:
        _run_here(missing, suite, ledger, synchronize=synchronize)
    return ledger.all_runs()


def plan_jobs(suite: Suite, seeds: Sequence[int]) -> list[Job]:
    """All runs of a suite in the order in which they are made; see `run_suite` for the reason."""
    names = [workload.name for workload in suite.workloads]
    rounds = [(seed, names[(turn := place % len(names)) :] + names[:turn]) for place, seed in enumerate(seeds)]
    return [Job(name, seed, suite.target, suite.budget_seconds) for seed, order in rounds for name in order]


class _Ledger:
    """What is finished: keeps each run in the store and tells of it, in this order."""

    def __init__(
        self,
        suite: Suite,
        plan: Sequence[Job],
        endings: Mapping[tuple[str, int], Ending],
        store: Store | None,
        progress: Progress | None,
    ) -> None:
        self._suite, self._plan, self._endings = suite, plan, endings
        self._store, self._progress = store, progress
        self._runs: dict[tuple[str, int], Run] = {}
        self._finished = 0

    def plan(self, missing: Sequence[Job]) -> None:
        self._finished = len(self._plan) - len(missing)
        self._tell("planned")

    def start(self, job: Job) -> None:
        self._tell("started", job)

    def note(self, job: Job, point: Point) -> None:
        self._tell("point", job, point=point)

    def finish(self, job: Job, run: Run) -> None:
        key = (job.workload, job.seed)
        self._runs[key] = run
        if self._store is not None:
            try:
                self._store.add(run, suite=self._suite.name, replace=key in self._endings)
            except AlreadyStoredError:
                # Another process ran the same suite into the same store, and was faster: the first one stands.
                del self._runs[key]
        self._finished += 1
        self._tell("finished", job, run=run)

    def all_runs(self) -> list[Run]:
        stored = [] if self._store is None else self._store.runs(self._suite.name, target=self._suite.target)
        runs = {(run.workload, run.seed): run for run in stored} | self._runs
        return [runs[job.workload, job.seed] for job in self._plan]

    def _tell(
        self,
        kind: Literal["planned", "started", "point", "finished"],
        job: Job | None = None,
        *,
        point: Point | None = None,
        run: Run | None = None,
    ) -> None:
        if self._progress is not None:
            self._progress(Event(kind, self._suite.name, self._finished, len(self._plan), job, point, run))


def _run_here(
    missing: Sequence[Job], suite: Suite, ledger: _Ledger, *, synchronize: Callable[[], object] | None
) -> None:
    workloads = {workload.name: workload for workload in suite.workloads}
    for job in missing:
        ledger.start(job)
        finished = run(
            workloads[job.workload],
            job.target,
            seed=job.seed,
            budget_seconds=job.budget_seconds,
            synchronize=synchronize,
            on_point=partial(ledger.note, job),
        )
        with interrupts_held():
            ledger.finish(job, finished)


def _run_in_processes(
    missing: Sequence[Job],
    recipes: Mapping[str, Recipe],
    ledger: _Ledger,
    *,
    at_once: int,
    synchronize: Callable[[], object] | None,
) -> None:
    waiting = list(reversed(missing))
    children: list[Child] = []
    try:
        while waiting or children:
            while waiting and len(children) < at_once:
                job = waiting.pop()
                with interrupts_held():  # until the child is among those that are ended below
                    children.append(Child(job, recipes[job.workload], synchronize=synchronize))
                ledger.start(job)
            for child in _that_have_news(children):
                with interrupts_held():  # until what has finished is kept
                    has_ended = _hear(child, ledger)
                if has_ended:
                    child.finish()
                    children.remove(child)
    finally:
        for child in children:
            child.stop()


def _hear(child: Child, ledger: _Ledger) -> bool:
    """Take the child's next message; whether it was the last."""
    news = child.receive()
    if isinstance(news, Point):
        ledger.note(child.job, news)
        return False
    ledger.finish(child.job, news)
    return True


def _that_have_news(children: Sequence[Child]) -> Iterator[Child]:
    """Wait for the children that have sent something or have died."""
    ready = connection.wait([child.messages for child in children], timeout=_SECONDS_BETWEEN_LOOKS)
    return (child for child in list(children) if child.messages in ready or child.has_died())


def _recipes(suite: Suite, names: set[str], source: str | None) -> dict[str, Recipe]:
    """How processes come by their workloads; fails before anything has run."""
    workloads = [workload for workload in suite.workloads if workload.name in names]
    if source is not None:
        return {workload.name: FromSource(source, workload.name) for workload in workloads}
    return {workload.name: FromPickle.of(workload) for workload in workloads}


def _is_missing(job: Job, endings: Mapping[tuple[str, int], Ending], *, retry_failed: bool) -> bool:
    ending = endings.get((job.workload, job.seed))
    if ending is None:
        return True
    if ending.outcome == "out_of_time":
        return _seconds(job.budget_seconds) > _seconds(ending.budget_seconds)
    return ending.outcome == "failed" and retry_failed


def _seconds(budget_seconds: float | None) -> float:
    return math.inf if budget_seconds is None else budget_seconds


def _as_seeds(seeds: int | Sequence[int]) -> list[int]:
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"seeds must be a number of at least 1 or seeds that differ; got {seeds!r}")
    return chosen


def _check_jobs(jobs: int, *, isolate: bool, on: str | None) -> None:
    if jobs < 1:
        raise InputError(f"jobs must be at least 1; got {jobs!r}")
    if jobs > 1 and not isolate:
        raise InputError(f"jobs must be 1 when runs share one process (isolate=False); got {jobs!r}")
    if on is None:
        return
    if jobs > 1 or not isolate:
        what = f"jobs={jobs!r}" if jobs > 1 else "isolate=False"
        raise InputError(
            f"runs on a cluster have processes of their own, as many as it holds; got {what} with on={on!r}"
        )
    if on != "ray" and not on.startswith("ray://"):
        raise InputError(f"on must be 'ray' or 'ray://host:port'; got {on!r}")
