"""Recommendations for many users, similar items, and folding in a user, against plain computations and ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from sklearn.linear_model import Ridge

from etesian.sparse import MatrixFactorization, WordEmbedding

RNG = np.random.default_rng(0)
TASTE, CHARACTER = RNG.normal(size=(50, 2)), RNG.normal(size=(40, 2))
CELLS = RNG.choice(50 * 40, 900, replace=False)
USER, ITEM = CELLS // 40, CELLS % 40
RATING = 3 + (TASTE[USER] * CHARACTER[ITEM]).sum(axis=1)


@pytest.fixture(scope="module")
def model():
    options = {"n_factors": 3, "step_size": 0.05, "max_iter": 30, "random_state": 0, "schedule": "serial", "tol": None}
    return MatrixFactorization(**options).fit((USER + 100, ITEM + 900, RATING))


def test_recommendations_of_a_user_do_not_depend_on_the_others(model):
    users = model.user_ids_[::-1]
    for exclude in (True, False):
        items, ratings = model.recommend(users, 7, exclude_rated=exclude)
        assert items.shape == ratings.shape == (50, 7)
        for user, row_items, row_ratings in zip(users, items, ratings, strict=True):
            alone = model.recommend(user, 7, exclude_rated=exclude)
            assert (alone[0].tolist(), alone[1].tolist()) == (row_items.tolist(), row_ratings.tolist())
            rated = ITEM[user == USER + 100] + 900
            assert not exclude or not np.isin(row_items, rated).any()
            every = {i: model.predict(([user], [i]))[0] for i in model.item_ids_ if not (exclude and i in rated)}
            best = sorted(every.values(), reverse=True)[:7]
            np.testing.assert_allclose(row_ratings, best, rtol=1e-5)


def test_rows_with_fewer_items_end_in_nan(model):
    users = model.user_ids_[:3]
    items, ratings = model.recommend(users, 40)
    n_left = [40 - np.count_nonzero(user == USER + 100) for user in users]
    assert np.isfinite(ratings).sum(axis=1).tolist() == n_left
    assert (items == -1).sum(axis=1).tolist() == [40 - n for n in n_left]
    assert [len(model.recommend(user, 99)[0]) for user in users] == n_left
    text = MatrixFactorization(n_factors=1, max_iter=1, schedule="serial").fit((["a", "b"], ["x", "y"], [1.0, 2.0]))
    assert text.recommend(["a", "b"], 2)[0].tolist() == [["y", ""], ["x", ""]]
    assert text.recommend([], 2)[0].shape == (0, 2)


def test_equal_ratings_come_in_the_order_of_their_ids():
    fit = MatrixFactorization(n_factors=1, max_iter=1, schedule="serial").fit(
        coo_array(([1.0], ([0], [3])), shape=(1, 6))
    )
    assert fit.recommend(0, 3)[0].tolist() == [0, 1, 2]


def test_similar_items_have_the_largest_cosine(model):
    factors = model.item_factors_.astype(float)
    cosine = (factors @ factors.T) / np.outer(*2 * [np.linalg.norm(factors, axis=1)])
    np.fill_diagonal(cosine, -2)
    items, cosines = model.similar_items(model.item_ids_, 5)
    for row in range(len(items)):
        np.testing.assert_allclose(cosines[row], np.sort(cosine[row])[::-1][:5], rtol=1e-6)
        alone = model.similar_items(model.item_ids_[row], 5)
        assert (alone[0].tolist(), alone[1].tolist()) == (items[row].tolist(), cosines[row].tolist())
        assert model.item_ids_[row] not in items[row]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("regularization", [0.02, 0.5])
def test_folded_in_user_solves_the_ridge_regression(biased, regularization):
    model = MatrixFactorization(
        n_factors=3,
        biased=biased,
        regularization=regularization,
        max_iter=8,
        random_state=0,
        schedule="serial",
        dtype="float64",
    ).fit((USER, ITEM, RATING))
    items, ratings = np.array([3, 9, 11, 20, 33]), np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    user = model.fold_in_user(items, ratings)
    design = np.concatenate([model.item_factors_[items], np.ones((5, 1))[:, : int(biased)]], axis=1)
    target = ratings - model.mean_ - model.item_bias_[items]
    ridge = Ridge(alpha=regularization * len(items), fit_intercept=False).fit(design, target)
    np.testing.assert_allclose([*user.factors, user.bias][: design.shape[1]], ridge.coef_, rtol=1e-9)
    predicted = design @ ridge.coef_ + model.mean_ + model.item_bias_[items]
    np.testing.assert_allclose(model.predict((user, items)), predicted, rtol=1e-9)
    assert model.predict((user, [999]))[0] == pytest.approx(model.mean_ + user.bias)
    best, _ = model.recommend(user, 4)
    assert not np.isin(best, items).any()


def test_folded_in_user_of_counts_solves_the_weighted_ridge_regression():
    model = MatrixFactorization(
        n_factors=3,
        feedback="implicit",
        alpha=2.0,
        n_negatives=4,
        max_iter=5,
        random_state=0,
        schedule="serial",
        dtype="float64",
    ).fit((USER, ITEM, np.ceil(RATING.clip(0.5))))
    items, counts = np.array([3, 9, 11]), np.array([5.0, 1.0, 0.0])
    user = model.fold_in_user(items, counts)
    weight = np.full(40, 4 * 2 / 37)
    weight[items] = 1 + 2 * counts
    target = np.isin(np.arange(40), [3, 9]) - model.mean_ - model.item_bias_
    design = np.concatenate([model.item_factors_, np.ones((40, 1))], axis=1)
    ridge = Ridge(alpha=0.02 * weight.sum(), fit_intercept=False).fit(design, target, sample_weight=weight)
    np.testing.assert_allclose([*user.factors, user.bias], ridge.coef_, rtol=1e-9)


def test_user_folded_in_with_all_ratings_is_near_the_fitted_one(model):
    user = model.user_ids_[5]
    rated = user == USER + 100
    folded = model.fold_in_user(ITEM[rated] + 900, RATING[rated])
    fitted = model.predict((np.full(40, user), model.item_ids_))
    assert np.corrcoef(fitted, model.predict((folded, model.item_ids_)))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.recommend(100, n=-1), "n must be an integer of at least 1; got -1"),
        (lambda m: m.recommend(100, n=0), "n must be an integer of at least 1; got 0"),
        (lambda m: m.recommend(100, n=2.0), "n must be an integer of at least 1; got 2.0"),
        (lambda m: m.recommend([100, 7]), "user 7 has no rating in the training data"),
        (lambda m: m.recommend("ann"), "user 'ann' has no rating"),
        (lambda m: m.similar_items(900, n=0), "n must be an integer of at least 1; got 0"),
        (lambda m: m.similar_items(7), "item 7 has no rating"),
        (lambda m: m.fold_in_user([900], [np.nan]), "ratings must be finite"),
        (lambda m: m.fold_in_user([900, 900], [1, 2]), "items must not repeat"),
        (lambda m: m.fold_in_user([7], [1]), "items must include at least one item of the fit"),
        (lambda m: m.fold_in_user([900], [1, 2]), "must have equal lengths"),
        (lambda m: m.fold_in_user([], []), "ratings must include at least one rating"),
        (
            lambda m: MatrixFactorization(n_factors=4.0).fit(([1], [1], [1])),
            "n_factors must be an integer of at least 1; got 4.0",
        ),
        (lambda m: MatrixFactorization(n_factors=True).fit(([1], [1], [1])), "n_factors must be an integer"),
        (
            lambda m: MatrixFactorization(n_negatives=0.5).fit(([1], [1], [1])),
            "n_negatives must be an integer of at least 0",
        ),
        (
            lambda m: WordEmbedding(n_dimensions=2.5).fit(["a b"]),
            "n_dimensions must be an integer of at least 1; got 2.5",
        ),
        (lambda m: WordEmbedding(window=1.5).fit(["a b"]), "window must be an integer of at least 1; got 1.5"),
    ],
)
def test_bad_arguments_are_named(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_sentences_may_be_generators():
    def sentences(kind):
        return (kind(["a", "b", "c"]) for _ in range(9))

    options = {"n_dimensions": 2, "min_count": 1, "max_iter": 2, "schedule": "serial", "random_state": 0}
    expected = WordEmbedding(**options).fit(list(sentences(list)))
    found = WordEmbedding(**options).fit(sentences(lambda words: (word for word in words)))
    assert found.vectors_.tolist() == expected.vectors_.tolist()
    assert found.transform([iter(["a", "b"])]).tolist() == expected.transform([["a", "b"]]).tolist()
    with pytest.raises(TypeError, match="sentence 1 must be a string or hold strings; got 5"):
        WordEmbedding(min_count=1).fit(["a b", 5])
