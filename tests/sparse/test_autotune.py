from dataclasses import replace

import numpy as np
import pytest
from conftest import touches_of

from etesian.sparse import SGD, Linear, Ratings, epochs, make_plan, minimize
from etesian.sparse.problems.losses import REGRESSION
from etesian.sparse.problems.penalties import L2
from etesian.sparse.schedules import autotune
from etesian.sparse.schedules.autotune import Choice


def ratings_problem(n=20_000):
    rng = np.random.default_rng(0)
    rating = rng.normal(3, 1, n).astype("float32")
    return Ratings(rng.integers(0, 900, n), rng.integers(0, 900, n), rating, 900, 900, 8, penalty=0.01, biased=True)


def a_plan(n=5_000):
    touches = touches_of([{v} for v in range(n)], n)
    return make_plan("conflict_free", touches, n_workers=2, rng=np.random.default_rng(0), batch_size=100)


class Pretend:
    """Carries out plans on a clock of its own: an update takes this long by all workers, and by one."""

    def __init__(self, monkeypatch, *, by_all, by_one):
        self.now, self.takes, self.ran = 0.0, {2: by_all, 1: by_one}, []
        monkeypatch.setattr(autotune.time, "perf_counter", lambda: self.now)

    def __call__(self, plan):
        self.ran.append(plan)
        self.now += self.takes[plan.n_workers] * (plan.offsets[-1, -1] - plan.offsets[0, 0])


def epochs_until_made(plan, run):
    choice, epochs, taken = Choice(), 0, plan
    while not choice.is_made:
        taken = choice.run_plan(plan, run)
        epochs += 1
    return epochs, taken


def test_profitable_plan_is_kept_with_the_measured_speedup(monkeypatch):
    _, taken = epochs_until_made(a_plan(), Pretend(monkeypatch, by_all=1.0, by_one=1.5))
    assert taken.n_workers == 2
    assert taken.note.endswith("2 workers measured 1.50 times as fast as one")


def test_unprofitable_workers_are_replaced_by_one(monkeypatch):
    plan = a_plan()
    _, taken = epochs_until_made(plan, Pretend(monkeypatch, by_all=1.0, by_one=0.9))
    assert taken.n_workers == 1
    assert (taken.order == plan.order).all()
    assert taken.note.endswith("measured 0.90 times as fast as one, so one worker runs the plan")


def test_planning_counts_against_several_workers(monkeypatch):
    plan, run = a_plan(), Pretend(monkeypatch, by_all=1.0, by_one=1.5)
    choice = Choice()
    while not choice.is_made:
        choice.run_plan(plan, run)
    assert choice.run_plan(plan, run, planning_seconds=0.2 * 5_000).n_workers == 2
    taken = choice.run_plan(plan, run, planning_seconds=0.5 * 5_000)
    assert taken.n_workers == 1
    assert taken.note.endswith(
        "2 workers, planning included, measured 1.00 times as fast as one, so one worker runs the plan"
    )


def test_epochs_are_no_longer_planned_once_one_worker_is_faster(monkeypatch):
    monkeypatch.setattr(autotune, "WORTH_THREADS", 1e9)
    planned = []
    plan_order = epochs.plan_order
    monkeypatch.setattr(epochs, "plan_order", lambda *a, **options: planned.append(a[0]) or plan_order(*a, **options))
    minimize(ratings_problem(40_000), schedule="auto", n_jobs=2, method=SGD(0.01), max_iter=6, tol=None, random_state=0)
    assert planned[0] == "auto"
    assert planned[-1] == "serial"


@pytest.mark.parametrize("part_updates", [110, 1_000, 10**6])
def test_a2_measured_epochs_run_every_update_once(monkeypatch, part_updates):
    monkeypatch.setattr(autotune, "PART_UPDATES", part_updates)
    plan, run = a_plan(), Pretend(monkeypatch, by_all=1.0, by_one=2.0)
    epochs, _ = epochs_until_made(plan, run)
    ran = np.concatenate([np.arange(part.offsets[0, 0], part.offsets[-1, -1]) for part in run.ran])
    assert (ran == np.tile(np.arange(5_000), epochs)).all()
    assert epochs == (1 if part_updates < 500 else 2 if part_updates == 1_000 else 6)


def test_timing_order_alternates_between_configurations(monkeypatch):
    run = Pretend(monkeypatch, by_all=1.0, by_one=1.0)
    epochs_until_made(a_plan(), run)
    assert [plan.n_workers for plan in run.ran] == [2, 1, 1, 2, 2, 1]


@pytest.mark.parametrize("worth", [0.0, 1e9])
@pytest.mark.parametrize("order", ["each_epoch", "fixed"])
def test_autotuning_does_not_change_the_result(monkeypatch, worth, order):
    monkeypatch.setattr(autotune, "WORTH_THREADS", worth)
    options = {"method": SGD(0.01), "max_iter": 8, "tol": None, "random_state": 0, "order": order}
    auto = minimize(ratings_problem(), schedule="auto", n_jobs=2, **options)
    serial = minimize(ratings_problem(), schedule="serial", n_jobs=2, **options)
    assert [array.tobytes() for array in auto.variables] == [array.tobytes() for array in serial.variables]
    assert (auto.plan.n_workers == 1) == (worth > 1)
    assert auto.plan.note.count("measured") == 1


def test_auto_of_a_problem_with_lazy_terms_equals_its_serial_run():
    rng = np.random.default_rng(1)
    X = touches_of([set(map(int, rng.choice(3_000, 3, replace=False))) for _ in range(6_000)], 3_000).astype(float)
    problem = Linear(X, rng.standard_normal(6_000), REGRESSION["squared"], L2(1e-3))
    options = {"method": SGD(0.01), "max_iter": 2, "tol": None, "random_state": 0}
    results = [minimize(problem, schedule=schedule, n_jobs=2, **options) for schedule in ("auto", "levels", "serial")]
    bits = {b"".join(array.tobytes() for array in result.variables) for result in results}
    assert len(bits) == 1


def test_serial_plan_is_not_measured():
    plan = make_plan("serial", touches_of([{0}], 1), n_workers=1, rng=np.random.default_rng(0))
    plan, ran = replace(plan, note="as it was"), []
    choice = Choice()
    assert choice.run_plan(plan, ran.append) is plan
    assert ran == [plan]
    assert not choice.is_made
