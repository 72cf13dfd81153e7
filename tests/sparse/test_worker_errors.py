"""An error in any worker stops all workers and is raised: none waits forever for one that will not arrive."""

from __future__ import annotations

import faulthandler
import math
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import Slow, touches_of

from etesian.sparse import SGD, CustomProblem, Epochs, Workers, minimize
from etesian.sparse._engine.kernels import Merging
from etesian.sparse._engine.workers import CHUNK
from etesian.sparse.schedules.plan import Copies, Plan

N_UPDATES = 1_000
BATCH_SIZE = 50
N_BATCHES = N_UPDATES // BATCH_SIZE
FIRST_MIDDLE_LAST = {"first": 0, "middle": N_UPDATES // 2 + 3, "last": N_UPDATES - 1}

many_workers = pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
places = pytest.mark.parametrize("place", FIRST_MIDDLE_LAST)


@pytest.fixture(autouse=True)
def no_endless_wait():
    """End the process instead of waiting forever, with the stack of every thread."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def _count_range(start, stop, data, variables, step_size):
    is_bad = data[0]
    (x,) = variables
    for e in range(start, stop):
        if is_bad[e]:
            raise ValueError("a bad update")
        x[e] += 1.0


@dataclass
class Fragile:
    """Independent updates of which one, named by its place in the plan, raises an error."""

    place: int | None
    settles = False
    counts_steps = False
    update_range = staticmethod(_count_range)

    def __post_init__(self):
        self.touches = touches_of([{v} for v in range(N_UPDATES)], N_UPDATES)

    def start(self, rng):
        return (np.zeros(N_UPDATES),)

    def lay_out(self, plan):
        return (np.arange(N_UPDATES) == self.place,)

    def objective(self, variables, sum_over):
        return 0.0


@many_workers
@places
@pytest.mark.parametrize("schedule", ["conflict_free", "levels", "lock_free"])
def test_error_in_an_update_is_raised(n_workers, place, schedule):
    problem = Fragile(FIRST_MIDDLE_LAST[place])
    with Workers(n_workers) as workers, pytest.raises(ValueError, match="a bad update"):
        Epochs(problem, workers, method=SGD(0.1), schedule=schedule, batch_size=BATCH_SIZE, random_state=0).advance()


@many_workers
def test_workers_run_again_after_an_error(n_workers):
    with Workers(n_workers) as workers:
        for _ in range(3):
            failing = Epochs(Fragile(500), workers, method=SGD(0.1), schedule="conflict_free", batch_size=BATCH_SIZE)
            with pytest.raises(ValueError, match="a bad update"):
                failing.advance()
            sound = Epochs(Fragile(None), workers, method=SGD(0.1), schedule="conflict_free", batch_size=BATCH_SIZE)
            sound.advance()
            assert (sound.variables[0] == 1).all()


def test_error_stops_the_workers_that_had_not_failed():
    problem = Fragile(0)
    with Workers(3) as workers:
        epochs = Epochs(problem, workers, method=SGD(0.1), schedule="conflict_free", batch_size=BATCH_SIZE)
        with pytest.raises(ValueError, match="a bad update"):
            epochs.advance()
        assert epochs.variables[0].sum() <= BATCH_SIZE


def _sum_range(start, stop, data, variables, sums):
    for e in range(start, stop):
        if data[0][e]:
            raise ZeroDivisionError("a bad term")
        sums[0] += 1.0


@many_workers
@places
def test_error_in_a_sum_is_raised(n_workers, place):
    n = 20 * CHUNK
    is_bad = np.arange(n) == {"first": 0, "middle": n // 2, "last": n - 1}[place]
    with Workers(n_workers) as workers:
        with pytest.raises(ZeroDivisionError, match="a bad term"):
            workers.sum(_sum_range, n, 1, (is_bad,), (np.zeros(1),))
        assert workers.sum(_sum_range, n, 1, (np.zeros(n, bool),), (np.zeros(1),))[0] == n


def _spread_range(start, stop, hot, n_lists, variables):
    if variables[0][0] < 0:
        raise IndexError("a bad copy")


def _merge_range(start, stop, hot, cuts, data, variables, step_size):
    if start < stop and cuts[0] == data[1][0]:
        raise ArithmeticError("a bad merge")


def _run_merged(n_workers, *, bad_update=-1, bad_batch=-1, first_variable=0.0):
    """Run 20 batches of 8 lists of independent updates, with 7 hot variables that no update touches."""
    lists = np.linspace(0, BATCH_SIZE, 9).astype(np.int64) + BATCH_SIZE * np.arange(N_BATCHES)[:, None]
    copies = Copies(np.arange(7), lists)
    offsets = copies.offsets(n_workers)
    plan = Plan("merged", np.arange(N_UPDATES), offsets, True, BATCH_SIZE, float(n_workers), copies=copies)
    variables = (np.full(N_UPDATES + len(copies), first_variable),)
    data = np.arange(N_UPDATES) == bad_update, np.array([BATCH_SIZE * bad_batch])
    with Workers(n_workers) as workers:
        workers.run_in_copies(plan, Merging(_count_range, _spread_range, _merge_range), data, variables, 0.1)
    return variables[0]


@many_workers
def test_error_in_a_merged_plan_is_raised(n_workers):
    assert _run_merged(n_workers)[:N_UPDATES].tolist() == [1.0] * N_UPDATES
    for place in FIRST_MIDDLE_LAST.values():
        with pytest.raises(ValueError, match="a bad update"):
            _run_merged(n_workers, bad_update=place)
    for batch in (0, N_BATCHES // 2, N_BATCHES - 1):
        with pytest.raises(ArithmeticError, match="a bad merge"):
            _run_merged(n_workers, bad_batch=batch)
    with pytest.raises(IndexError, match="a bad copy"):
        _run_merged(n_workers, first_variable=-1.0)


def _update_unless_large(e, data, variables, step_size):
    if data.x[e] > 2:
        raise ValueError("x is above 2")
    variables.w[data.at[e]] += step_size * data.x[e]


@many_workers
@pytest.mark.parametrize("place", [0, 700, 3_999])
def test_minimize_raises_the_error_of_a_custom_update(n_workers, place):
    x, at = np.ones(4_000), np.arange(4_000) % 3_000
    x[place] = 3
    problem = CustomProblem(
        _update_unless_large, touches={"w": at}, variables={"w": np.zeros(3_000)}, data={"x": x, "at": at}
    )
    with pytest.raises(ValueError, match="x is above 2"):
        minimize(problem, n_jobs=n_workers, tol=None, max_iter=1, random_state=0)


def _fail_late_range(start, stop, data, variables, step_size):
    (x,) = variables
    for e in range(start, stop):
        for _ in range(10_000):
            x[e] = math.sin(x[e] + 1.0)
        if data[0][e] == 2**40:
            raise ValueError("never")


@many_workers
def test_interrupt_still_ends_a_run_between_two_batches(n_workers):
    class Endless(Slow):
        update_range = staticmethod(_fail_late_range)

    problem = Endless(100_000)  # an epoch takes at least 10 seconds on 2 cores
    minimize(Endless(64), schedule="serial", tol=None, max_iter=1)  # compile

    problem.interrupt_when_running()
    result = minimize(problem, n_jobs=n_workers, tol=None, max_iter=5, batch_size=500)
    assert result.outcome == "interrupted"
    assert 0 < np.count_nonzero(result.variables[0]) < 100_000


def test_short_serial_epoch_runs_in_the_calling_thread_and_raises_its_error(monkeypatch):
    monkeypatch.setattr("etesian.sparse._engine.workers.SHORT", math.inf)
    with Workers(1) as workers:
        run, fragile = (
            Epochs(Fragile(place), workers, method=SGD(), schedule="serial", random_state=0) for place in (None, 7)
        )
        run.advance()
        monkeypatch.setattr(workers, "_run_all", None)
        run.advance()
        with pytest.raises(ValueError, match="a bad update"):
            fragile.advance()
    assert (run.variables[0] == 2).all()
