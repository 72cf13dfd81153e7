"""Newton steps between epochs reach the optimum where variance reduction alone takes hundreds of epochs."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from etesian.sparse import Linear, SparseClassifier, SparseRegressor
from etesian.sparse._engine.workers import Workers
from etesian.sparse.problems import active_set, newton_steps
from etesian.sparse.problems.losses import CLASSIFICATION
from etesian.sparse.problems.newton_steps import NewtonSteps
from etesian.sparse.problems.penalties import L2

ALPHA = 1e-5


def correlated(n=600, n_features=40, rank=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n_features)) + 0.05 * rng.normal(size=(n, n_features))
    X[rng.random(X.shape) < 0.3] = 0.0
    y = np.where(X @ rng.normal(size=n_features) + rng.normal(size=n) > 0, 1, -1)
    return csr_array(X), y


def objective(model, X, y, alpha=ALPHA):
    margin = y * model.decision_function(X)
    return np.logaddexp(0, -margin).mean() + alpha / 2 * np.sum(model.coef_**2)


@pytest.mark.parametrize("method", ["saga", "svrg"])
def test_correlated_columns_and_a_weak_penalty_take_few_epochs(method):
    X, y = correlated()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = SparseClassifier(method=method, alpha=ALPHA, random_state=0, n_jobs=1).fit(X, y)
    reference = LogisticRegression(C=1 / (ALPHA * len(y)), tol=1e-10, max_iter=10_000).fit(X, y)
    assert model.n_iter_ <= 15
    assert objective(model, X, y) <= objective(reference, X, y) * (1 + 1e-8)


def test_without_them_the_epochs_do_not_suffice(monkeypatch):
    monkeypatch.setattr(NewtonSteps, "take", lambda *_: None)
    X, y = correlated()
    with pytest.warns(ConvergenceWarning):
        SparseClassifier(alpha=ALPHA, random_state=0, n_jobs=1).fit(X, y)


@pytest.mark.filterwarnings("ignore::etesian.sparse.schedules.plan.ScheduleWarning")
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("largest_system", [10, 2_000])
@pytest.mark.parametrize("n", [30, 600])
def test_a1_bits_do_not_depend_on_the_number_of_threads(n, l1_ratio, largest_system, monkeypatch):
    """With 30 rows, the systems have an equation for each row instead of each column; larger ones are solved approximately."""
    monkeypatch.setattr(active_set, "LARGEST_SYSTEM", largest_system)
    X, y = correlated(n)
    fits = [
        SparseClassifier(alpha=1e-3, l1_ratio=l1_ratio, random_state=0, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2, 3)
    ]
    assert len({fit.coef_.tobytes() + fit.intercept_.tobytes() for fit in fits}) == 1


@pytest.mark.parametrize("kind", ["solve", "solve_approximately"])
def test_steps_take_little_longer_than_the_epochs_so_far(kind, monkeypatch):
    """Exact systems of 200 columns take 600 * 140**2 multiplications, far more than an epoch."""
    calls, spent = [], []
    take, find = NewtonSteps.take, getattr(newton_steps, kind)

    def count(self, problem, *arguments):
        calls.append(newton_steps.EPOCH_PRODUCTS * problem.X.nnz)
        take(self, problem, *arguments)

    def record(*arguments):
        found = find(*arguments)
        spent.append(0.0 if found is None else found.products)
        assert sum(spent) <= sum(calls) + newton_steps.FAST_EPOCHS * calls[0]
        return found

    monkeypatch.setattr(NewtonSteps, "take", count)
    monkeypatch.setattr(newton_steps, kind, record)
    monkeypatch.setattr(newton_steps, "SHORTEST_EPOCH", 0)
    X, y = correlated(n_features=200)
    model = SparseClassifier(alpha=ALPHA, random_state=0, n_jobs=1, max_iter=25, tol=None).fit(X, y)
    assert model.n_iter_ == 25
    assert any(spent)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # without the steps
def test_systems_that_are_too_large_are_solved_approximately(monkeypatch):
    monkeypatch.setattr(active_set, "LARGEST_SYSTEM", 10)
    monkeypatch.setattr(newton_steps, "solve", None)  # is not called
    X, y = correlated(n_features=200, rank=100)

    def fit():
        return SparseClassifier(alpha=1e-4, random_state=0, n_jobs=1, tol=1e-5, max_iter=200).fit(X, y)

    approximate = fit()
    monkeypatch.setattr(newton_steps, "solve_approximately", lambda *_: None)
    assert 3 * approximate.n_iter_ < fit().n_iter_
    reference = LogisticRegression(C=1e4 / len(y), tol=1e-10, max_iter=10_000).fit(X, y)
    assert objective(approximate, X, y, 1e-4) <= objective(reference, X, y, 1e-4) * (1 + 1e-6)


def test_least_squares_of_many_features_is_solved_by_rows():
    rng = np.random.default_rng(0)
    X = csr_array(rng.normal(size=(50, 400)) * (rng.random((50, 400)) < 0.5))
    y = rng.normal(size=50)
    model = SparseRegressor(alpha=1e-3, fit_intercept=False, random_state=0, n_jobs=1, tol=1e-6).fit(X, y)
    A = X.toarray()
    best = A.T @ np.linalg.solve(A @ A.T + 1e-3 * 50 * np.eye(50), y)
    np.testing.assert_allclose(model.coef_, best, rtol=1e-4, atol=1e-7)
    assert model.n_iter_ <= 30


def test_singular_system_is_no_error(monkeypatch):
    monkeypatch.setattr(newton_steps, "LEAST_RIDGE", 0.0)
    X, y = correlated()
    X = csr_array(np.hstack([X.toarray()] * 4))
    model = SparseRegressor(alpha=0.0, random_state=0, n_jobs=1, max_iter=30, tol=None).fit(X, y.astype(float))
    best = np.linalg.lstsq(np.column_stack([X.toarray(), np.ones(len(y))]), y, rcond=None)[0]
    error = ((X @ model.coef_ + model.intercept_ - y) ** 2).mean()
    assert error <= ((X @ best[:-1] + best[-1] - y) ** 2).mean() * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["by columns", "by rows", "approximately"])
def test_step_is_that_of_coefficients_and_intercept_together(kind, monkeypatch):
    """The intercept of an extrapolated point is not exactly at its optimum."""
    X, y = correlated(n=30 if kind == "by rows" else 200, n_features=40, rank=40)
    problem = Linear(X, y, CLASSIFICATION["logistic"], L2(0.1), reduction="saga", fit_intercept=True, scales_steps=True)
    rng = np.random.default_rng(0)
    coef, intercept = 0.1 * rng.normal(size=(40, 1)), np.array([0.7])
    A = np.column_stack([X.toarray(), np.ones(len(y))])
    chance = 1 / (1 + np.exp(y * (A @ np.append(coef, intercept))))
    penalty = np.append(0.1 * np.ones(40), 0.0)
    gradient = -A.T @ (y * chance) / len(y) + penalty * np.append(coef, 0.0)
    hessian = A.T @ ((chance * (1 - chance))[:, None] * A) / len(y) + np.diag(penalty)
    expected = np.linalg.solve(hessian, -gradient)
    monkeypatch.setattr(active_set, "APPROXIMATE", 1e-9)
    with Workers(1) as workers:
        slopes = active_set.find_slopes(problem, active_set.Point(coef, X @ coef, intercept, np.zeros(1)), workers.sum)
        if kind == "approximately":
            found = active_set.solve_approximately(problem, slopes, workers.sum, 0.0, np.inf)
        else:
            found = active_set.solve(problem, slopes, 0.0)
    np.testing.assert_allclose(np.append(found.move, found.shift), expected, rtol=1e-3, atol=1e-5)
    assert found.promised[0] == pytest.approx(-gradient @ expected / 2, rel=1e-3)


@pytest.mark.filterwarnings("ignore::etesian.sparse.schedules.plan.ScheduleWarning")
@pytest.mark.parametrize("method", ["saga", "svrg"])
def test_rows_without_features_are_no_error(method):
    X, y = csr_array((5, 3)), np.array([0, 1, 0, 1, 1])
    model = SparseRegressor(method=method, random_state=0).fit(X, y)
    assert model.intercept_ == pytest.approx(0.6)
    assert not model.coef_.any()
    assert SparseClassifier(method=method, random_state=0).fit(X, y).predict(X).tolist() == [1] * 5
