"""Factors and words converge where a measure says so, warn otherwise, and stop alike on any number of threads."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse import SGD, MatrixFactorization, Ratings, WordEmbedding, WordPairs, Workers, minimize

N_USERS, N_ITEMS = 60, 40


def triples(n=2_000, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(N_USERS + N_ITEMS, 3))
    user, item = rng.integers(0, N_USERS, n), rng.integers(0, N_ITEMS, n)
    return user, item, 3 + (factors[user] * factors[N_USERS + item]).sum(axis=1) + 0.1 * rng.normal(size=n)


def ratings(*, n=2_000, biased=True, weighted=False, penalty=0.05):
    user, item, rating = triples(n)
    weight = np.random.default_rng(1).random(n) + 0.1 if weighted else None
    return Ratings(user, item, rating, N_USERS, N_ITEMS, n_factors=3, penalty=penalty, biased=biased, weight=weight)


def words(n_words=30, n_dimensions=4):
    left, right = np.triu_indices(n_words, 1)
    count = np.random.default_rng(0).integers(1, 300, len(left)).astype(float)
    return WordPairs(left, right, count, n_words, n_dimensions, dtype=np.float64)


def curvatures(problem, variables):
    """Return the bound on the curvature of each row: that of the squares of its terms, all with the others fixed."""
    if isinstance(problem, WordPairs):
        vectors = variables[0]
        squares = 8 * problem.weight * ((vectors[problem.left] + vectors[problem.right]) ** 2).sum(axis=1)
        ends, total = (squares, squares), problem.weight.sum()
        left, right = problem.left, problem.right
    else:
        left, right, total = problem.user, problem.n_users + problem.item, len(problem.rating)
        weight = np.ones(total) if problem.weight is None else problem.weight / problem.weight.mean()
        norms = (variables[0] ** 2).sum(axis=1) + problem.biased + problem.penalty
        ends = 2 * weight * norms[right], 2 * weight * norms[left]
    n_rows = len(variables[0])
    return (np.bincount(left, ends[0], n_rows) + np.bincount(right, ends[1], n_rows)) / total


def measured_by_differences(problem, variables, sum_over):
    rows = variables[0] if isinstance(problem, WordPairs) or not problem.biased else np.column_stack(variables)
    squares = np.zeros(len(rows))
    arrays = variables[:1] if rows is variables[0] else variables
    for array in arrays:
        for place in np.ndindex(array.shape):
            kept, step = array[place], 1e-5
            array[place] = kept + step
            up = problem.objective(variables, sum_over)
            array[place] = kept - step
            squares[place[0]] += ((up - problem.objective(variables, sum_over)) / (2 * step)) ** 2
            array[place] = kept
    return (squares / curvatures(problem, variables)).sum() / 2


PROBLEMS = {
    "ratings": ratings,
    "weighted": lambda: ratings(weighted=True),
    "without biases": lambda: ratings(biased=False, weighted=True),
    "words": words,
}


@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
def test_measure_is_half_the_squared_gradient_over_the_curvature_of_each_row(make):
    problem = make()
    variables = problem.start(np.random.default_rng(2))
    with Workers(2) as workers:
        problem.settle(variables, workers.sum)
        measured = problem.suboptimality(variables, workers.sum)
        assert measured == pytest.approx(measured_by_differences(problem, variables, workers.sum), rel=1e-6)


@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
def test_moves_of_an_epoch_estimate_the_measure_without_a_pass_over_the_rows(make):
    problem, passes = make(), []
    seen = problem.start(np.random.default_rng(2))
    problem.start = lambda rng: seen
    ratios = []
    with Workers(1) as workers:

        def sum_over(sum_range, *arguments):
            passes.append(sum_range)
            return workers.sum(sum_range, *arguments)

        def compare(epoch, objective, seconds):
            estimate = problem.suboptimality(seen, sum_over, 0.0)
            n_passes = len(passes)
            ratios.append(estimate / type(problem).suboptimality(make_still(problem), seen, workers.sum))
            assert n_passes == epoch

        def make_still(problem):
            still = make()
            still.settle(tuple(array.copy() for array in seen), workers.sum)
            return still

        minimize(problem, method=SGD(0.005), n_jobs=1, max_iter=20, tol=None, callback=compare, random_state=0)
    assert ratios[0] == 1  # the first call has no epoch to look back on
    assert all(1 / 4 < ratio < 4 for ratio in ratios)


def test_converged_factors_are_a_stationary_point():
    problem, tol = ratings(), 2e-3
    result = minimize(problem, method=SGD(0.05, decay=0.97), n_jobs=1, max_iter=500, tol=tol, random_state=0)
    assert result.outcome == "converged"
    assert result.n_iter < 500
    lowest = min(result.objective)
    with Workers(1) as workers:
        reached = problem.objective(result.variables, workers.sum)
        assert measured_by_differences(problem, result.variables, workers.sum) <= tol**2 * reached

        def of(at):
            factors = at.reshape(N_USERS + N_ITEMS, 4)
            return problem.objective((factors[:, :3].copy(), factors[:, 3].copy()), workers.sum)

        found = scipy_minimize(of, np.column_stack(result.variables).ravel(), method="L-BFGS-B", options={"maxiter": 3})
    assert reached <= lowest * (1 + tol**2)
    assert reached / found.fun - 1 < 1e-4


def test_rising_objective_is_not_convergence():
    problem, objectives = ratings(), iter(range(1, 100))
    problem.objective = lambda variables, sum_over: float(next(objectives))
    problem.suboptimality = lambda variables, sum_over, enough=0.0: 0.0
    assert minimize(problem, schedule="serial", max_iter=5, tol=1e-3).outcome == "max_iter"


def test_epoch_that_converged_is_kept_and_not_a_later_or_lower_one():
    problem, seen = ratings(), []
    values, measures = iter([9.0, 5.0, 3.0, 3.0 + 1e-9]), iter([1.0, 1.0, 0.0])
    start = problem.start
    problem.start = lambda rng: seen.append(start(rng)) or seen[0]
    problem.objective = lambda variables, sum_over: next(values)
    problem.suboptimality = lambda variables, sum_over, enough=0.0: next(measures)
    result = minimize(problem, schedule="serial", max_iter=5, tol=1e-3, random_state=0)
    assert (result.outcome, result.n_iter) == ("converged", 3)
    last = minimize(ratings(), schedule="serial", max_iter=3, tol=None, random_state=0)
    assert result.variables[0].tobytes() == last.variables[0].tobytes()


def sentences():
    rng = np.random.default_rng(0)
    return [[f"{topic}-{word}" for word in rng.integers(0, 10, 8)] for topic in rng.integers(0, 5, 300)]


MODELS = {
    "ratings": (lambda **options: MatrixFactorization(3, **options), triples),
    "words": (lambda **options: WordEmbedding(4, min_count=1, **options), sentences),
}


@pytest.mark.parametrize(("make", "data"), MODELS.values(), ids=MODELS)
def test_reaching_max_iter_with_tol_warns_with_the_value_reached(make, data):
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3 was reached .* tol=1e-06 \(reached 0\.\d+\)") as caught:
        model = make(max_iter=3, tol=1e-6, random_state=0, n_jobs=1).fit(data())
    assert model.outcome_ == "max_iter"
    assert caught[0].filename == __file__
    assert "SGD levels off" in str(caught[0].message)


@pytest.mark.parametrize(("make", "data"), MODELS.values(), ids=MODELS)
def test_fixed_number_of_epochs_is_the_default_and_does_not_warn(make, data):
    model = make(max_iter=3, random_state=0, n_jobs=1).fit(data())
    assert (model.outcome_, model.n_iter_, model.objective_) == ("max_iter", 3, [])


def sparse_pairs(n=30_000, n_left=9_000, n_right=5_000):
    rng = np.random.default_rng(0)
    return rng.integers(0, n_left, n), rng.integers(0, n_right, n), rng.integers(1, 300, n).astype(float)


def sparse_ratings():
    user, item, rating = sparse_pairs()
    return Ratings(user, item, rating / 100, 9_000, 5_000, n_factors=3, penalty=0.2, biased=True)


def sparse_words():
    left, right, count = sparse_pairs()
    return WordPairs(left, right + 9_000, count, 14_000, n_dimensions=4)


@pytest.mark.parametrize(("make", "tol"), [(sparse_ratings, 0.2), (sparse_words, 0.37)])
def test_a1_stops_at_the_same_epoch_with_the_same_bits_for_any_number_of_threads(make, tol):
    options = {"method": SGD(0.05), "max_iter": 300, "tol": tol, "random_state": 0}
    runs = [minimize(make(), schedule="serial", n_jobs=1, **options)]
    runs += [minimize(make(), schedule="conflict_free", n_jobs=n, **options) for n in (2, 3)]
    assert [run.plan.schedule for run in runs] == ["serial", "conflict_free", "conflict_free"]
    assert len({(run.outcome, run.n_iter, tuple(run.objective), run.variables[0].tobytes()) for run in runs}) == 1
    assert (runs[0].outcome, runs[0].n_iter > 3) == ("converged", True)
