"""Laws A1 to A5 for merged plans: hot variables in copies, one for each list, whose changes are added up after every batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import conflict_graphs, touches_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from etesian.sparse import (
    SGD,
    Epochs,
    Linear,
    Ratings,
    ScheduleWarning,
    SparseClassifier,
    Workers,
    leading_eigenvector,
    make_plan,
    minimize,
)
from etesian.sparse._engine.kernels import Merging
from etesian.sparse.problems.linear_merging import merge_factor
from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION
from etesian.sparse.problems.penalties import L2
from etesian.sparse.problems.penalties import ElasticNet as ElasticNetPenalty
from etesian.sparse.schedules.hot_variables import default_merged_batch, find_hot, predict_speedup
from etesian.sparse.schedules.plan import Copies

pytestmark = pytest.mark.filterwarnings("ignore::etesian.sparse.ScheduleWarning")  # small data gains nothing by merging
LOSSES = REGRESSION | CLASSIFICATION
REDUCTIONS = (None, "svrg", "saga")
PENALTIES = ((0.0, 0.0), (0.3, 0.0), (0.0, 0.01), (0.2, 0.01))
MERGING = Merging(Linear.update_range, Linear.spread_range, Linear.merge_range)


def rows_with_hubs(n=2_000, n_features=3_000, n_hubs=5, seed=0, dtype=np.float64):
    """Two features of a row out of many, and each hub in half of the rows: one component at any batch size."""
    rng = np.random.default_rng(seed)
    cold = n_hubs + rng.integers(0, (n_features - n_hubs) // 2, (n, 2)) * 2 + [0, 1]
    has_hub = rng.random((n, n_hubs)) < 0.5
    rows = [{*np.flatnonzero(has), *pair} for has, pair in zip(has_hub, cold.tolist(), strict=True)]
    X = touches_of(rows, n_features).astype(dtype)
    X.data[:] = rng.standard_normal(X.nnz)
    return X


def linear(X, loss="squared", *, n_outputs=1, ridge=0.0, lasso=0.0, **options):
    rng = np.random.default_rng(1)
    y = X @ rng.standard_normal(X.shape[1]) + 0.3 * rng.standard_normal(X.shape[0]) + 0.5
    if loss in CLASSIFICATION:
        y = np.where(y > 0.5, 1.0, -1.0)
    if n_outputs > 1:
        y = rng.integers(0, n_outputs, X.shape[0])
    return Linear(X, y, LOSSES[loss], penalty_of(ridge, lasso), n_outputs=n_outputs, **options)


def penalty_of(ridge, lasso):
    return L2(ridge) if lasso == 0 else ElasticNetPenalty(ridge, lasso)


def run(
    problem, *, schedule="merged", n_workers=1, epochs=3, step_size=0.05, seed=0, batch_size=None, order="each_epoch"
):
    options = {"method": SGD(step_size), "schedule": schedule, "batch_size": batch_size, "order": order}
    with Workers(n_workers) as workers:
        going = Epochs(problem, workers, random_state=seed, **options)
        for _ in range(epochs):
            going.advance()
    return going


def bits(going):
    return [array.tobytes() for array in going.variables]


def merged_plan(touches, n_workers=1, *, seed=0, **options):
    return make_plan(
        "merged", touches, n_workers=n_workers, rng=np.random.default_rng(seed), keep_steps=True, **options
    )


def after_epochs(problem, plan, *, epochs, step_size):
    """What the epochs of a plan make of the problem's start."""
    seen, worked_on = problem.with_copies(problem.start(np.random.default_rng(0)), len(plan.copies))
    rows = problem.lay_out(plan)
    with Workers(plan.n_workers) as workers:
        problem.settle(seen, workers.sum)
        for _ in range(epochs):
            workers.run_in_copies(plan, MERGING, rows, worked_on, step_size)
            problem.settle(seen, workers.sum, step_size)
    return seen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalties", [(0.0, 0.0), (1e-2, 0.0), (1e-3, 1e-3)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a1_any_number_of_workers_gives_the_bits_of_one(reduction, penalties, dtype):
    ridge, lasso = penalties
    problem = linear(
        rows_with_hubs(dtype=dtype), "logistic", reduction=reduction, ridge=ridge, lasso=lasso, fit_intercept=True
    )
    one = run(problem)
    assert len(one.plan.copies.hot) == 5
    assert one.variables.coef.dtype == dtype
    for n_workers in (2, 3, 4, 16):
        several = run(problem, n_workers=n_workers)
        assert several.plan.n_workers == n_workers
        assert bits(several) == bits(one), n_workers
        assert several.objective() == one.objective()


@pytest.mark.parametrize("order", ["each_epoch", "fixed"])
def test_a1_holds_with_several_outputs(order):
    problem = linear(rows_with_hubs(), "logistic", n_outputs=3, reduction="saga", ridge=1e-3, fit_intercept=True)
    one = run(problem, order=order)
    assert all(bits(run(problem, n_workers=p, order=order)) == bits(one) for p in (2, 3, 16))


@given(touches=conflict_graphs(), batch_size=st.integers(1, 40), n_workers=st.integers(2, 5))
@settings(max_examples=40)
def test_a1_holds_for_any_pattern_and_batch_size(touches, batch_size, n_workers):
    problem = linear(touches.astype(float), reduction="saga", ridge=0.1, lasso=1e-3)
    assert bits(run(problem, batch_size=batch_size, n_workers=n_workers)) == bits(run(problem, batch_size=batch_size))


@pytest.mark.parametrize("n_workers", [1, 2, 3, 16])
@given(touches=conflict_graphs(), batch_size=st.integers(1, 90), n_lists=st.integers(1, 9))
@settings(max_examples=40)
def test_a2_each_update_runs_exactly_once_an_epoch(n_workers, touches, batch_size, n_lists):
    plan = merged_plan(touches, n_workers, batch_size=batch_size, n_lists=n_lists)
    carried_out = np.concatenate([updates for batch in plan.batches() for updates in batch])
    assert sorted(carried_out) == list(range(touches.shape[0]))
    assert plan.n_workers == n_workers
    assert plan.copies.n_lists == n_lists


@given(touches=conflict_graphs(), batch_size=st.integers(1, 90), n_lists=st.integers(1, 9))
@settings(max_examples=60)
def test_a3_no_two_lists_share_a_row_within_a_batch(touches, batch_size, n_lists):
    plan = merged_plan(touches, batch_size=batch_size, n_lists=n_lists)
    rows, n_variables = touches[plan.order], touches.shape[1]
    worked_on = plan.copies.rename(rows.indptr, rows.indices, n_variables)
    assert not np.isin(worked_on, plan.copies.hot).any()
    assert worked_on.max(initial=0) < n_variables + len(plan.copies)
    for cuts in plan.copies.lists:
        touched = [set(worked_on[rows.indptr[start] : rows.indptr[stop]]) for start, stop in pairwise(cuts)]
        assert sum(map(len, touched)) == len(set().union(*touched))


@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=60)
def test_lists_keep_the_sampled_order_and_workers_take_whole_lists(touches, batch_size):
    plan = merged_plan(touches, 3, batch_size=batch_size)
    sampled = make_plan("serial", touches, n_workers=1, rng=np.random.default_rng(0)).order
    assert (sampled[plan.steps] == plan.order).all()
    for number, (cuts, shares) in enumerate(zip(plan.copies.lists, plan.offsets, strict=True)):
        assert (plan.steps[cuts[0] : cuts[-1]] // batch_size == number).all()
        assert set(shares) <= set(cuts)
        for start, stop in pairwise(cuts):
            assert (np.diff(plan.steps[start:stop]) > 0).all()


def shares(problem, plan, sizes):
    """Return the factors of summed changes: 1 for cold features, and the ratio of sequential to summed changes for hot ones."""
    hot, n_lists = plan.copies.hot, plan.copies.n_lists
    X = np.abs(problem.X.toarray()[:, hot])
    gram = (X * problem._weight[:, None]).T @ X
    bound = problem.loss.curvature * plan.batch_size * gram.sum(axis=1) / len(X) * sizes[hot]
    bound *= 2 if problem.reduction == "saga" else 1 / 2
    share = np.ones(problem.X.shape[1])
    share[hot] = (1 - np.exp(-bound)) / (1 - np.exp(-bound / n_lists)) / n_lists
    return share


def eager(problem, plan, *, step_size, epochs, ridge, lasso):
    """Lists one after the other, each from the same start, each stepping every coefficient there is: cold ones at every step of
    the batch, hot ones at those of the list.
    """
    X, y = problem.X.toarray(), problem.target
    n, n_features = X.shape
    slope = np.vectorize(problem.loss.derivative, otypes=[float])
    w, mean, memory = np.zeros(n_features), np.zeros(n_features), np.zeros(n)
    sizes = step_size * (problem._scale if problem.scales_steps else np.ones(n_features))
    hot, share = plan.copies.hot, shares(problem, plan, sizes)
    sampled = plan.order[np.argsort(plan.steps)]

    def steps(w, mean, first, last, updates):
        for i in sampled[first:last]:
            before, sparse, moved = w, 0.0, mean
            if i in updates:
                new = float(slope(X[i] @ w, y[i]))
                sparse = (new - memory[i] if problem.reduction else new) * X[i]
                if problem.reduction == "saga":
                    memory[i], moved = new, mean + sparse / n
            w = w - sizes * (sparse + mean + ridge * w)
            w = np.sign(w) * np.maximum(np.abs(w) - sizes * lasso, 0.0)
            mean = moved
            if i not in updates:
                w[hot] = before[hot]
        return np.stack([w, mean])

    for epoch in range(epochs):
        if problem.reduction == "svrg" or (problem.reduction == "saga" and epoch == 0):
            memory = slope(X @ w, y)
            mean = X.T @ memory / n
        for cuts in plan.copies.lists:
            untouched = steps(w, mean, cuts[0], cuts[-1], set())
            lists = [set(plan.order[start:stop]) for start, stop in pairwise(cuts)]
            gained = [steps(w, mean, cuts[0], cuts[-1], updates) - untouched for updates in lists]
            before = w
            w, mean = untouched + np.stack([share, np.ones(n_features)]) * np.sum(gained, axis=0)
            if lasso > 0:  # hot features stop at 0 before they go on
                sign = np.where(before < 0, -1.0, 1.0)[hot]
                size, copies = sign * before[hot], sign * (before + np.array(gained)[:, 0])[:, hot]
                to_zero = size + share[hot] * (np.maximum(copies, 0) - size).sum(axis=0)
                past_zero = share[hot] * np.minimum(copies, 0).sum(axis=0)
                w[hot] = sign * (np.maximum(to_zero, 0) + past_zero)
    return w


@pytest.mark.parametrize("scales_steps", [False, True])
@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a4_merged_lazy_terms_equal_an_eager_reference(loss, reduction, penalties, scales_steps):
    ridge, lasso = penalties
    X = rows_with_hubs(n=70, n_features=40, n_hubs=4)
    problem = linear(X, loss, reduction=reduction, ridge=ridge, lasso=lasso, scales_steps=scales_steps)
    plan = merged_plan(X, batch_size=20, n_lists=3)
    assert len(plan.copies.hot) > 0
    found = after_epochs(problem, plan, epochs=3, step_size=0.05)
    expected = eager(problem, plan, step_size=0.05, epochs=3, ridge=ridge, lasso=lasso)
    np.testing.assert_allclose(found.coef[:, 0], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a5_same_seed_same_bits_other_seed_other_bits(reduction):
    problem = linear(rows_with_hubs(), reduction=reduction)
    assert bits(run(problem, n_workers=2)) == bits(run(problem, n_workers=2))
    assert bits(run(problem, n_workers=2)) != bits(run(problem, n_workers=2, seed=1))


@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_list_is_the_serial_order_to_rounding(reduction, penalties):
    ridge, lasso = penalties
    X = rows_with_hubs(n=400)
    problem = linear(X, reduction=reduction, ridge=ridge, lasso=lasso)
    sampled = make_plan("serial", X, n_workers=1, rng=np.random.default_rng(0), keep_steps=True)
    assert len(find_hot(X, batch_size=50, n_lists=1)) == 0  # one list holds everything as it is
    plan = merged_plan(X, batch_size=50, n_lists=1)
    plan = replace(plan, copies=replace(plan.copies, hot=np.arange(5)))
    merged = after_epochs(problem, plan, epochs=3, step_size=0.05)
    with Workers(1) as workers:
        serial = problem.start(np.random.default_rng(0))
        problem.settle(serial, workers.sum)
        for _ in range(3):
            workers.run(sampled, problem.update_range, problem.lay_out(sampled), serial, 0.05)
            problem.settle(serial, workers.sum, 0.05)
    np.testing.assert_allclose(merged.coef, serial.coef, rtol=1e-9, atol=1e-12)


def test_lists_that_do_not_see_one_another_change_the_result():
    problem = linear(rows_with_hubs())
    assert bits(run(problem)) != bits(run(problem, schedule="serial"))


def test_data_that_splits_exempts_nothing_and_gives_the_serial_bits():
    rng = np.random.default_rng(0)
    X = touches_of([{int(v)} for v in rng.integers(0, 4_000, 3_000)], 4_000).astype(float)
    problem = linear(X, reduction="saga", ridge=1e-3)
    merged = run(problem, n_workers=2)
    assert len(merged.plan.copies) == 0
    assert bits(merged) == bits(run(problem, schedule="serial"))


def test_only_hubs_are_exempt_for_any_order_and_number_of_workers():
    X = rows_with_hubs()
    for n_workers, seed in ((1, 0), (2, 0), (16, 3)):
        assert merged_plan(X, n_workers, seed=seed).copies.hot.tolist() == [0, 1, 2, 3, 4]


def test_exempt_variables_are_the_same_in_every_run_even_for_close_frequencies():
    rng = np.random.default_rng(0)
    X = touches_of([set((400 * rng.random(6) ** 3).astype(int).tolist()) for _ in range(5_000)], 400)
    first, *others = (find_hot(X, batch_size=64, n_lists=8).tolist() for _ in range(5))
    assert 10 < len(first) < 390
    assert all(other == first for other in others)


def test_the_smallest_set_of_hottest_variables_is_exempt():
    X = touches_of([{0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {2, 3, 4}, {2, 5, 4}, {2, 6, 7}, {2, 8}, {2, 9}], 11)
    hot = find_hot(
        X, batch_size=8, n_lists=8
    )  # 2 is in all rows, 3 and 4 in three; 1 joins two, short beside a barrier
    assert hot.tolist() == [2, 3, 4]


def test_predicted_speedup_counts_copies_as_touches_and_barriers_as_updates():
    copies = Copies(np.array([3, 7, 8]), np.array([[0, 10, 20], [20, 30, 40]]))
    at = {p: predict_speedup(copies, n_workers=p, mean_touches=2.0) for p in (1, 2, 3)}
    assert at[1] == pytest.approx(40 / (40 + 2 * (3 * 2 / 2)))
    assert at[2] == pytest.approx(40 / (20 + 2 * (2 * 2 / 2 + 20)))
    assert at[3] == pytest.approx(40 / (20 + 2 * (1 * 2 / 2 + 20)))  # two lists: one worker has none


def test_batches_depend_on_the_number_of_updates_alone():
    assert [default_merged_batch(n) for n in (10, 64 * 64, 64 * 100, 10**7)] == [64, 64, 100, 1_024]


def solved(problem, epochs=300, schedule="merged"):
    step = 1 / (3 * problem.smoothness())
    options = {"n_jobs": 2, "tol": None, "random_state": 0}
    return minimize(problem, method=SGD(step), schedule=schedule, max_iter=epochs, **options)


@given(n_lists=st.integers(1, 20), reach=st.floats(0.0, 50.0))
def test_share_makes_the_sum_of_changes_that_of_consecutive_lists(n_lists, reach):
    share = merge_factor(n_lists, reach)
    assert 1 / n_lists <= share * (1 + 1e-12) <= 1 + 1e-9
    assert share * n_lists * -np.expm1(-reach / n_lists) == pytest.approx(-np.expm1(-reach), rel=1e-9, abs=1e-11)


def test_lists_that_correct_the_same_error_do_not_overshoot():
    X = csr_array(np.ones((64, 1)))
    problem = Linear(X, np.ones(64), LOSSES["squared"])
    found = run(problem, step_size=0.5, epochs=1).variables.coef[0, 0]
    gained = 1 - 0.5**8  # eight updates per list, each of which halves the distance
    share = (1 - np.exp(-16)) / (1 - np.exp(-2)) / 8  # half of 64 updates of step 0.5
    assert found == pytest.approx(8 * gained * share)
    assert abs(found - 1) < 0.2  # the sum alone would be 8


@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_hubs_that_always_agree_leave_the_full_step_size_as_good_as_it_is_serially(reduction):
    X = rows_with_hubs(n=1_000, n_features=60, n_hubs=20)
    X.data[:] = 1.0
    problem = linear(X, reduction=reduction, ridge=0.1)
    peer = Ridge(alpha=0.1 * 1_000, fit_intercept=False, tol=1e-12).fit(X.toarray(), problem.target)
    errors = {
        schedule: np.abs(solved(problem, epochs, schedule).variables.coef[:, 0] - peer.coef_).max()
        for schedule, epochs in (("serial", 30), ("merged", 60))
    }
    assert errors["serial"] < 1e-12
    assert errors["merged"] < 1e-12


@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_logistic_solution_on_rows_with_hubs_is_that_of_scikit_learn(reduction):
    X = rows_with_hubs(n=300, n_features=80)
    problem = linear(X, "logistic", reduction=reduction, ridge=0.01, fit_intercept=True)
    found = solved(problem)
    assert len(found.plan.copies.hot) >= 5
    peer = LogisticRegression(C=1 / (0.01 * 300), solver="newton-cholesky", tol=1e-12).fit(X.toarray(), problem.target)
    np.testing.assert_allclose(found.variables.coef[:, 0], peer.coef_[0], atol=1e-7)
    assert found.variables.intercept[0] == pytest.approx(peer.intercept_[0], abs=1e-7)


@pytest.mark.parametrize("reduction", ["svrg", "saga"])
def test_elastic_net_solution_on_rows_with_hubs_is_that_of_scikit_learn(reduction):
    X = rows_with_hubs(n=300, n_features=80)
    problem = linear(X, reduction=reduction, ridge=0.01, lasso=0.02, fit_intercept=True)
    found = solved(problem, 600).variables
    peer = ElasticNet(alpha=0.03, l1_ratio=2 / 3, tol=1e-14, max_iter=100_000).fit(X.toarray(), problem.target)
    np.testing.assert_allclose(found.coef[:, 0], peer.coef_, atol=1e-8)
    assert ((found.coef[:, 0] == 0) == (peer.coef_ == 0)).all()


def test_estimator_gives_the_same_coefficients_for_any_number_of_threads():
    X = rows_with_hubs()
    y = np.random.default_rng(0).integers(0, 2, X.shape[0])
    one, two = (
        SparseClassifier(schedule="merged", n_jobs=jobs, max_iter=3, tol=None, random_state=0).fit(X, y)
        for jobs in (1, 2)
    )
    assert one.coef_.tobytes() == two.coef_.tobytes()
    assert str(two.plan_).startswith("merged plan: 2,000 updates in 32 batches of 64 for 2 workers")
    assert two.plan_.note == "5 hot of 3,000 variables in 8 copies each, merged after every batch"
    assert two.plan_.is_reproducible


def test_problems_without_merging_are_refused():
    pairs = np.arange(4), np.arange(4), np.ones(4)
    ratings = Ratings(*pairs, 4, 4, n_factors=2, penalty=0.1, biased=False)
    with pytest.raises(ValueError, match="such as Linear; got Ratings"):
        minimize(ratings, schedule="merged")
    with pytest.raises(ValueError, match="n_lists must be at least 1; got 0"):
        merged_plan(touches_of([{0}], 1), n_lists=0)
    with pytest.raises(ValueError, match="schedule 'merged' is not for eigenvectors"):
        leading_eigenvector(csr_array(np.eye(3)), schedule="merged")


def test_plan_with_copies_is_not_run_without_them():
    problem = linear(rows_with_hubs())
    plan = merged_plan(problem.touches)
    with Workers(1) as workers, pytest.raises(ValueError, match="run_in_copies"):
        workers.run(plan, problem.update_range, problem.lay_out(plan), problem.start(np.random.default_rng(0)), 0.1)


def test_unprofitable_merging_warns_and_still_runs():
    dense = csr_array(np.random.default_rng(0).normal(size=(400, 300)))
    with pytest.warns(
        ScheduleWarning, match="merged: 2 workers are not predicted to be faster .* 300 hot of 300 variables"
    ) as caught:
        plan = make_plan("merged", dense, n_workers=2, rng=np.random.default_rng(0))
    assert plan.schedule == "merged"
    assert plan.predicted_speedup < 1.1
    assert caught[0].filename == __file__
