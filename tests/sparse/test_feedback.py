"""Implicit feedback: which terms are fitted, that every schedule fits the same ones, and that it ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chisquare

from etesian.sparse import MatrixFactorization, Ratings, Workers
from etesian.sparse.estimators.feedback import draw_negatives, preferences
from etesian.sparse.estimators.ranking import recall
from etesian.sparse.estimators.ratings import read_ratings


def clustered_counts(n_users=400, n_items=320, n_clusters=8, n_a_user=25, seed=0):
    """Users of one cluster meet its items, and one in ten of their items is any."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, n_clusters, n_users)
    users = np.repeat(np.arange(n_users), n_a_user)
    own = cluster[users] + n_clusters * rng.integers(0, n_items // n_clusters, len(users))
    items = np.where(rng.random(len(users)) < 0.9, own, rng.integers(0, n_items, len(users)))
    return users, items, rng.integers(1, 5, len(users)).astype(float)


def split(triples, share=0.2):
    is_test = np.random.default_rng(1).random(len(triples[0])) < share
    return tuple(a[~is_test] for a in triples), tuple(a[is_test] for a in triples)


def fitted(triples, **options):
    asked = {"n_factors": 8, "feedback": "implicit", "random_state": 0, "max_iter": 5}
    asked |= {"callback": lambda *_: None} | options  # computes the objective
    return MatrixFactorization(**asked).fit(triples)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=40),
    seed=st.integers(0, 100),
)
def test_negative_samples_are_unrated_and_missing_only_if_all_items_are_rated(pairs, seed):
    user, item = np.array(pairs).T
    wanted = np.sort(np.repeat(np.unique(user), 5))
    drawn = draw_negatives(user, item, wanted, n_items=7, rng=np.random.default_rng(seed))
    met = set(pairs)
    for u, i in zip(wanted.tolist(), drawn.tolist(), strict=True):
        if i == -1:
            assert {item for other, item in met if other == u} == set(range(7))
        else:
            assert 0 <= i < 7
            assert (u, i) not in met


def test_unrated_items_are_drawn_uniformly():
    user, item = np.array([0, 0, 0, 1]), np.array([1, 2, 7, 0])
    drawn = draw_negatives(user, item, np.zeros(70_000, int), n_items=10, rng=np.random.default_rng(0))
    times = np.bincount(drawn, minlength=10)
    assert not times[[1, 2, 7]].any()
    assert chisquare(np.delete(times, [1, 2, 7])).pvalue > 0.001


def test_counts_become_preferences_and_confidences():
    read = read_ratings((["a", "a", "b"], [0, 1, 2], [3.0, 0.0, 1.0]), "float64")
    terms = preferences(read, alpha=2.0, n_negatives=2, rng=np.random.default_rng(0))
    assert terms.rating.tolist() == [1, 0, 1, 0, 0, 0, 0]
    assert terms.weight.tolist() == [7, 1, 3, 1, 1, 1, 1]  # 1 + 2 r
    assert terms.user.tolist() == [0, 0, 1, 0, 0, 1, 1]  # none is drawn for the count of 0
    assert terms.item[3:5].tolist() == [2, 2]  # all that "a" did not meet
    assert set(terms.item[5:]) <= {0, 1}


def test_objective_is_the_mean_of_the_terms_by_confidence():
    triples = clustered_counts(n_users=40)
    model = fitted(triples, alpha=0.5, n_negatives=3, dtype="float64", regularization=0.1, schedule="serial")
    drawing = np.random.default_rng(0).spawn(1)[0]
    terms = preferences(read_ratings(triples, "float64"), alpha=0.5, n_negatives=3, rng=drawing)
    u, v = model.user_factors_[terms.user], model.item_factors_[terms.item]
    a, b = model.user_bias_[terms.user], model.item_bias_[terms.item]
    assert model.mean_ == pytest.approx(np.average(terms.rating, weights=terms.weight))
    error = terms.rating - model.mean_ - a - b - (u * v).sum(axis=1)
    each = error**2 + 0.1 * ((u**2).sum(axis=1) + (v**2).sum(axis=1) + a**2 + b**2)
    assert model.objective_[-1] == pytest.approx(np.average(each, weights=terms.weight), rel=1e-10)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_a1_implicit_fit_is_bitwise_the_serial_one(n_jobs):
    triples = clustered_counts(n_users=3_000, n_items=8_000, n_a_user=4)
    serial = fitted(triples, schedule="serial", n_negatives=2)
    parallel = fitted(triples, n_jobs=n_jobs, n_negatives=2)
    assert parallel.plan_.schedule == "conflict_free"
    for name in ("user_factors_", "item_factors_", "user_bias_", "item_bias_"):
        assert getattr(serial, name).tobytes() == getattr(parallel, name).tobytes()
    assert serial.objective_ == parallel.objective_ != []


def test_a5_same_seed_draws_the_same_pairs_and_another_seed_others():
    def run(seed):
        return fitted(clustered_counts(), random_state=seed, schedule="serial").item_factors_.tobytes()

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_weight_of_two_is_the_objective_of_a_rating_given_twice():
    rng = np.random.default_rng(3)
    user, item, rating = rng.integers(0, 9, 50), rng.integers(0, 7, 50), rng.normal(size=50)
    times = rng.integers(1, 4, 50)
    sizes = {"n_users": 9, "n_items": 7, "n_factors": 3, "penalty": 0.1, "biased": True}
    weighted = Ratings(user, item, rating, **sizes, weight=times)
    repeated = Ratings(*(np.repeat(a, times) for a in (user, item, rating)), **sizes)
    assert weighted.mean == pytest.approx(repeated.mean)
    variables = (rng.standard_normal((16, 3)), rng.standard_normal(16))
    with Workers(1) as workers:
        assert weighted.objective(variables, workers.sum) == pytest.approx(repeated.objective(variables, workers.sum))
        assert weighted.loss_of(variables, workers.sum) == pytest.approx(repeated.loss_of(variables, workers.sum))


def test_step_of_a_rating_is_proportional_to_its_weight():
    rng = np.random.default_rng(4)
    before = (rng.standard_normal((4, 3)), rng.standard_normal(4))

    def moved(weight):
        triples = np.array([0, 1]), np.array([0, 1]), np.array([1.0, 2.0])
        problem = Ratings(*triples, 2, 2, 3, penalty=0.1, biased=True, weight=weight, mean=0.0)
        (rows,) = problem.worked_on(before)  # a copy
        unmoved = rows.copy()
        problem.update_range(0, 2, problem.rows(), (rows,), 0.01)
        assert not np.array_equal(rows[:, 3], unmoved[:, 3])  # biases
        return rows - unmoved

    plain, weighted = moved(None), moved(np.array([3.0, 1.0]))  # 1.5 and 0.5 on average 1
    np.testing.assert_allclose(weighted[[0, 2]], 1.5 * plain[[0, 2]], rtol=1e-12)
    np.testing.assert_allclose(weighted[[1, 3]], 0.5 * plain[[1, 3]], rtol=1e-12)


def test_rating_of_weight_zero_equals_no_rating():
    users, items, counts = clustered_counts()
    weight = np.random.default_rng(2).integers(0, 3, len(users))
    given = weight > 0
    for feedback in ("explicit", "implicit"):
        one = MatrixFactorization(4, feedback=feedback, max_iter=2, random_state=0, schedule="serial")
        one.fit((users, items, counts), sample_weight=weight)
        other = MatrixFactorization(4, feedback=feedback, max_iter=2, random_state=0, schedule="serial")
        other.fit((users[given], items[given], counts[given]), sample_weight=weight[given])
        assert one.item_factors_.tobytes() == other.item_factors_.tobytes()


def test_clusters_are_ranked_far_above_popular_items():
    seen, unseen = split(clustered_counts())
    model = fitted(seen, max_iter=20, step_size=0.05)
    popularity = np.asarray(model._rated.sum(axis=0), float)
    user, item = unseen[0].astype(int), np.searchsorted(model.item_ids_, unseen[1])
    by_popularity = recall(user, item, predict=lambda rows: np.tile(popularity, (len(rows), 1)), met=model._rated)
    assert model.score(unseen) > 3 * by_popularity


def test_recall_is_the_share_worked_by_hand():
    met = csr_array(np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool))
    predicted = np.array([[9.0, 3, 2, 1], [1, 2, 3, 4]])
    user, item = np.array([0, 0, 0, 1]), np.array([2, 3, -1, 3])

    def score(n):
        return recall(user, item, predict=lambda rows: predicted[rows], met=met, n=n)

    assert score(1) == pytest.approx((0 + 1) / 2)  # item 0 was met, so user 0 is shown item 1
    assert score(2) == pytest.approx((1 / 2 + 1) / 2)  # of three wanted items, two could be found
    assert score(4) == pytest.approx((2 / 3 + 1) / 2)  # -1 is never found


@pytest.mark.parametrize(
    ("options", "triples", "message"),
    [
        ({"feedback": "both"}, ([0], [0], [1.0]), "feedback must be 'explicit' or 'implicit'; got 'both'"),
        ({"alpha": -1}, ([0], [0], [1.0]), "alpha must be a finite number, 0 or more; got -1"),
        ({"n_negatives": -2}, ([0], [0], [1.0]), "n_negatives must be an integer of at least 0; got -2"),
        ({}, ([0, 1], [0, 1], [1.0, -3.0]), "implicit ratings must be 0 or more; got -3.0 at position 1"),
        ({}, ([0], [0], [0.0]), "must include at least one above 0; all are 0"),
    ],
)
def test_invalid_implicit_feedback_is_refused(options, triples, message):
    with pytest.raises(ValueError, match=message):
        fitted(triples, **options)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], r"must have shape \(2,\), a weight for each rating; got \(1,\)"),
        ([1.0, -1.0], "must be finite, 0 or more; got -1.0 at position 1"),
        ([0.0, 0.0], "must not be zero for all ratings"),
    ],
)
def test_bad_weights_are_named(weight, message):
    with pytest.raises(ValueError, match=f"sample_weight {message}"):
        MatrixFactorization().fit(([0, 1], [0, 1], [1.0, 2.0]), sample_weight=weight)
