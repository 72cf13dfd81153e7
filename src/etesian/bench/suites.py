"""Runs of a suite: each workload with each seed, in fresh processes, stored as soon as they finish."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Literal

from etesian._shared.ray_connection import check_address
from etesian.bench.errors import AlreadyStoredError, InputError
from etesian.bench.isolate import Child, FromPickle, FromSource, Job, Recipe, default_limit, interrupts_held
from etesian.bench.loop import run
from etesian.bench.record import Point, Run
from etesian.bench.source_code import code_digest
from etesian.bench.workload import Suite

if TYPE_CHECKING:
    from etesian.bench.store import Ending, Store

_POLL_SECONDS = 0.5  # between checks that silent processes are alive


@dataclass(frozen=True)
class Event:
    """Progress of `run_suite`.

    Parameters
    ----------
    kind
        ``"planned"`` once, before anything runs; then ``"started"``, ``"point"`` and ``"finished"`` for each run.
    suite
        Name under which the runs are stored.
    finished, total
        Number of runs that need no more work, and of all runs; runs already in the store count in both.
    job
        Run that the event is about; None when planned.
    point, run
        Point just measured; run just finished.
    note
        Warning about the plan, such as stored runs of other code; empty for none.
    """

    kind: Literal["planned", "started", "point", "finished"]
    suite: str
    finished: int
    total: int
    job: Job | None = None
    point: Point | None = None
    run: Run | None = None
    note: str = ""


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
    limit_seconds: float | None = None,
    any_code: bool = False,
) -> list[Run]:
    """Run every workload of a suite with every seed, except for runs that are already stored.

    The order is A B C, B C A, C A B: in each round of seeds every workload takes another place, so that a machine that
    warms up or slows down affects all workloads alike.

    Parameters
    ----------
    suite
        Suite to run.
    seeds
        Seeds, or the number of seeds from 0.
    store
        Store for the runs. Each run is stored as soon as it ends, and stored runs are not repeated, except for runs that
        ran out of time when the budget of the suite has grown. Runs of other code are kept apart; see `any_code`.
    isolate
        If True, each run has a fresh process, and a process that dies is recorded as a failed run.
    jobs
        Number of concurrent processes. More than one disturb each other's times.
    source
        File or name from which `load_suite` loaded the suite; processes load their workload from there. None to pickle
        the workloads.
    synchronize
        Argument of `etesian.bench.run`; picklable when isolated.
    retry_failed
        If True, repeat failed runs and replace them.
    progress
        Called with each `Event`.
    on
        ``"ray"`` or ``"ray://host:port"`` to run on a Ray cluster, with as many concurrent runs as their `resources`
        allow. A run that is lost with its node is started again, up to three times.
    limit_seconds
        Longest time between two measurements of a run. Its process is then killed, and the run recorded as out of time
        with its points. None for three times the budget, at least 5 s, or no limit without a budget. Runs that share this
        process (isolate=False) have no limit, since they cannot be killed.
    any_code
        If False and the store holds runs of this suite whose code or arguments differ, the new runs are stored in a
        suite of their own, ``NAME@DIGEST``. If True, they are pooled.

    Returns
    -------
    list of Run
        One run for each workload and seed, in the order of the plan, including stored runs.

    Raises
    ------
    InputError
        If a workload cannot be sent to a process or lacks the metric of the target, or `seeds`, `jobs`, `on` or
        `limit_seconds` are invalid.

    Warns
    -----
    UserWarning
        If stored runs come from other code, and `progress` is None.

    Notes
    -----
    After KeyboardInterrupt the processes are ended and the interrupt is passed on; the same call with the same store
    resumes. Scripts that call this function guard the call by ``if __name__ == "__main__":``, as fresh processes import
    them.
    """
    _check_jobs(jobs, isolate=isolate, on=on)
    if limit_seconds is not None and not isolate:
        raise InputError(
            f"a limit requires a process per run, which can be killed; got limit_seconds={limit_seconds:g} with isolate=False"
        )
    limit = default_limit(suite.budget_seconds) if limit_seconds is None else limit_seconds
    plan = plan_jobs(suite, _as_seeds(seeds), limit_seconds=limit)
    name, note = (suite.name, "") if store is None else _name_for_code(suite, store, any_code=any_code)
    endings = {} if store is None else store.endings(name, suite.target)
    missing = [job for job in plan if _is_missing(job, endings, retry_failed=retry_failed)]
    ledger = _Ledger(name, suite, plan, endings, store, progress)
    ledger.plan(missing, note)
    if on is not None:
        from etesian.bench.ray_cluster import run_on_ray  # only for those who have a cluster

        run_on_ray(missing, suite, ledger, address=on, source=source, synchronize=synchronize)
    elif isolate:
        recipes = _recipes(suite, {job.workload for job in missing}, source)
        _run_in_processes(missing, recipes, ledger, at_once=jobs, synchronize=synchronize)
    else:
        _run_here(missing, suite, ledger, synchronize=synchronize)
    return ledger.all_runs()


def suite_digest(suite: Suite) -> str:
    """Return a digest of the code and the arguments of all workloads."""
    text = " ".join(sorted(f"{workload.name} {code_digest(workload)}" for workload in suite.workloads))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _name_for_code(suite: Suite, store: Store, *, any_code: bool) -> tuple[str, str]:
    """Choose the stored name of a suite, so that runs of different code stay apart; with a note if they differ."""
    stored = store.codes(suite.name, suite.target)
    current = {workload.name: code_digest(workload) for workload in suite.workloads}
    others = sum(count for (name, code), count in stored.items() if code != current.get(name, code))
    if not others:
        return suite.name, ""
    problem = f"{others} stored run{'s' * (others != 1)} of {suite.name} come{'s' * (others == 1)} from other code or arguments"
    if any_code:
        return suite.name, f"{problem} and are pooled with the new ones"
    name = f"{suite.name}@{suite_digest(suite)}"
    return name, f"{problem}; the runs of the present code are kept apart as {name} (--any-code pools them)"


def plan_jobs(suite: Suite, seeds: Sequence[int], *, limit_seconds: float | None = None) -> list[Job]:
    """List all runs of a suite in the order in which they are made; see `run_suite`."""
    names = [workload.name for workload in suite.workloads]
    rounds = [(seed, names[(turn := place % len(names)) :] + names[:turn]) for place, seed in enumerate(seeds)]
    return [
        Job(name, seed, suite.target, suite.budget_seconds, limit_seconds) for seed, order in rounds for name in order
    ]


class _Ledger:
    """Finished runs: stores each run, then reports it."""

    def __init__(
        self,
        name: str,
        suite: Suite,
        plan: Sequence[Job],
        endings: Mapping[tuple[str, int], Ending],
        store: Store | None,
        progress: Progress | None,
    ) -> None:
        self._name, self._target, self._plan, self._endings = name, suite.target, plan, endings
        self._store, self._progress = store, progress
        self._codes = {workload.name: code_digest(workload) for workload in suite.workloads}
        self._runs: dict[tuple[str, int], Run] = {}
        self._finished = 0

    def plan(self, missing: Sequence[Job], note: str) -> None:
        self._finished = len(self._plan) - len(missing)
        if note and self._progress is None:
            warnings.warn(note, stacklevel=3)
        self._report("planned", note=note)

    def start(self, job: Job) -> None:
        self._report("started", job)

    def note(self, job: Job, point: Point) -> None:
        self._report("point", job, point=point)

    def finish(self, job: Job, run: Run) -> None:
        key = (job.workload, job.seed)
        if not run.code:  # its process was killed or died, and reported nothing
            run = replace(run, code=self._codes[job.workload])
        self._runs[key] = run
        if self._store is not None:
            try:
                self._store.add(run, suite=self._name, replace=key in self._endings)
            except AlreadyStoredError:
                # Another process ran the same suite into the same store and was first; its run stays.
                del self._runs[key]
        self._finished += 1
        self._report("finished", job, run=run)

    def all_runs(self) -> list[Run]:
        stored = [] if self._store is None else self._store.runs(self._name, target=self._target)
        runs = {(run.workload, run.seed): run for run in stored} | self._runs
        return [runs[job.workload, job.seed] for job in self._plan]

    def _report(
        self,
        kind: Literal["planned", "started", "point", "finished"],
        job: Job | None = None,
        *,
        point: Point | None = None,
        run: Run | None = None,
        note: str = "",
    ) -> None:
        if self._progress is not None:
            self._progress(Event(kind, self._name, self._finished, len(self._plan), job, point, run, note))


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
                with interrupts_held():  # until the child is in the list of those to end
                    children.append(Child(job, recipes[job.workload], synchronize=synchronize))
                ledger.start(job)
            for child in _with_news(children):
                with interrupts_held():  # until the finished run is stored
                    has_ended = _handle(child, ledger)
                if has_ended:
                    child.finish()
                    children.remove(child)
    finally:
        for child in children:
            child.stop()


def _handle(child: Child, ledger: _Ledger) -> bool:
    """Handle the next message of a child; return True if it was the last."""
    message = child.receive()
    if isinstance(message, Point):
        ledger.note(child.job, message)
        return False
    ledger.finish(child.job, message)
    return True


def _with_news(children: Sequence[Child]) -> Iterator[Child]:
    """Wait for children that have sent a message, have died or are overdue."""
    ready = connection.wait([child.messages for child in children], timeout=_POLL_SECONDS)
    return (child for child in list(children) if child.messages in ready or child.has_died() or child.is_overdue())


def _recipes(suite: Suite, names: set[str], source: str | None) -> dict[str, Recipe]:
    """Choose how processes make their workloads; fails before anything has run."""
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
        raise InputError(f"seeds must be a number of at least 1, or distinct seeds; got {seeds!r}")
    return chosen


def _check_jobs(jobs: int, *, isolate: bool, on: str | None) -> None:
    if jobs < 1:
        raise InputError(f"jobs must be at least 1; got {jobs!r}")
    if jobs > 1 and not isolate:
        raise InputError(f"jobs must be 1 when runs share one process (isolate=False); got {jobs!r}")
    if on is None:
        return
    if jobs > 1 or not isolate:
        given = f"jobs={jobs!r}" if jobs > 1 else "isolate=False"
        raise InputError(f"runs on a cluster always have their own processes; got {given} with on={on!r}")
    check_address(on)
