"""Record of one training run, the same for every library: a clock that can pause, points, and a store at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etesian.bench import machine
from etesian.bench.errors import UnknownMetricError
from etesian.bench.io._reading.curves import outcome_of
from etesian.bench.record import Outcome, Point, Run
from etesian.bench.store import Store
from etesian.bench.workload import Target


class RunRecorder:
    """Record the time of training and the measurements of one run.

    Parameters
    ----------
    target
        Target of the run, such as ``"eval_accuracy>=0.9"``.
    store
        SQLite file or database URL to which the run is added when training ends.
    workload
        Name of the entry, such as the optimizer.
    seed
        Seed of the run; repeats of an entry differ in it.
    suite
        Suite to store the run under.
    stop_at_target
        If True, training stops as soon as the target is reached.
    synchronize
        Waits for work on accelerators before the clock is read. None means PyTorch's, if CUDA is in use.
    clock
        Monotonic clock that returns seconds.

    Attributes
    ----------
    run : Run or None
        The finished run; None before training has ended.
    """

    def __init__(
        self,
        target: Target | str,
        *,
        store: str | Path,
        workload: str,
        seed: int = 0,
        suite: str = "training",
        stop_at_target: bool = False,
        synchronize: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.target = Target.parse(target) if isinstance(target, str) else target
        self.store, self.workload, self.seed, self.suite = str(store), workload, seed, suite
        self.stop_at_target = stop_at_target
        self.run: Run | None = None
        self._synchronize, self._clock = synchronize or _wait_for_cuda, clock
        self._points: list[Point] = []
        self._seconds, self._since, self._started = 0.0, None, ""  # type: float, float | None, str
        self._prepared: Future[dict[str, Any]] | None = None

    def start(self, *, stores: bool = True) -> None:
        """Begin a run and start its clock.

        Parameters
        ----------
        stores
            If True, this process will add the run to the store. The store is then opened in a thread, so that one that cannot be
            used is an error at an evaluation and not only after training, and the machine is described in its present state.
        """
        self._points, self._seconds, self.run = [], 0.0, None
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._prepared = _in_thread(self._prepare) if stores else None
        self.resume()

    @property
    def is_running(self) -> bool:
        """Return True if a run has begun and not ended."""
        return bool(self._started) and self.run is None

    def pause(self) -> None:
        """Stop the clock, after the work that is still under way."""
        if self._since is not None:
            self._synchronize()
            self._seconds += self._clock() - self._since
            self._since = None

    def resume(self) -> None:
        """Let the clock go on, after work that evaluation left under way."""
        if self._since is None:
            self._synchronize()
            self._since = self._clock()

    def record(self, steps: int, metrics: Mapping[str, Any]) -> bool:
        """Add a measurement; return whether training should stop.

        Raises
        ------
        UnknownMetricError
            If the target's metric is not among the metrics.
        InputError
            If the store cannot be used.
        """
        if self._prepared is not None and self._prepared.done():
            self._prepared.result()
        numbers = {name: number for name, value in metrics.items() if (number := _as_number(value)) is not None}
        if self.target.metric not in numbers:
            known = ", ".join(sorted(numbers)) or "none"
            raise UnknownMetricError(
                f"the target's metric {self.target.metric!r} was not measured; the metrics are {known}"
            )
        self.pause()
        self._points.append(Point(steps, self._seconds, numbers))
        return self.stop_at_target and self.target.is_reached(numbers[self.target.metric])

    def finish(self, error: BaseException | None = None) -> None:
        """End the run and add it to the store; with an error, it has failed."""
        if not self.is_running:
            return
        self.pause()
        described = self._prepare() if self._prepared is None else self._prepared.result()
        self.run = Run(
            workload=self.workload,
            seed=self.seed,
            target=self.target,
            outcome=self._outcome(error),
            points=tuple(self._points),
            error=self._error(error),
            machine=described | {"gpus": machine.gpus()},
            started=self._started,
            details={"training_seconds": self._seconds},
        )
        with Store(self.store) as opened:
            opened.add(self.run, suite=self.suite)

    def _prepare(self) -> dict[str, Any]:
        """Make the store if it does not exist; return the description of the machine."""
        with Store(self.store):
            return machine.describe()

    def _outcome(self, error: BaseException | None) -> Outcome:
        return "failed" if error is not None or not self._points else outcome_of(self._points, self.target)

    def _error(self, error: BaseException | None) -> str | None:
        if error is not None:
            return f"{type(error).__name__}: {error}"
        return None if self._points else "training ended without an evaluation"


def _in_thread(work: Callable[[], dict[str, Any]]) -> Future[dict[str, Any]]:
    executor = ThreadPoolExecutor(max_workers=1)
    result = executor.submit(work)
    executor.shutdown(wait=False)
    return result


def _as_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _wait_for_cuda() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
