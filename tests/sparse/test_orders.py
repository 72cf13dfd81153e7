"""Orders of epochs: each epoch draws its own, from the seed alone, and SAGA needs that."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_array

from etesian.sparse import SGD, Epochs, Linear, Ratings, SparseRegressor, Workers, leading_eigenvector, minimize
from etesian.sparse.problems.losses import REGRESSION
from etesian.sparse.problems.penalties import L2

# One-hot rows hang together, so that every exact schedule of them is a serial one and says so.
pytestmark = pytest.mark.filterwarnings("ignore::etesian.sparse.ScheduleWarning")

RIDGE = 1e-4
GROUPS, VALUES = 14, 9


@cache
def one_hot(n=20_000):
    """Rows of 14 groups of 9 one-hot features, and a target with noise."""
    rng = np.random.default_rng(0)
    columns = np.arange(GROUPS) * VALUES + rng.integers(0, VALUES, (n, GROUPS))
    X = csr_array((np.ones(columns.size), columns.ravel(), np.arange(n + 1) * GROUPS), shape=(n, GROUPS * VALUES))
    return X, X @ rng.normal(size=GROUPS * VALUES) + 0.5 * rng.normal(size=n)


@cache
def least_objective():
    X, y = one_hot()
    best = np.linalg.solve((X.T @ X).toarray() / len(y) + RIDGE * np.eye(X.shape[1]), X.T @ y / len(y))
    return 0.5 * np.mean((X @ best - y) ** 2) + 0.5 * RIDGE * best @ best


def gaps(reduction, *, epochs, step=1 / 3, **options):
    """Distance of the objective from its minimum after each epoch, relative to the minimum."""
    X, y = one_hot()
    problem = Linear(X, y, REGRESSION["squared"], reduction=reduction, penalty=L2(RIDGE))
    method, seen = SGD(step / problem.smoothness()), []

    def callback(epoch, objective, seconds):
        seen.append(objective / least_objective() - 1)

    minimize(problem, method=method, tol=None, max_iter=epochs, random_state=0, callback=callback, **options)
    return np.array(seen)


def ratings(n=4_000):
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 3_000, n), rng.integers(0, 2_000, n)
    return Ratings(user, item, rng.normal(3.5, 1.0, n).astype(np.float32), 3_000, 2_000, 4, 0.02, biased=True)


def sampled_orders(schedule, *, n_workers=2, seed=0, epochs=4, order="each_epoch"):
    """Return the serial order of each epoch's plan, up to swaps of updates without conflicts."""
    with Workers(n_workers) as workers:
        run = Epochs(ratings(), workers, method=SGD(0.01), schedule=schedule, random_state=seed, order=order)
        orders = []
        for _ in range(epochs):
            run.advance()
            orders.append(run.plan.order.copy())
    return orders


@pytest.mark.parametrize("schedule", ["serial", "conflict_free", "levels", "auto", "blocked", "lock_free"])
def test_each_epoch_draws_its_own_permutation_from_the_seed(schedule):
    orders = sampled_orders(schedule)
    assert all(sorted(order) == list(range(4_000)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    again, other = sampled_orders(schedule), sampled_orders(schedule, seed=1)
    assert all((a == b).all() for a, b in zip(orders, again, strict=True))
    assert all((a != b).any() for a, b in zip(orders, other, strict=True))


@pytest.mark.parametrize("schedule", ["serial", "conflict_free"])
def test_a_fixed_order_is_repeated(schedule):
    orders = sampled_orders(schedule, order="fixed")
    assert len({order.tobytes() for order in orders}) == 1


def test_saga_reaches_the_optimum_of_one_hot_data_within_twelve_epochs():
    assert gaps("saga", epochs=12).min() < 1e-6


def test_saga_does_not_get_near_the_optimum_in_a_fixed_order():
    """The documented risk of order='fixed', and the proof that the test above can fail."""
    assert gaps("saga", epochs=40, schedule="serial", order="fixed").min() > 1e-2


def test_regressor_explains_one_hot_data():
    X, y = one_hot()
    assert SparseRegressor(max_iter=12, tol=None, random_state=0).fit(X, y).score(X, y) > 0.979


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_eigenvector_plans_every_epoch_anew():
    rows = one_hot(2_000)[0]
    short, long = (leading_eigenvector(rows, of="gram", tol=1e-12, max_iter=n, random_state=0) for n in (1, 2))
    assert (short.plan.order != long.plan.order).any()


def test_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order must be 'each_epoch' or 'fixed'; got 'never'"):
        minimize(ratings(), order="never")
