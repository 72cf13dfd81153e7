import pickle
import signal

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from etesian.sparse import MatrixFactorization, ScheduleWarning


def low_rank_triples(n=20_000, n_users=1_200, n_items=900, seed=0):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    left, right = rng.standard_normal((n_users, 2)), rng.standard_normal((n_items, 2))
    ratings = 3.0 + (left[users] * right[items]).sum(axis=1)
    return users, items, ratings


def fitted(ratings=None, **options):
    asked = {"n_factors": 8, "max_iter": 5, "random_state": 0} | options
    return MatrixFactorization(**asked).fit(low_rank_triples() if ratings is None else ratings)


def test_recovers_a_low_rank_matrix_on_ratings_it_did_not_see():
    users, items, ratings = low_rank_triples(n=60_000)
    seen = np.arange(len(users)) < 50_000
    model = fitted(
        (users[seen], items[seen], ratings[seen]), n_factors=4, max_iter=60, step_size=0.03, regularization=0.001
    )
    assert model.score((users[~seen], items[~seen], ratings[~seen])) > 0.97


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_fit_is_bitwise_the_serial_one(n_jobs):
    serial = fitted(schedule="serial", callback=lambda *_: None)
    parallel = fitted(schedule="conflict_free", n_jobs=n_jobs, callback=lambda *_: None)
    assert parallel.plan_.schedule == "conflict_free"
    for name in ("user_factors_", "item_factors_", "user_bias_", "item_bias_"):
        assert getattr(serial, name).tobytes() == getattr(parallel, name).tobytes()
    assert serial.objective_ == parallel.objective_ != []


def test_matrix_and_triples_give_the_same_fit():
    matrix = random_array((1_500, 1_000), density=0.01, rng=np.random.default_rng(0), format="coo")
    by_matrix = fitted(matrix)
    filled = (matrix.row, matrix.col, matrix.data)
    by_triples = fitted(filled)
    by_array = fitted(np.stack(filled, axis=1))
    assert by_matrix.user_factors_[by_triples.user_ids_].tobytes() == by_triples.user_factors_.tobytes()
    assert by_array.item_factors_.tobytes() == by_triples.item_factors_.tobytes()


def test_stored_zeros_are_ratings():
    matrix = csr_matrix((np.array([0.0, 4.0]), ([0, 1], [0, 0])), shape=(2, 1))
    assert fitted(matrix, schedule="serial").mean_ == 2.0


def test_prediction_is_mean_and_biases_and_product():
    model = fitted()
    user, item = 7, 11
    expected = model.mean_ + model.user_bias_[user] + model.item_bias_[item]
    expected += model.user_factors_[user] @ model.item_factors_[item]
    assert model.predict(([7], [11]))[0] == pytest.approx(expected, rel=1e-6)
    assert model.predict(np.array([[7, 11]]))[0] == model.predict(([7], [11]))[0]


def test_user_or_item_that_was_not_seen_is_predicted_by_the_other():
    model = fitted()
    predicted = model.predict(([10**6, 7, 10**6], [11, 10**6, 10**6]))
    expected = model.mean_ + np.array([model.item_bias_[11], model.user_bias_[7], 0])
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)


def test_user_without_a_rating_gets_factors_of_zero_and_item_biases():
    matrix = csr_matrix(([3.0, 5.0, 4.0], ([0, 0, 2], [0, 1, 2])), shape=(3, 3))
    model = fitted(matrix, schedule="serial")
    assert not model.user_factors_[1].any()
    items, scores = model.recommend(1)
    np.testing.assert_allclose(scores, np.sort(model.mean_ + model.item_bias_)[::-1], rtol=1e-6)
    assert set(items) == {0, 1, 2}


def test_recommends_the_best_predicted_items_that_were_not_rated():
    users, items, ratings = low_rank_triples()
    model = fitted((users, items, ratings))
    recommended, scores = model.recommend(5, n=20)
    unseen = np.setdiff1d(model.item_ids_, items[users == 5])
    predicted = model.predict((np.full(len(unseen), 5), unseen))
    np.testing.assert_allclose(scores, np.sort(predicted)[::-1][:20], rtol=1e-5)
    assert not set(recommended) & set(items[users == 5])
    assert len(model.recommend(5, n=10_000, exclude_rated=False)[0]) == len(model.item_ids_)


def test_ids_may_be_text_and_may_have_gaps():
    ratings = (np.array(["ann", "bob", "ann"]), np.array([5, 999_999_999, 7]), np.array([1.0, 2.0, 3.0]))
    model = fitted(ratings, schedule="serial")
    assert model.user_ids_.tolist() == ["ann", "bob"]
    assert model.item_factors_.shape == (3, 8)
    assert model.recommend("bob", exclude_rated=False)[0].tolist() != []


def test_without_biases_a_prediction_is_the_product():
    model = fitted(biased=False)
    assert model.mean_ == 0
    assert not model.user_bias_.any()
    assert model.predict(([7], [11]))[0] == pytest.approx(model.user_factors_[7] @ model.item_factors_[11], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_have_the_type_asked_for(dtype):
    assert fitted(dtype=dtype).user_factors_.dtype == dtype


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        (csr_matrix((3, 3)), "at least one rating; got none"),
        (([], [], []), "at least one rating; got none"),
        (([0, 1], [0, 1], [1.0, float("nan")]), r"must be finite; got nan at position 1 \(1 in all\)"),
        (([0, 1], [0, 1], [1.0, float("inf")]), "must be finite; got inf"),
        (([0, 1], [0, 1.5], [1.0, 2.0]), "item ids must be integers or text; got 1.5 at position 1"),
        (([0, 1], [0], [1.0, 2.0]), "equal lengths; got 2, 1 and 2"),
        (np.ones((4, 5)), r"got an array of shape \(4, 5\)"),
        (([0], [0], ["good"]), "ratings must be numbers"),
        (([0], [0]), "ratings must be a tuple of users, items, ratings; got 2 sequences"),
    ],
)
def test_bad_ratings_are_named(ratings, message):
    with pytest.raises(ValueError, match=message):
        fitted(ratings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_factors": 0}, "n_factors must be an integer of at least 1; got 0"),
        ({"regularization": -1.0}, "regularization must be a finite number, 0 or more; got -1.0"),
        ({"dtype": "int8"}, "dtype must be 'float32' or 'float64'; got 'int8'"),
        ({"schedule": "fast"}, "schedule must be"),
        ({"step_size": 0}, "step_size must be"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**options)


def test_one_user_who_rated_everything_makes_one_component_and_a_correct_serial_fit():
    ratings = (np.zeros(300, int), np.arange(300), np.linspace(1, 5, 300))
    with pytest.warns(ScheduleWarning, match="serial in place of conflict_free"):
        model = fitted(ratings, n_jobs=2)
    assert model.plan_.schedule == "serial"
    assert model.user_factors_.tobytes() == fitted(ratings, schedule="serial").user_factors_.tobytes()


def test_works_with_the_tools_of_scikit_learn():
    model = clone(MatrixFactorization(n_factors=3, max_iter=2, schedule="serial", random_state=1))
    triples = np.stack(low_rank_triples(n=2_000), axis=1)
    search = GridSearchCV(model, {"n_factors": [2, 3]}, cv=2).fit(triples)
    assert search.best_params_["n_factors"] in (2, 3)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert again.predict(([1], [2])) == search.best_estimator_.predict(([1], [2]))


def test_interrupted_fit_is_usable_and_stays_interrupted():
    def interrupt(epoch, objective, seconds):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    model = MatrixFactorization(n_factors=4, max_iter=50, callback=interrupt, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(low_rank_triples())
    assert model.outcome_ == "interrupted"
    assert model.n_iter_ == 2
    assert np.isfinite(model.predict(([1], [2]))).all()
