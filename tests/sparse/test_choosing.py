from dataclasses import replace

import numpy as np
import pytest
from conftest import touches_of

from etesian.sparse import SGD, Linear, Ratings, Workers, choosing, make_plan, minimize
from etesian.sparse.problems.losses import REGRESSION


def ratings_problem(n=20_000):
    rng = np.random.default_rng(0)
    rating = rng.normal(3, 1, n).astype("float32")
    return Ratings(rng.integers(0, 900, n), rng.integers(0, 900, n), rating, 900, 900, 8, penalty=0.01, biased=True)


def chosen(monkeypatch, problem, *, plan_takes, serial_takes):
    """What `keep_if_faster` returns where an epoch takes so long."""
    monkeypatch.setattr(choosing, "time_epochs", lambda *_, **__: [plan_takes, serial_takes])
    plan = make_plan("auto", problem.touches, n_workers=2, rng=np.random.default_rng(0), keep_steps=True)
    with Workers(2) as workers:
        return plan, choosing.keep_if_faster(
            plan, problem, workers, problem.start(np.random.default_rng(0)), step_size=0.1
        )


def test_plan_that_is_faster_is_kept_and_says_by_how_much(monkeypatch):
    plan, kept = chosen(monkeypatch, ratings_problem(), plan_takes=1.0, serial_takes=1.5)
    assert kept.order is plan.order
    assert kept.note.endswith("with 2 workers measured 1.50 times as fast as serial")


def test_plan_that_gains_nothing_gives_way_to_its_serial_order(monkeypatch):
    problem = ratings_problem()
    _, kept = chosen(monkeypatch, problem, plan_takes=1.0, serial_takes=0.9)
    serial = make_plan("serial", problem.touches, n_workers=1, rng=np.random.default_rng(0))
    assert kept.schedule == "serial"
    assert (kept.order == serial.order).all()
    assert kept.note.endswith("measured 0.90 times as fast as serial, so the run is serial")


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_choice_cannot_change_the_bits(monkeypatch, gain):
    monkeypatch.setattr(choosing, "time_epochs", lambda *_, **__: [1.0, gain])
    options = {"method": SGD(0.01), "max_iter": 3, "tol": None, "random_state": 0, "redraw": True}
    auto = minimize(ratings_problem(), schedule="auto", n_jobs=2, **options)
    serial = minimize(ratings_problem(), schedule="serial", n_jobs=2, **options)
    assert [array.tobytes() for array in auto.variables] == [array.tobytes() for array in serial.variables]
    assert (auto.plan.n_workers == 1) == (gain < 1)


def test_measuring_changes_neither_variables_nor_data():
    problem = ratings_problem()
    plan = make_plan("levels", problem.touches, n_workers=2, rng=np.random.default_rng(0), keep_steps=True)
    variables = problem.start(np.random.default_rng(0))
    before = [array.copy() for array in variables]
    with Workers(2) as workers:
        (seconds,) = choosing.time_epochs([plan], problem, workers, variables, step_size=0.1)
    assert 0 < seconds < 60
    assert all((now == then).all() for now, then in zip(variables, before, strict=True))


def plan_of_independent_updates(n):
    touches = touches_of([{v} for v in range(n)], n)
    return make_plan("conflict_free", touches, n_workers=2, rng=np.random.default_rng(0), batch_size=100)


@pytest.mark.parametrize("n", [800, 5_000, 20_000])
def test_parts_of_a_long_epoch_are_whole_batches_that_do_not_overlap(monkeypatch, n):
    monkeypatch.setattr(choosing, "PART_UPDATES", 110)
    plan = plan_of_independent_updates(n)
    parts = choosing._parts(plan)
    assert len(parts) == choosing.N_PARTS
    assert {len(part) for part in parts} <= {1, 2}
    ends = np.array([[part[0, 0], part[-1, -1]] for part in parts]).ravel()
    assert (np.diff(ends) >= 0).all()
    assert set(np.concatenate(parts)[:, 0]) <= set(plan.offsets[:, 0])


def test_a_short_epoch_is_timed_whole():
    plan = plan_of_independent_updates(500)
    (part,) = choosing._parts(plan)
    assert part is plan.offsets


def test_auto_of_a_problem_with_lazy_terms_equals_its_serial_run():
    rng = np.random.default_rng(1)
    X = touches_of([set(map(int, rng.choice(3_000, 3, replace=False))) for _ in range(6_000)], 3_000).astype(float)
    problem = Linear(X, rng.standard_normal(6_000), REGRESSION["squared"], ridge=1e-3)
    options = {"method": SGD(0.01), "max_iter": 2, "tol": None, "random_state": 0}
    results = [minimize(problem, schedule=schedule, n_jobs=2, **options) for schedule in ("auto", "levels", "serial")]
    bits = {b"".join(array.tobytes() for array in result.variables) for result in results}
    assert len(bits) == 1


def test_serial_plan_is_not_measured():
    plan = make_plan("serial", touches_of([{0}], 1), n_workers=1, rng=np.random.default_rng(0))
    plan = replace(plan, note="as it was")
    assert choosing.keep_if_faster(plan, None, None, (), step_size=0.1) is plan
