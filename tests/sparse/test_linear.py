"""Law A4 (lazy dense terms equal an eager dense reference), laws A1 and A5 for linear problems, and peers."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from conftest import WORKERS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from etesian.sparse import SGD, Epochs, Linear, Workers, make_plan, minimize
from etesian.sparse.problems.intercept import SETTLED, find_rising_zero
from etesian.sparse.problems.linear_subspace import _along, values_at
from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION
from etesian.sparse.problems.penalties import L1, L2
from etesian.sparse.problems.penalties import ElasticNet as ElasticNetPenalty
from etesian.sparse.problems.penalties.l2 import keep_and_gain
from etesian.sparse.problems.penalties.mixed import after_steps, shrink

LOSSES = REGRESSION | CLASSIFICATION
REDUCTIONS = (None, "svrg", "saga")


def rows(n=300, n_features=60, density=0.05, seed=0):
    X = csr_array(random_array((n, n_features), density=density, rng=np.random.default_rng(seed), format="csr"))
    X.sort_indices()
    return X


def separate_rows(n=4_000, n_features=6_000, seed=0):
    """Three features a row, out of many: components stay small."""
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.integers(0, n_features // 3, (n, 3)) + np.arange(3) * (n_features // 3), axis=1)
    data, indptr = rng.standard_normal(3 * n), np.arange(0, 3 * n + 1, 3)
    return csr_array((data, indices.ravel(), indptr), shape=(n, n_features))


def targets(X, loss, seed=1):
    rng = np.random.default_rng(seed)
    y = X @ rng.standard_normal(X.shape[1]) + 0.3 * rng.standard_normal(X.shape[0]) + 0.5
    return y if loss in REGRESSION else np.where(y > 0.5, 1.0, -1.0)


def linear(X, loss="squared", *, ridge=0.0, lasso=0.0, **options):
    return Linear(X, targets(X, loss), LOSSES[loss], penalty_of(ridge, lasso), **options)


def penalty_of(ridge, lasso):
    if lasso == 0:
        return L2(ridge)
    return L1(lasso) if ridge == 0 else ElasticNetPenalty(ridge, lasso)


def run(problem, *, step_size=0.05, epochs=3, schedule="serial", n_workers=1, seed=0, **options):
    with Workers(n_workers) as workers:
        going = Epochs(problem, workers, method=SGD(step_size), schedule=schedule, random_state=seed, **options)
        going.envelopes = [envelopes_of(problem)]
        for _ in range(epochs):
            going.advance()
            going.envelopes.append(envelopes_of(problem))
    return going


def envelopes_of(problem):
    return float(problem._curve.curvature[0]), problem._curve.multiplier[:, 0].copy(), problem._scale.copy()


def hinge_envelope_slope(curvature, multiplier, p, y):
    """Slope of min over z of max(0, 1 - y z) + u (p - z) + c / 2 (p - z)^2."""
    return -y * np.clip(-y * multiplier + curvature * (1 - y * p), 0.0, 1.0)


def eager(problem, *, step_size, epochs, order, penalties, envelopes):
    """The same updates, each of which steps every coefficient there is."""
    ridge, lasso = penalties
    X, y = problem.X.toarray(), problem.target
    n, n_features = X.shape
    value, plain = (np.vectorize(f, otypes=[float]) for f in (problem.loss.value, problem.loss.derivative))
    w, b, mean, memory = np.zeros(n_features), 0.0, np.zeros(n_features), np.zeros(n)
    is_smooth = np.isfinite(problem.loss.curvature)
    curvature, multiplier = 1.0, np.zeros(n)

    def slope(p, y, i=slice(None)):
        return plain(p, y) if is_smooth else hinge_envelope_slope(curvature, multiplier[i], p, y)

    for epoch in range(epochs + 1):
        if problem.fit_intercept:
            mean_slope = lambda s, w=w: np.array([slope(X @ w + s[0], y).mean()])  # noqa: E731
            width = 1 / (problem.loss.curvature if is_smooth else curvature)
            b = find_rising_zero(mean_slope, np.array([b]), width=width, keep=SETTLED if is_smooth else 0.0)[0]
        curvature, multiplier, scale = envelopes[epoch]
        sizes = step_size * (scale if problem.scales_steps else np.ones(n_features))
        if problem.reduction == "svrg" or (problem.reduction == "saga" and epoch == 0):
            memory = slope(X @ w + b, y)
            mean = X.T @ memory / n
        for i in order if epoch < epochs else ():
            new = slope(X[i] @ w + b, y[i], i)
            gradient = (new - memory[i]) * X[i] + mean if problem.reduction else new * X[i]
            w = w - sizes * (gradient + ridge * w)
            w = np.sign(w) * np.maximum(np.abs(w) - sizes * lasso, 0.0)
            if problem.reduction == "saga":
                mean = mean + (new - memory[i]) * X[i] / n
                memory[i] = new
    objective = value(X @ w + b, y).mean() + ridge / 2 * w @ w + lasso * np.abs(w).sum()
    return w, b, objective


@pytest.mark.parametrize("scales_steps", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("penalties", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.01), (0.2, 0.01)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a4_lazy_dense_terms_equal_an_eager_reference(loss, reduction, penalties, fit_intercept, scales_steps):
    ridge, lasso = penalties
    X = rows(n=60, n_features=25, density=0.08)
    problem = linear(
        X, loss, reduction=reduction, ridge=ridge, lasso=lasso, fit_intercept=fit_intercept, scales_steps=scales_steps
    )
    going = run(problem, step_size=0.1, epochs=3, order="fixed")
    w, b, objective = eager(
        problem, step_size=0.1, epochs=3, order=going.plan.order, penalties=penalties, envelopes=going.envelopes
    )
    np.testing.assert_allclose(going.variables.coef[:, 0], w, rtol=1e-9, atol=1e-11)
    assert going.variables.intercept[0] == pytest.approx(b, abs=1e-9)
    assert going.objective() == pytest.approx(objective, rel=1e-9)


NUMBERS = st.floats(-2.0, 2.0)


@given(x=NUMBERS, n=st.integers(0, 200), mu=st.floats(0.0, 0.9), nu=NUMBERS, tau=st.floats(0.0, 1.0))
@settings(max_examples=300)
def test_a4_many_steps_at_once_equal_one_after_the_other(x, n, mu, nu, tau):
    expected, scale = x, abs(x)
    for _ in range(n):
        expected = shrink((1.0 - mu) * expected - nu, tau)
        scale = max(scale, abs(expected))
    assert after_steps(x, n, mu, nu, tau) == pytest.approx(expected, rel=1e-9, abs=1e-9 * (1 + scale))


def test_a4_without_a_penalty_a_mean_gradient_still_adds_up():
    assert keep_and_gain(7, 0.0) == (1.0, 7.0)
    assert after_steps(1.0, 7, 0.0, 0.1, 0.0) == pytest.approx(1.0 - 0.7)


def test_a4_first_missed_step_is_one_step_and_not_two():
    assert keep_and_gain(1, 0.25) == (pytest.approx(0.75), pytest.approx(1.0))
    assert keep_and_gain(2, 0.25) == (pytest.approx(0.5625), pytest.approx(1.75))


@pytest.mark.parametrize("mu", [1e-9, 2e-6, 1e-4, 0.02, 0.12, 0.24, 0.26, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5, 6, 12, 13, 700, 100_000])
def test_a4_missed_steps_are_exact_to_rounding(n, mu):
    with localcontext(prec=60):
        keep = (1 - Decimal(mu)) ** n
        gain = (1 - keep) / Decimal(mu)
    assert keep_and_gain(n, mu) == (pytest.approx(float(keep), abs=4e-16), pytest.approx(float(gain), rel=4e-16))


def test_objective_along_moves_is_exact_near_the_start_though_the_targets_are_large():
    rng = np.random.default_rng(0)
    X, target = random_array((300, 20), density=0.3, rng=rng, format="csr"), 1e8 + rng.standard_normal(300)
    problem = Linear(csr_array(X), target, REGRESSION["squared"], L2(0.1), fit_intercept=True)
    coef, move = rng.standard_normal((20, 1)), rng.standard_normal((20, 1))
    start, near = np.array([[0.0, 1e8]]), np.array([[0.25, 1e8 + 0.5]])
    with Workers(1) as workers:
        evaluate = _along(problem, coef, X @ coef, move[None], (X @ move)[None], start, sum_over=workers.sum)
        moved = coef + 0.25 * move
        assert evaluate(near)[0] == pytest.approx(
            values_at(problem, moved, X @ moved, near[:, 1], workers.sum), rel=1e-7
        )
        assert evaluate(near)[1][0, 0] == pytest.approx(move[:, 0] @ gradient_of(problem, moved, near[0, 1]), rel=1e-6)


def gradient_of(problem, coef, intercept):
    error = problem.X @ coef[:, 0] + intercept - problem.target
    return problem.X.T @ error / len(error) + problem.penalty.weight * coef[:, 0]


def test_a4_feature_that_no_row_has_decays_by_the_number_of_updates():
    X = csr_array((np.ones(30), np.zeros(30, int), np.arange(31)), shape=(30, 500))
    start = (np.ones((500, 1)), np.zeros(1))
    problem = Linear(X, np.zeros(30), REGRESSION["squared"], L2(0.1), initial=start)
    going = run(problem, step_size=0.01, epochs=2)
    np.testing.assert_allclose(going.variables.coef[1:, 0], (1 - 0.001) ** 60, rtol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(loss, reduction):
    X = separate_rows()
    problem = linear(X, loss, reduction=reduction, ridge=1e-3, lasso=1e-4, fit_intercept=True)
    serial = run(problem)
    for n_workers in WORKERS[1:]:
        parallel = run(problem, schedule="conflict_free", n_workers=n_workers)
        assert parallel.plan.schedule == "conflict_free"
        for one, other in zip(serial.variables, parallel.variables, strict=True):
            assert one.tobytes() == other.tobytes(), n_workers
        assert serial.objective() == parallel.objective()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a1_holds_with_several_outputs(dtype):
    X = separate_rows().astype(dtype)
    classes = np.random.default_rng(0).integers(0, 3, X.shape[0])
    problem = Linear(X, classes, LOSSES["logistic"], L2(1e-3), reduction="saga", n_outputs=3, fit_intercept=True)
    serial, parallel = run(problem), run(problem, schedule="conflict_free", n_workers=2, batch_size=64)
    assert serial.variables.coef.dtype == dtype
    assert serial.variables.coef.tobytes() == parallel.variables.coef.tobytes()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a5_same_seed_same_bits_other_seed_other_bits(reduction):
    X = separate_rows()
    one, same, other = (
        run(linear(X, reduction=reduction), schedule="conflict_free", n_workers=2, seed=s) for s in (0, 0, 1)
    )
    assert one.variables.coef.tobytes() == same.variables.coef.tobytes()
    assert one.variables.coef.tobytes() != other.variables.coef.tobytes()


def test_lock_free_run_is_close_to_the_serial_result():
    X = separate_rows()
    problem = linear(X, reduction="saga", ridge=0.1)
    serial, free = run(problem, epochs=20), run(problem, epochs=20, schedule="lock_free", n_workers=2)
    np.testing.assert_allclose(free.variables.coef, serial.variables.coef, atol=1e-3)


def solved(problem, epochs=400):
    step = 1 / (3 * problem.smoothness())
    return minimize(problem, method=SGD(step), n_jobs=1, max_iter=epochs, tol=None, random_state=0).variables


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_ridge_solution_is_that_of_scikit_learn(reduction, fit_intercept):
    X = rows()
    y = targets(X, "squared")
    found = solved(linear(X, reduction=reduction, ridge=0.01, fit_intercept=fit_intercept))
    peer = Ridge(alpha=0.01 * len(y), fit_intercept=fit_intercept, tol=1e-12).fit(X.toarray(), y)
    np.testing.assert_allclose(found.coef[:, 0], peer.coef_, atol=1e-9)
    assert found.intercept[0] == pytest.approx(peer.intercept_, abs=1e-9)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_elastic_net_solution_is_that_of_scikit_learn(reduction, l1_ratio):
    X = rows()
    y = targets(X, "squared")
    alpha = 0.005
    found = solved(
        linear(X, reduction=reduction, ridge=alpha * (1 - l1_ratio), lasso=alpha * l1_ratio, fit_intercept=True), 800
    )
    peer = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000).fit(X.toarray(), y)
    np.testing.assert_allclose(found.coef[:, 0], peer.coef_, atol=1e-8)
    assert ((found.coef[:, 0] == 0) == (peer.coef_ == 0)).all()


@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_logistic_solution_is_that_of_scikit_learn(reduction):
    X = rows()
    y = targets(X, "logistic")
    found = solved(linear(X, "logistic", reduction=reduction, ridge=0.01, fit_intercept=True))
    peer = LogisticRegression(C=1 / (0.01 * len(y)), solver="newton-cholesky", tol=1e-12).fit(X.toarray(), y)
    np.testing.assert_allclose(found.coef[:, 0], peer.coef_[0], atol=1e-7)
    assert found.intercept[0] == pytest.approx(peer.intercept_[0], abs=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_slope_is_the_derivative_of_the_loss(loss):
    target = 1.0 if loss in CLASSIFICATION else 0.3
    for at in (-2.3, -0.4, 0.45, 0.99, 1.7):
        value, derivative = LOSSES[loss].value, LOSSES[loss].derivative
        numeric = (value(at + 1e-6, target) - value(at - 1e-6, target)) / 2e-6
        assert derivative(at, target) == pytest.approx(numeric, abs=1e-6)


def test_integer_weights_are_repetitions():
    X = rows(n=40)
    y = targets(X, "squared")
    times = np.random.default_rng(2).integers(1, 4, 40)
    repeated = np.repeat(np.arange(40), times)
    weighted = Linear(X, y, LOSSES["squared"], L2(0.1), reduction="saga", weight=times.astype(float))
    fewer_rows = len(y) / len(
        repeated
    )  # the mean is over all of them, so the penalty counts for less beside the losses
    plain = Linear(X[repeated], y[repeated], LOSSES["squared"], L2(0.1 * fewer_rows), reduction="saga")
    np.testing.assert_allclose(solved(weighted).coef, solved(plain).coef, atol=1e-9)


def test_steps_are_places_in_the_sampled_order():
    X = separate_rows()
    sampled = make_plan("serial", X, n_workers=1, rng=np.random.default_rng(0)).order
    plan = make_plan("conflict_free", X, n_workers=3, rng=np.random.default_rng(0), keep_steps=True)
    assert (sampled[plan.steps] == plan.order).all()


def test_rising_zero_is_found_for_each_function_alone():
    roots = np.array([-3.0, 0.0, 40.0])
    found = find_rising_zero(lambda x: np.tanh(x - roots), np.zeros(3))
    np.testing.assert_allclose(found, roots, atol=1e-9)
    steps = find_rising_zero(lambda x: np.where(x < 0.7, -1.0, 1.0), np.zeros(1))
    np.testing.assert_allclose(steps, 0.7, atol=1e-6)
