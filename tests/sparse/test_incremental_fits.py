"""Fits that go on from earlier ones, and fits that stop early, of both estimators."""

import pickle
import threading

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from etesian.sparse import MatrixFactorization, WordEmbedding, count_cooccurrences
from etesian.sparse.cooccurrence import add_cooccurrences
from etesian.sparse.estimators.held_out import hold_out


def triples(n=8_000, n_users=400, n_items=300, seed=0):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    left, right = np.random.default_rng(9).standard_normal((2, max(n_users, n_items), 2))
    return users, items, 3.0 + (left[users] * right[items]).sum(axis=1) + 0.5 * rng.standard_normal(n)


def sentences(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return [[f"{topic}-{word}" for word in rng.integers(0, 10, 8)] for topic in rng.integers(0, 5, n)]


MODELS = {
    "ratings": (
        MatrixFactorization(6, max_iter=4, random_state=0, schedule="serial", step_size=0.03),
        triples,
        "user_factors_",
    ),
    "implicit": (
        MatrixFactorization(6, feedback="implicit", max_iter=4, random_state=0, schedule="serial"),
        lambda **options: tuple(np.abs(a) for a in triples(**options)),
        "item_factors_",
    ),
    "words": (
        WordEmbedding(6, max_iter=4, min_count=1, random_state=0, schedule="serial"),
        sentences,
        "vectors_",
    ),
}


@pytest.fixture(params=MODELS)
def case(request):
    model, make, name = MODELS[request.param]
    return clone(model), make, lambda model: getattr(model, name)


def test_first_partial_fit_is_a_fit_of_one_epoch(case):
    model, make, learned = case
    one = clone(model).set_params(max_iter=1).fit(make())
    assert learned(model.partial_fit(make())).tobytes() == learned(one).tobytes()


def test_partial_fit_has_the_same_bits_with_the_same_seed_and_any_number_of_threads(case):
    model, make, learned = case

    def run(**options):
        fitted = clone(model).set_params(**options).fit(make())
        return learned(fitted.partial_fit(make(seed=1)).partial_fit(make(seed=2))).tobytes()

    assert run() == run()
    assert run() == run(schedule="conflict_free", n_jobs=2)
    assert run() != run(random_state=1)


def test_partial_fit_counts_its_epochs_and_draws_another_order_each_time(case):
    model, make, _ = case
    model.fit(make())
    orders = []
    for epochs in (5, 6):
        model.partial_fit(make())
        assert model.n_iter_ == epochs
        orders.append(model.plan_.order)
    assert not np.array_equal(*orders)


def test_warm_start_continues_from_the_last_fit(case):
    model, make, learned = case
    model.set_params(warm_start=True, callback=lambda *_: None).fit(make())
    after_one = model.objective_[-1]
    assert model.fit(make()).objective_[0] < after_one
    cold = clone(model).set_params(warm_start=False)
    assert learned(cold.fit(make())).tobytes() == learned(cold.fit(make())).tobytes()


def test_early_stopping_keeps_the_epoch_with_the_lowest_held_out_loss(case):
    model, make, learned = case
    model.set_params(max_iter=300, early_stopping=True, n_iter_no_change=3, step_size=0.05)
    model.fit(make(n=300))
    assert model.outcome_ == "early_stopped"
    best = int(np.argmin(model.validation_loss_)) + 1
    assert best < model.n_iter_ == len(model.validation_loss_) < 300
    with_fewer = clone(model).set_params(max_iter=best).fit(make(n=300))
    assert learned(with_fewer).tobytes() == learned(model).tobytes()


def test_held_out_part_is_chosen_by_the_seed(case):
    model, make, _ = case
    model.set_params(early_stopping=True)
    losses = [clone(model).set_params(random_state=seed).fit(make()).validation_loss_ for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_fitted_model_keeps_no_thread_and_can_be_pickled(case):
    model, make, learned = case
    before = set(threading.enumerate())
    model.set_params(schedule="conflict_free", n_jobs=2, early_stopping=True).fit(make())
    assert set(threading.enumerate()) == before
    again = pickle.loads(pickle.dumps(model))
    assert learned(again.partial_fit(make())).tobytes() == learned(model.partial_fit(make())).tobytes()


@pytest.mark.parametrize("make_seed", [np.random.default_rng, np.random.RandomState])
def test_random_state_may_be_a_generator_of_either_kind(make_seed):
    def run(number):
        model = MatrixFactorization(4, max_iter=2, random_state=make_seed(number), early_stopping=True)
        return model.fit(triples()).partial_fit(triples()).user_factors_.tobytes()

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_each_epoch_has_an_order_of_its_own_unless_it_is_fixed():
    model, make, _ = MODELS["ratings"]
    model = clone(model).set_params(callback=lambda *_: None)
    drawn, fixed = clone(model).fit(make()), clone(model).set_params(order="fixed").fit(make())
    assert drawn.objective_[0] == fixed.objective_[0]
    assert drawn.objective_[1] != fixed.objective_[1]


def test_users_without_new_ratings_keep_their_factors_and_new_ones_join():
    model = MatrixFactorization(4, max_iter=3, random_state=0, schedule="serial").fit(
        ([1, 3, 5], [0, 1, 2], [1.0, 3, 5])
    )
    before = model.user_factors_.copy()
    model.partial_fit(([5, 4], [2, 9], [4.0, 2.0]))
    assert model.user_ids_.tolist() == [1, 3, 4, 5]
    assert model.item_ids_.tolist() == [0, 1, 2, 9]
    assert model.user_factors_[[0, 1]].tobytes() == before[[0, 1]].tobytes()
    assert not np.array_equal(model.user_factors_[3], before[2])
    assert model.user_factors_[2].any()
    assert model.mean_ == 3.0
    assert 2 not in model.recommend(5)[0]
    assert 0 not in model.recommend(1)[0]


def test_user_without_a_rating_so_far_starts_at_random_when_one_comes():
    model = MatrixFactorization(4, max_iter=2, random_state=0, schedule="serial")
    model.fit(csr_matrix(([3.0, 5.0], ([0, 2], [0, 1])), shape=(3, 2)))
    assert not model.user_factors_[1].any()
    model.partial_fit(csr_matrix(([4.0], ([1], [1])), shape=(3, 2)))
    assert model.user_factors_[1].any()
    fresh = np.abs(model.user_factors_[1]).max()
    assert fresh > 0.01  # a step from factors of 0 would be shorter: 0.01 x an error of 1 x item factors of about 0.1


def test_counts_of_more_text_are_added():
    model = WordEmbedding(4, min_count=2, window=2, random_state=0, schedule="serial", max_iter=1)
    model.fit([["a", "b"], ["b", "a"], ["a", "c", "c"]])
    model.partial_fit([["a", "d", "d"], ["c", "e"]])
    assert model.words_ == ("a", "c", "b", "d")
    assert model.word_counts_.tolist() == [4, 3, 2, 2]
    counted = model.cooccurrence_
    pairs = {
        (model.words_[i], model.words_[j]): n
        for i, j, n in zip(counted.left, counted.right, counted.count, strict=True)
    }
    assert pairs == {("a", "b"): 2, ("a", "c"): 2, ("a", "d"): 2}


def test_words_keep_their_vectors_when_their_rows_move():
    model = WordEmbedding(4, min_count=1, random_state=0, schedule="serial", max_iter=1, step_size=1e-12)
    model.fit([["a", "b"], ["a", "c"]])
    before = {word: model.vector(word).copy() for word in model.words_}
    model.partial_fit([["c", "b"], ["c", "d"], ["c", "d"]])
    assert model.words_ == ("c", "a", "b", "d")
    for word, vector in before.items():
        np.testing.assert_allclose(model.vector(word), vector, rtol=1e-6)


def test_counts_of_two_halves_add_up_to_those_of_the_whole():
    text = sentences()
    whole = count_cooccurrences(text, window=3, min_count=1)
    halves = [count_cooccurrences(text[part], window=3, min_count=1) for part in (slice(0, 250), slice(250, None))]
    added = add_cooccurrences(*halves)
    assert added.words == whole.words
    for name in ("word_counts", "left", "right", "count"):
        np.testing.assert_array_equal(getattr(added, name), getattr(whole, name))
        assert getattr(added, name).dtype == getattr(whole, name).dtype


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.99])
def test_held_out_pairs_leave_every_id_in_the_training_data(fraction):
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 300, 1_000), rng.integers(0, 200, 1_000)
    held = hold_out(left, right, fraction=fraction, rng=rng)
    assert held.any()
    assert held.sum() <= np.ceil(fraction * 1_000)
    assert set(left[held]) <= set(left[~held])
    assert set(right[held]) <= set(right[~held])


def test_held_out_share_is_the_requested_fraction_if_ids_are_frequent():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 5, 1_000), rng.integers(0, 5, 1_000)
    assert hold_out(left, right, fraction=0.1, rng=rng).sum() == 100


def test_vector_of_a_sentence_is_the_mean_of_those_of_its_known_words():
    model = WordEmbedding(6, min_count=1, random_state=0, schedule="serial", max_iter=2).fit(sentences())
    found = model.transform(["0-1 0-2 unknown", ["3-3"], "unknown", []])
    mean = (model.vector("0-1") + model.vector("0-2")) / 2
    np.testing.assert_allclose(found, [mean, model.vector("3-3"), np.zeros(6), np.zeros(6)], rtol=1e-6)
    assert found.dtype == np.float32
    assert model.get_feature_names_out().tolist() == [f"wordembedding{k}" for k in range(6)]


def test_embedding_feeds_a_classifier_in_a_pipeline():
    text = sentences()
    topic = [sentence[0].split("-")[0] for sentence in text]
    embedding = WordEmbedding(10, min_count=1, random_state=0, max_iter=30)
    pipeline = make_pipeline(embedding, LogisticRegression())
    assert pipeline.fit(text[:500], topic[:500]).score(text[500:], topic[500:]) > 0.8  # chance is 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter_no_change": 0}, "n_iter_no_change must be an integer of at least 1; got 0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be between 0 and 1; got 1.0"),
        ({"max_iter": 2.0}, "max_iter must be an integer of at least 1; got 2.0"),
        ({"tol": -1.0}, "tol must be None or a non-negative number; got -1.0"),
    ],
)
def test_bad_options_are_named(case, options, message):
    model, make, _ = case
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(make())


def test_fit_of_another_size_cannot_be_continued(case):
    model, make, _ = case
    size = "n_dimensions" if isinstance(model, WordEmbedding) else "n_factors"
    model.fit(make()).set_params(**{size: 7})
    with pytest.raises(ValueError, match=f"{size} must equal that of the last fit, 6, to continue it; got 7"):
        model.partial_fit(make())


def test_ids_of_another_type_cannot_be_added():
    model = MatrixFactorization(2, max_iter=1, schedule="serial").fit(triples(n=100))
    with pytest.raises(ValueError, match="user ids must be integers, as in the first fit; got 'ann'"):
        model.partial_fit((["ann"], [1], [2.0]))


def test_too_few_pairs_for_a_held_out_set_are_refused():
    with pytest.raises(ValueError, match=r"cannot hold out a pair \(validation_fraction=0.1\)"):
        MatrixFactorization(early_stopping=True).fit(([0, 1], [0, 1], [1.0, 2.0]))
