"""Laws A1, A2, A3 and A5 of the design."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import WORKERS, Mixing, conflict_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.sparse import SGD, AdaptiveRatings, Epochs, Plan, Ratings, WordPairs, Workers, make_plan


def plan_of(touches, n_workers, batch_size, schedule="conflict_free", seed=0) -> Plan:
    return make_plan(schedule, touches, n_workers=n_workers, rng=np.random.default_rng(seed), batch_size=batch_size)


def variables_after(problem, *, n_workers, schedule, batch_size=None, seed=0, epochs=3, order="each_epoch"):
    with Workers(n_workers) as workers:
        run = Epochs(
            problem,
            workers,
            method=SGD(0.05),
            schedule=schedule,
            random_state=seed,
            batch_size=batch_size,
            order=order,
        )
        for _ in range(epochs):
            run.advance()
            run.objective()
    return run.variables


def is_bitwise_equal(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("n_workers", WORKERS)
@given(touches=conflict_graphs(), batch_size=st.integers(1, 90), order=st.sampled_from(["each_epoch", "fixed"]))
@settings(max_examples=30)
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(n_workers, touches, batch_size, order):
    problem = Mixing(touches)
    serial = variables_after(problem, n_workers=1, schedule="serial", order=order)
    parallel = variables_after(
        problem, n_workers=n_workers, schedule="conflict_free", batch_size=batch_size, order=order
    )
    assert is_bitwise_equal(serial, parallel)


def ratings_problem(dtype, biased, kind=Ratings):
    rng = np.random.default_rng(5)
    n = 30_000
    user, item = rng.integers(0, 4_000, n), (2_000 * rng.random(n) ** 2).astype(int)
    rating = rng.normal(3.5, 1.0, n).astype(dtype)
    return kind(user, item, rating, 4_000, 2_000, n_factors=13, penalty=0.02, biased=biased)


def words_problem(dtype):
    rng = np.random.default_rng(6)
    n = 30_000
    left = (2_000 * rng.random(n) ** 1.5).astype(int)
    right = (left + 1 + rng.integers(0, 1_998, n)) % 2_000
    return WordPairs(left, right, rng.integers(1, 500, n).astype(float), 2_000, n_dimensions=13, dtype=dtype)


PROBLEMS = {
    "ratings": lambda: ratings_problem("float32", biased=True),
    "ratings without biases": lambda: ratings_problem("float32", biased=False),
    "ratings in float64": lambda: ratings_problem("float64", biased=True),
    "ratings with automatic steps": lambda: ratings_problem("float32", biased=True, kind=AdaptiveRatings),
    "ratings with automatic steps, without biases": lambda: ratings_problem(
        "float64", biased=False, kind=AdaptiveRatings
    ),
    "words": lambda: words_problem(np.float32),
    "words in float64": lambda: words_problem(np.float64),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a1_holds_for_each_problem_with_the_measured_batch_size(name):
    problem = PROBLEMS[name]()
    serial = variables_after(problem, n_workers=1, schedule="serial")
    for n_workers in WORKERS[1:]:
        parallel = variables_after(problem, n_workers=n_workers, schedule="conflict_free")
        assert is_bitwise_equal(serial, parallel), n_workers


def test_a1_detects_a_change_of_order():
    problem = PROBLEMS["ratings"]()
    one = variables_after(problem, n_workers=1, schedule="serial", seed=0)
    with Workers(1) as workers:
        run = Epochs(problem, workers, method=SGD(0.05), schedule="serial", random_state=0)
        run.plan.order[:] = run.plan.order[::-1].copy()
        run._data = problem.lay_out(run.plan)
        for _ in range(3):
            run.advance()
    assert not is_bitwise_equal(one, run.variables)


@pytest.mark.parametrize("schedule", ["serial", "conflict_free", "lock_free"])
@pytest.mark.parametrize("n_workers", WORKERS)
@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=30)
def test_a2_each_update_runs_exactly_once_an_epoch(schedule, n_workers, touches, batch_size):
    plan = plan_of(touches, n_workers, batch_size, schedule)
    carried_out = np.concatenate([updates for batch in plan.batches() for updates in batch])
    assert sorted(carried_out) == list(range(touches.shape[0]))


@pytest.mark.parametrize("n_workers", WORKERS)
@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=60)
def test_a3_no_two_workers_share_a_variable_within_a_batch(n_workers, touches, batch_size):
    for batch in plan_of(touches, n_workers, batch_size).batches():
        touched = [set(touches[updates].indices) for updates in batch]
        assert sum(map(len, touched)) == len(set().union(*touched))


@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=60)
def test_updates_of_one_worker_keep_their_sampled_order(touches, batch_size):
    sampled = plan_of(touches, 1, None, "serial").order
    rank = np.argsort(sampled)
    for number, batch in enumerate(plan_of(touches, 3, batch_size).batches()):
        for updates in batch:
            assert (np.diff(rank[updates]) > 0).all()
            assert (rank[updates] // batch_size == number).all()


@pytest.mark.parametrize("schedule", ["serial", "conflict_free"])
@pytest.mark.parametrize("name", ["ratings", "words"])
def test_a5_same_seed_same_bits_other_seed_other_bits(name, schedule):
    def run(seed):
        return variables_after(PROBLEMS[name](), n_workers=2, schedule=schedule, seed=seed)

    assert is_bitwise_equal(run(0), run(0))
    assert not is_bitwise_equal(run(0), run(1))


def test_objective_has_the_same_bits_for_any_number_of_workers():
    problem = PROBLEMS["ratings"]()
    variables = problem.start(np.random.default_rng(0))
    objectives = set()
    for n_workers in WORKERS:
        with Workers(n_workers) as workers:
            objectives.add(problem.objective(variables, workers.sum))
    assert len(objectives) == 1
