"""Fit the same ratings with three schedules; compare the times, and the bits with those of the serial run."""

import time

import numpy as np

from etesian.sparse import MatrixFactorization

rng = np.random.default_rng(0)
users, items = rng.integers(0, 20_000, 300_000), rng.integers(0, 10_000, 300_000)
ratings = users, items, rng.normal(3.5, 1.0, 300_000)


def fit(schedule, epochs):
    """Fit for a number of epochs without computing the objective."""
    model = MatrixFactorization(n_factors=32, schedule=schedule, max_iter=epochs, tol=None, random_state=0)
    return model.fit(ratings)


def is_equal(one, other):
    """Return True if two models agree in every bit."""
    return (one.user_factors_ == other.user_factors_).all() and (one.item_factors_ == other.item_factors_).all()


serial = fit("serial", epochs=20)
for schedule in ("serial", "conflict_free", "lock_free"):
    fit(schedule, epochs=1)  # compile before timing
    began = time.perf_counter()
    model = fit(schedule, epochs=20)
    seconds = time.perf_counter() - began
    print(model.plan_)
    print(f"    {seconds:.2f} s including planning; same bits as serial: {'yes' if is_equal(model, serial) else 'no'}")
    if model.plan_.is_reproducible:
        assert is_equal(model, serial)
