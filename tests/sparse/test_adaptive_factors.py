"""Ratings with automatic steps: one step by hand, the optimum, units, known rows, and fewer epochs."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from etesian.sparse import SGD, AdaptiveRatings, Epochs, MatrixFactorization, Ratings, WordEmbedding, Workers, minimize
from etesian.sparse.problems.pairs import KnownRows

N_USERS, N_ITEMS = 300, 200


def drawn(n=20_000, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, N_USERS, n), (N_ITEMS * rng.random(n) ** 2).astype(int)
    tastes, kinds = rng.standard_normal((N_USERS, 3)), rng.standard_normal((N_ITEMS, 3))
    rating = 3.5 + (tastes[user] * kinds[item]).sum(axis=1) / np.sqrt(3) + noise * rng.standard_normal(n)
    return user, item, rating


def problem_of(
    kind=AdaptiveRatings, *, n_factors=3, penalty=0.02, biased=True, known=None, factor=1.0, dtype=np.float64
):
    user, item, rating = drawn()
    rating = (factor * rating).astype(dtype)
    return kind(user, item, rating, N_USERS, N_ITEMS, n_factors, penalty, biased=biased, known=known)


def error_after(problem, epochs, method):
    """Return the root mean squared error on ratings without noise of the same users and items."""
    user, item, rating = drawn(noise=0.0)
    with Workers(1) as workers:
        run = Epochs(problem, workers, method=method, schedule="serial", random_state=0)
        for _ in range(epochs):
            run.advance()
    factors, bias = run.variables[:2]
    row = N_USERS + item
    predicted = problem.mean + bias[user] + bias[row] + (factors[user] * factors[row]).sum(axis=1)
    return float(np.sqrt(np.mean((predicted - rating) ** 2)))


def test_one_step_by_hand():
    """Ratings 1 and 3 have mean 2 and standard deviation 1, so the noise is 0.4 and the first variance 0.1."""
    problem = AdaptiveRatings(
        np.array([0, 1]), np.array([0, 1]), np.array([1.0, 3.0]), 2, 2, n_factors=1, penalty=0.5, biased=True
    )
    factors, bias, variance = problem.start(np.random.default_rng(0))
    assert variance == pytest.approx(0.1)
    factors[:, 0], bias[:] = [2.0, 0.0, 3.0, 0.0], [0.1, 0.0, 0.2, 0.0]
    (rows,) = problem.worked_on((factors, bias, variance))
    problem.update_range(0, 1, problem.rows(), (rows,), 1.0)
    error = 1 - (2 + 0.1 + 0.2 + 6)
    total = 0.4 + 0.1 * (1 + 9) + 0.1 * (1 + 4)
    step = 0.1 / total
    assert factors[[0, 2], 0] == pytest.approx([2 + step * (error * 3 - 0.5 * 2), 3 + step * (error * 2 - 0.5 * 3)])
    assert bias[[0, 2]] == pytest.approx([0.1 + step * (error - 0.5 * 0.1), 0.2 + step * (error - 0.5 * 0.2)])
    assert variance[[0, 2]] == pytest.approx([0.1 / (1 + 0.03 * 0.1 * 10 / total), 0.1 / (1 + 0.03 * 0.1 * 5 / total)])
    assert variance[[1, 3]] == pytest.approx(0.1)


@pytest.mark.parametrize("biased", [True, False])
def test_objective_is_that_of_ratings(biased):
    plain, adaptive = (problem_of(kind, biased=biased) for kind in (Ratings, AdaptiveRatings))
    variables = adaptive.start(np.random.default_rng(1))
    with Workers(1) as workers:
        expected = plain.objective(variables[:2], workers.sum)
        assert adaptive.objective(variables, workers.sum) == pytest.approx(expected, rel=1e-12)
        assert adaptive.suboptimality(variables, workers.sum) == pytest.approx(
            plain.suboptimality(variables[:2], workers.sum), rel=1e-12
        )


@pytest.mark.parametrize("biased", [True, False])
def test_a6_reaches_an_optimum_from_which_lbfgs_gains_nothing(biased):
    problem = problem_of(biased=biased, n_factors=2, penalty=0.1)
    result = minimize(problem, method=SGD(1.0), max_iter=1_000, tol=5e-3, random_state=0, schedule="serial")
    assert result.outcome == "converged"
    i, j = problem.user, N_USERS + problem.item
    n = len(problem.rating)

    def of(x):
        table = x.reshape(N_USERS + N_ITEMS, -1)
        factors, bias = table[:, :2], table[:, 2] if biased else np.zeros(len(table))
        error = problem.rating - problem.mean - bias[i] - bias[j] - (factors[i] * factors[j]).sum(axis=1)
        norms = (table[i] ** 2).sum(axis=1) + (table[j] ** 2).sum(axis=1)
        gradient = np.zeros_like(table)
        for row, other in ((i, j), (j, i)):
            np.add.at(gradient, (row, slice(0, 2)), -error[:, None] * factors[other] + 0.1 * factors[row])
            if biased:
                np.add.at(gradient, (row, 2), -error + 0.1 * bias[row])
        return np.mean(error**2 + 0.1 * norms), 2 * gradient.ravel() / n

    found = np.column_stack(result.variables[: 1 + biased])
    polished = scipy_minimize(of, found.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    assert of(found.ravel())[0] <= polished.fun * (1 + 5e-4)


@pytest.mark.parametrize("n_factors", [3, 16])
def test_three_epochs_are_better_than_with_any_constant_step_size(n_factors):
    automatic = error_after(problem_of(n_factors=n_factors), 3, SGD(1.0))
    for step_size in (0.01, 0.02, 0.04, 0.06, 0.08, 0.16):
        assert automatic < error_after(problem_of(Ratings, n_factors=n_factors), 3, SGD(step_size))


@pytest.mark.parametrize("factor", [1e-3, 100.0])
def test_steps_follow_the_unit_of_the_ratings(factor):
    runs = []
    with Workers(1) as workers:
        for each in (1.0, factor):
            problem = problem_of(penalty=0.0, factor=each)
            runs.append(Epochs(problem, workers, method=SGD(1.0), schedule="serial", random_state=0))
            runs[-1].advance()
    plain, scaled = (run.variables for run in runs)
    np.testing.assert_allclose(scaled[0], np.sqrt(factor) * plain[0], rtol=1e-6)
    np.testing.assert_allclose(scaled[1], factor * plain[1], rtol=1e-6)


def test_known_rows_move_less_the_more_ratings_they_had():
    factors = np.ones((2, 3))
    known = KnownRows(np.array([0, 1]), factors, np.zeros(2), np.array([1, 1_000]))
    variance = problem_of(known=known).start(np.random.default_rng(0))[2]
    assert variance[1] < variance[0] / 5
    assert variance[0] < variance[2] == variance.max()


def test_equal_ratings_leave_finite_variables():
    user, item = drawn()[:2]
    problem = AdaptiveRatings(user, item, np.full(len(user), 3.0), N_USERS, N_ITEMS, 3, 0.02, biased=True)
    result = minimize(problem, method=SGD(1.0), max_iter=3, tol=None, random_state=0)
    assert all(np.isfinite(array).all() for array in result.variables)


def test_matrix_factorization_has_the_bits_of_one_core_and_learns_from_more_ratings():
    user, item, rating = drawn()
    fits = [
        MatrixFactorization(3, step_size="auto", max_iter=4, n_jobs=n_jobs, random_state=0).fit((user, item, rating))
        for n_jobs in (1, 2)
    ]
    assert fits[0].user_factors_.tobytes() == fits[1].user_factors_.tobytes()
    assert np.sqrt(np.mean((fits[0].predict((user, item)) - rating) ** 2)) < 0.6
    before = fits[0].user_factors_.copy()
    fits[0].partial_fit((user[:500], item[:500], rating[:500]))
    moved = np.linalg.norm(fits[0].user_factors_ - before, axis=1) / np.linalg.norm(before, axis=1)
    assert 0 < np.median(moved[np.unique(user[:500])]) < 0.2


def test_implicit_feedback_has_automatic_steps():
    user, item, _ = drawn(2_000)
    model = MatrixFactorization(8, feedback="implicit", step_size="auto", max_iter=5, tol=0.0, random_state=0)
    with pytest.warns(Warning, match="max_iter"):
        model.fit((user, item, np.ones(len(user))))
    assert model.objective_[-1] < model.objective_[0]


def test_other_estimators_refuse_automatic_steps_with_a_message():
    with pytest.raises(ValueError, match="step_size must be a finite number above 0; got 'auto'"):
        WordEmbedding(step_size="auto").fit(["a b c d e f"] * 20)
