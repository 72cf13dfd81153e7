"""Laws A1, A2, A3 and A5 for the plans that go beyond components."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import WORKERS, Mixing, conflict_graphs, touches_of
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.sparse import Ratings, Workers, make_plan


@st.composite
def two_sided_graphs(draw):
    """Updates that touch one of some left and one of some right variables."""
    n_left, n_right = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    row = st.tuples(st.integers(0, n_left - 1), st.integers(n_left, n_left + n_right - 1)).map(set)
    return touches_of(draw(st.lists(row, min_size=1, max_size=80)), n_left + n_right)


GRAPHS = {"levels": conflict_graphs(), "blocked": two_sided_graphs(), "auto": conflict_graphs()}
EXACT_PLANS = [(schedule, n_workers) for schedule in GRAPHS for n_workers in WORKERS]


def plan_of(schedule, touches, n_workers, size, *, seed=0, keep_steps=False):
    option = {"batch_size": size} if schedule != "blocked" else {"n_blocks": size}
    rng = np.random.default_rng(seed)
    return make_plan(schedule, touches, n_workers=n_workers, rng=rng, keep_steps=keep_steps, **option)


def variables_after(problem, plan, *, epochs=3):
    variables = problem.start(np.random.default_rng(1))
    data = problem.lay_out(plan)
    with Workers(plan.n_workers) as workers:
        for _ in range(epochs):
            workers.run(plan, problem.update_range, data, variables, 0.05)
    return [array.tobytes() for array in variables]


def serial_order_of(schedule):
    """Return the schedule for the one-worker reference run: a blocked plan has an order of its own."""
    return "blocked" if schedule == "blocked" else "serial"


@pytest.mark.parametrize(("schedule", "n_workers"), EXACT_PLANS)
@given(data=st.data(), size=st.integers(1, 40))
@settings(max_examples=40)
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(schedule, n_workers, data, size):
    problem = Mixing(data.draw(GRAPHS[schedule]))
    serial = plan_of(serial_order_of(schedule), problem.touches, 1, size)
    parallel = plan_of(schedule, problem.touches, n_workers, size)
    assert variables_after(problem, parallel) == variables_after(problem, serial)


def ratings_problem():
    rng = np.random.default_rng(5)
    n = 30_000
    user, item = rng.integers(0, 4_000, n), (2_000 * rng.random(n) ** 2).astype(int)
    rating = rng.normal(3.5, 1.0, n).astype("float32")
    return Ratings(user, item, rating, 4_000, 2_000, n_factors=13, penalty=0.02, biased=True)


@pytest.mark.parametrize("schedule", GRAPHS)
def test_a1_holds_with_measured_sizes(schedule):
    problem = ratings_problem()
    serial = plan_of(serial_order_of(schedule), problem.touches, 1, None)
    expected = variables_after(problem, serial)
    for n_workers in WORKERS[1:]:
        plan = plan_of(schedule, problem.touches, n_workers, None)
        assert plan.n_workers == n_workers
        assert variables_after(problem, plan) == expected, n_workers


@pytest.mark.parametrize(("schedule", "n_workers"), EXACT_PLANS)
@given(data=st.data(), size=st.integers(1, 40))
@settings(max_examples=40)
def test_a2_each_update_runs_exactly_once_an_epoch(schedule, n_workers, data, size):
    touches = data.draw(GRAPHS[schedule])
    plan = plan_of(schedule, touches, n_workers, size)
    carried_out = np.concatenate([updates for batch in plan.batches() for updates in batch])
    assert sorted(carried_out) == list(range(touches.shape[0]))


@pytest.mark.parametrize(("schedule", "n_workers"), EXACT_PLANS)
@given(data=st.data(), size=st.integers(1, 40))
@settings(max_examples=40)
def test_a3_no_two_workers_share_a_variable_between_two_barriers(schedule, n_workers, data, size):
    touches = data.draw(GRAPHS[schedule])
    plan = plan_of(schedule, touches, n_workers, size)
    assert plan.synchronized or plan.n_workers == 1
    for batch in plan.batches():
        touched = [set(touches[updates].indices) for updates in batch]
        assert sum(map(len, touched)) == len(set().union(*touched))


@pytest.mark.parametrize("schedule", GRAPHS)
@given(data=st.data(), size=st.integers(1, 40))
@settings(max_examples=40)
def test_updates_that_share_a_variable_run_in_the_order_of_their_steps(schedule, data, size):
    touches = data.draw(GRAPHS[schedule])
    plan = plan_of(schedule, touches, 3, size, keep_steps=True)
    serial = plan_of(serial_order_of(schedule), touches, 1, size, keep_steps=True)
    step = np.empty(len(plan.order), np.int64)
    step[serial.order] = np.arange(len(step))
    assert (plan.steps == step[plan.order]).all()
    for variable in range(touches.shape[1]):
        touching = [e for e in plan.order if variable in touches[[e]].indices]
        assert (np.diff(step[touching]) > 0).all()


@pytest.mark.parametrize("schedule", GRAPHS)
def test_a5_same_seed_same_bits_other_seed_other_bits(schedule):
    problem = ratings_problem()

    def run(seed):
        return variables_after(problem, plan_of(schedule, problem.touches, 2, None, seed=seed), epochs=1)

    assert run(0) == run(0)
    assert run(0) != run(1)
