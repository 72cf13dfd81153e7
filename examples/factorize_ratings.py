"""Factorize ratings on all cores, evaluate on held-out ratings, and check that one core gives the same bits."""

import numpy as np

from etesian.sparse import MatrixFactorization

N_USERS, N_ITEMS, N_RATINGS = 3_000, 2_000, 90_000

rng = np.random.default_rng(0)
users, items = rng.integers(0, N_USERS, N_RATINGS), rng.integers(0, N_ITEMS, N_RATINGS)
taste, character = rng.normal(size=(N_USERS, 3)), rng.normal(size=(N_ITEMS, 3))
ratings = 3.5 + 0.5 * (taste[users] * character[items]).sum(axis=1) + 0.1 * rng.normal(size=N_RATINGS)

is_held_out = rng.random(N_RATINGS) < 0.1
known = users[~is_held_out], items[~is_held_out], ratings[~is_held_out]
held_out = users[is_held_out], items[is_held_out], ratings[is_held_out]

model = MatrixFactorization(n_factors=3, step_size=0.05, max_iter=60, random_state=0).fit(known)
print(model.plan_)
print(f"{model.n_iter_} epochs, {model.outcome_}")
print(f"R2 on held-out ratings: {model.score(held_out):.2f}")

best_items, predicted = model.recommend(users[0], n=3)
print(f"for user {users[0]}: items {best_items}, predicted {np.round(predicted, 1)}")

on_one_core = MatrixFactorization(n_factors=3, step_size=0.05, max_iter=60, random_state=0, n_jobs=1).fit(known)
assert (model.user_factors_ == on_one_core.user_factors_).all()
assert (model.item_factors_ == on_one_core.item_factors_).all()
print("one core gives the same bits")
