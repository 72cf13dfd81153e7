import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import Mixing, Slow, touches_of
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse import SGD, Ratings, WordPairs, Workers, make_plan, minimize
from etesian.sparse._engine.workers import count_workers


def small_ratings(n=400, **options):
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 60, n), rng.integers(0, 40, n)
    asked = {"n_factors": 4, "penalty": 0.01, "biased": True} | options
    return Ratings(user, item, rng.normal(3, 1, n).astype("float32"), 60, 40, **asked)


def test_rating_update_is_the_step_worked_by_hand():
    problem = Ratings(np.array([0]), np.array([0]), np.array([5.0]), 1, 1, n_factors=2, penalty=0.1, biased=False)
    u, v = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    problem.start = lambda rng: (np.stack([u, v]), np.zeros(0))
    result = minimize(problem, method=SGD(0.1), n_jobs=1, max_iter=1, tol=None)
    error = 5.0 - 2.5
    expected = np.stack([u + 0.1 * (error * v - 0.1 * u), v + 0.1 * (error * u - 0.1 * v)])
    np.testing.assert_allclose(result.variables[0], expected, rtol=1e-14)


def test_rating_step_is_against_half_the_gradient_of_its_term():
    problem = small_ratings(n=1, n_factors=3)
    problem.rating = problem.rating.astype("float64")
    problem.mean = problem.rating.dtype.type(3.0)
    rng = np.random.default_rng(1)
    before = (rng.standard_normal((100, 3)), rng.standard_normal(100))

    def objective(variables):
        with Workers(1) as workers:
            return problem.objective(variables, workers.sum)

    problem.start = lambda rng: tuple(array.copy() for array in before)
    step = 1e-6
    after = minimize(problem, method=SGD(step), n_jobs=1, max_iter=1, tol=None).variables
    for which, array in enumerate(before):
        for place in zip(*np.nonzero(array), strict=True):
            if after[which][place] == array[place]:
                continue
            moved = [a.copy() for a in before]
            moved[which][place] += 1e-5
            up = objective(tuple(moved))
            moved[which][place] -= 2e-5
            gradient = (up - objective(tuple(moved))) / 2e-5
            assert after[which][place] - array[place] == pytest.approx(-step * gradient / 2, rel=1e-4)


def test_word_step_is_against_the_gradient_of_its_term():
    problem = WordPairs(np.array([0]), np.array([1]), np.array([50.0]), 2, n_dimensions=3, dtype=np.float64)
    before = np.random.default_rng(2).standard_normal((2, 3))
    problem.start = lambda rng: (before.copy(), np.array([0.5]))
    problem.settle = lambda variables, sum_over, step_size=None: 0.0
    after = minimize(problem, method=SGD(1e-6), n_jobs=1, max_iter=1, tol=None).variables[0]
    both = before[0] + before[1]
    gradient = 0.5 * 2 * (np.log(50) - both @ both - 0.5) * (-2) * both  # of the pair's weight 50/100
    np.testing.assert_allclose(after - before, -1e-6 * np.stack([gradient, gradient]), rtol=1e-5)


def test_shift_between_epochs_is_the_weighted_least_squares_one():
    rng = np.random.default_rng(3)
    left, right = np.triu_indices(30, 1)
    problem = WordPairs(left, right, rng.integers(1, 300, len(left)).astype(float), 30, 5, dtype=np.float64)
    variables = problem.start(rng)
    with Workers(2) as workers:
        objective = problem.settle(variables, workers.sum)
    norm = ((variables[0][left] + variables[0][right]) ** 2).sum(axis=1)
    rest = problem.log_count - norm
    assert variables[1][0] == pytest.approx(np.average(rest, weights=problem.weight), rel=1e-12)
    expected = np.average((rest - variables[1][0]) ** 2, weights=problem.weight)
    assert objective == pytest.approx(expected, rel=1e-10)


def test_rating_objective_is_the_formula():
    problem = small_ratings()
    rng = np.random.default_rng(4)
    factors, bias = rng.standard_normal((100, 4)).astype("float32"), rng.standard_normal(100).astype("float32")
    with Workers(2) as workers:
        objective = problem.objective((factors, bias), workers.sum)
    i, j = problem.user, problem.n_users + problem.item
    error = problem.rating - problem.mean - bias[i] - bias[j] - (factors[i] * factors[j]).sum(axis=1)
    norms = (factors[i] ** 2 + factors[j] ** 2).sum(axis=1) + bias[i] ** 2 + bias[j] ** 2
    assert objective == pytest.approx(np.mean(error**2 + 0.01 * norms), rel=1e-5)


def test_stops_for_lack_of_progress_when_an_epoch_gains_less_than_tol():
    problem = small_ratings()
    problem.is_measured = False
    result = minimize(problem, method=SGD(0.05), schedule="serial", max_iter=500, tol=1e-2, random_state=0)
    gains = -np.diff(result.objective) / np.abs(result.objective[:-1])
    assert result.outcome == "no_progress"
    assert gains[-1] < 1e-2
    assert (gains[:-1] >= 1e-2).all()


@pytest.mark.filterwarnings("ignore:max_iter=5 was reached while the monitored loss still improved")
@pytest.mark.parametrize("tol", [None, 0.0])
def test_variables_of_the_epoch_with_the_lowest_monitored_loss_are_returned(tol):
    losses = iter([5.0, 3.0, 1.0, 4.0, 2.0])
    options = {"schedule": "serial", "random_state": 0}
    result = minimize(
        small_ratings(), max_iter=5, tol=tol, n_iter_no_change=3, monitor=lambda _: next(losses), **options
    )
    assert result.monitored == [5.0, 3.0, 1.0, 4.0, 2.0]
    assert (result.n_iter, result.outcome) == (5, "max_iter")
    best = minimize(small_ratings(), max_iter=3, tol=None, **options)
    for one, other in zip(result.variables, best.variables, strict=True):
        assert one.tobytes() == other.tobytes()


def test_callback_sees_every_epoch_and_can_stop():
    seen = []

    def callback(epoch, objective, seconds):
        seen.append((epoch, objective, seconds))
        return epoch == 3

    result = minimize(small_ratings(), schedule="serial", tol=None, callback=callback, random_state=0)
    assert result.outcome == "stopped"
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert [objective for _, objective, _ in seen] == result.objective
    assert result.n_iter == 3


def test_objective_is_not_computed_unless_needed():
    result = minimize(small_ratings(), schedule="serial", tol=None, max_iter=3)
    assert (result.objective, result.n_iter, result.outcome) == ([], 3, "max_iter")


@pytest.mark.parametrize("tol", [None, 1e-4])
def test_divergence_is_named_with_its_step_size(tol):
    with pytest.warns(ConvergenceWarning, match=r"step_size=50"):
        result = minimize(small_ratings(), method=SGD(50.0), schedule="serial", tol=tol, random_state=0)
    assert result.outcome == "diverged"
    assert result.n_iter < 20


def test_step_size_decays_by_epoch():
    assert [SGD(0.5, 0.1).step_at(epoch) for epoch in range(3)] == pytest.approx([0.5, 0.05, 0.005])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "step_size must be a finite number above 0; got 0.0"),
        (lambda: SGD(float("nan")), "step_size must be"),
        (lambda: SGD(0.1, 1.5), "decay must be above 0 and at most 1; got 1.5"),
        (lambda: minimize(small_ratings(), max_iter=0), "max_iter must be an integer of at least 1; got 0"),
        (lambda: count_workers(0), "n_jobs must be None or an integer other than 0"),
        (lambda: count_workers(2.5), "n_jobs must be"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_plan_for_more_workers_than_there_are_is_refused():
    problem = Mixing(touches_of([{0}, {1}], 2))
    plan = make_plan("lock_free", problem.touches, n_workers=3, rng=np.random.default_rng(0))
    with Workers(2) as workers, pytest.raises(ValueError, match="plan is for 3 workers; there are 2"):
        workers.run(plan, problem.update_range, problem.lay_out(plan), problem.start(np.random), 0.1)


@pytest.mark.parametrize("schedule", ["serial", "conflict_free", "lock_free"])
def test_a_long_epoch_can_be_interrupted_and_leaves_usable_variables(schedule):
    problem = Slow(100_000)  # an epoch takes at least 10 seconds on 2 cores
    minimize(Slow(64), schedule="serial", tol=None, max_iter=1)  # compile

    problem.interrupt_when_running()
    result = minimize(problem, schedule=schedule, n_jobs=2, tol=None, max_iter=5)
    (x,) = result.variables
    assert result.outcome == "interrupted"
    assert result.n_iter == 0
    assert 0 < np.count_nonzero(x) < len(x)


def test_interactively_defined_problem_runs():
    session = """
import sys; sys.path.insert(0, {folder!r})
from conftest import Slow
from etesian.sparse import minimize

def reach(start, stop, data, variables, step_size):
    for e in range(start, stop):
        variables[0][e] = 1.0

class Typed(Slow):
    update_range = staticmethod(reach)

assert minimize(Typed(100), schedule="serial", tol=None, max_iter=1).variables[0].all()
"""
    source = session.format(folder=os.path.dirname(__file__))
    subprocess.run([sys.executable, "-"], input=source, text=True, check=True)
