import pickle
import signal

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from etesian.sparse import SparseClassifier, SparseRegressor
from etesian.sparse.problems.losses import Loss

pytestmark = [
    pytest.mark.filterwarnings("ignore::etesian.sparse.ScheduleWarning"),  # small dense data is one component
    pytest.mark.filterwarnings("ignore:max_iter:sklearn.exceptions.ConvergenceWarning"),  # short fits suffice here
]


def separate_rows(n=6_000, n_features=9_000, seed=0):
    rng = np.random.default_rng(seed)
    third = n_features // 3
    indices = np.sort(rng.integers(0, third, (n, 3)) + np.arange(3) * third, axis=1).ravel()
    X = csr_array((rng.standard_normal(3 * n), indices, np.arange(0, 3 * n + 1, 3)), shape=(n, n_features))
    return X, X @ rng.standard_normal(n_features)


def test_classifier_learns_real_data():
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), SparseClassifier(random_state=0)).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.95


@pytest.mark.parametrize("method", ["sgd", "svrg", "saga"])
@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared_hinge"])
def test_every_loss_and_method_separates_iris(loss, method):
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), SparseClassifier(loss, method=method, max_iter=300, random_state=0))
    assert model.fit(X, y).score(X, y) > 0.88


def test_classes_side_by_side_are_the_binary_fits():
    X, y = load_iris(return_X_y=True)
    X = MaxAbsScaler().fit_transform(X)
    options = {"alpha": 0.01, "tol": None, "max_iter": 300, "random_state": 0, "step_size": 0.5}
    together = SparseClassifier(**options).fit(X, y)
    assert together.coef_.shape == (3, 4)
    for number in range(3):
        alone = SparseClassifier(**options).fit(X, y == number)
        np.testing.assert_allclose(together.coef_[number], alone.coef_[0], atol=1e-7)
        assert together.intercept_[number] == pytest.approx(alone.intercept_[0], abs=1e-7)


def test_probabilities_are_those_of_scikit_learn():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = SparseClassifier(alpha=0.01, tol=1e-12, max_iter=2_000, random_state=0).fit(X, y)
    peer = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_fit_is_bitwise_the_serial_one(n_jobs):
    X, y = separate_rows()
    fits = [
        SparseRegressor(max_iter=4, random_state=0, schedule=schedule, n_jobs=n_jobs).fit(X, y)
        for schedule in ("serial", "conflict_free")
    ]
    assert fits[1].plan_.schedule == "conflict_free"
    assert fits[0].coef_.tobytes() == fits[1].coef_.tobytes()
    assert fits[0].intercept_ == fits[1].intercept_
    assert fits[0].objective_ == fits[1].objective_


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_rows_may_be_dense_or_sparse_of_either_type(kind, dtype):
    dense = random_array((200, 30), density=0.2, rng=np.random.default_rng(0)).toarray().astype(dtype)
    y = dense.sum(axis=1)
    model = SparseRegressor(random_state=0, max_iter=5).fit(kind(dense), y)
    assert model.coef_.dtype == dtype
    reference = SparseRegressor(random_state=0, max_iter=5).fit(dense, y)
    np.testing.assert_array_equal(model.coef_, reference.coef_)
    np.testing.assert_allclose(model.predict(kind(dense)), reference.predict(dense), rtol=1e-4)


def test_repeated_columns_of_a_sparse_row_are_added_and_the_input_is_left_alone():
    X = csr_array((np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    model = SparseRegressor(random_state=0, max_iter=5).fit(X, [1.0, 2.0])
    assert X.nnz == 3
    same = SparseRegressor(random_state=0, max_iter=5).fit(np.array([[0.0, 3.0], [4.0, 0.0]]), [1.0, 2.0])
    np.testing.assert_array_equal(model.coef_, same.coef_)


def test_partial_fit_goes_on_where_it_was():
    X, y = separate_rows(n=600)
    model = SparseRegressor(random_state=0, fit_intercept=False, method="svrg", step_size=0.05)
    errors = []
    for _ in range(4):
        model.partial_fit(X, y)
        errors.append(np.mean((model.predict(X) - y) ** 2))
    assert errors == sorted(errors, reverse=True)
    at_once = SparseRegressor(
        random_state=0, fit_intercept=False, method="svrg", step_size=0.05, max_iter=4, tol=None
    ).fit(X, y)
    np.testing.assert_array_equal(model.coef_, at_once.coef_)


def test_partial_fit_of_a_classifier_wants_all_classes_first():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        SparseClassifier().partial_fit(X, y)
    model = SparseClassifier(random_state=0).partial_fit(X[:60], y[:60], classes=[0, 1, 2])
    assert model.partial_fit(X[90:], y[90:]).coef_.shape == (3, 4)
    with pytest.raises(ValueError, match=r"y must hold only the classes .* got 7"):
        model.partial_fit(X[:3], [0, 1, 7])


def test_warm_start_needs_fewer_epochs():
    X, y = separate_rows(n=1_000)
    model = SparseRegressor(random_state=0, warm_start=True, alpha=0.1, tol=1e-6, max_iter=500).fit(X, y)
    first = model.n_iter_
    assert model.fit(X, y).n_iter_ < first


def test_early_stopping_watches_rows_that_were_held_out():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 60)), rng.standard_normal(80)  # noise: what is learned does not carry over
    model = SparseRegressor(early_stopping=True, tol=1e-3, alpha=0.0, max_iter=500, random_state=0).fit(X, y)
    assert model.outcome_ == "converged"
    assert len(model.validation_loss_) == model.n_iter_ < 100
    assert model.validation_loss_[-1] > (1 - 1e-3) * min(model.validation_loss_[:-1])


def test_average_is_the_mean_of_the_second_half():
    X, y = separate_rows(n=500)
    options = {"method": "sgd", "fit_intercept": False, "random_state": 0, "tol": None, "step_size": 0.1}
    ends = [SparseRegressor(max_iter=n, **options).fit(X, y).coef_ for n in (3, 4)]
    averaged = SparseRegressor(max_iter=4, average=True, **options).fit(X, y)
    np.testing.assert_allclose(averaged.coef_, (ends[0] + ends[1]) / 2, rtol=1e-12)


def test_class_weights_are_sample_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X = MaxAbsScaler().fit_transform(X)
    options = {"random_state": 0, "max_iter": 5}
    by_class = SparseClassifier(class_weight={0: 3.0, 1: 1.0}, **options).fit(X, y)
    by_row = SparseClassifier(**options).fit(X, y, sample_weight=np.where(y == 0, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)


def test_loss_of_ones_own_is_minimized():
    X, y = separate_rows(n=500)
    own = Loss(_log_cosh, _log_cosh_slope, 1.0)
    model = SparseRegressor(own, random_state=0, alpha=0.0, fit_intercept=False, max_iter=300, tol=None).fit(X, y)
    assert model.objective_ == []
    assert np.mean(_log_cosh(model.predict(X), y)) < 1e-3 * np.mean(_log_cosh(0.0, y))


def _log_cosh(prediction, target):
    error = abs(prediction - target)
    return error + np.log1p(np.exp(-2.0 * error)) - np.log(2.0)


def _log_cosh_slope(prediction, target):
    return np.tanh(prediction - target)


def test_search_and_pickle_work():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(SparseClassifier(random_state=0, max_iter=20), {"alpha": [1e-4, 1e-1]}, cv=2).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_divergence_is_named_with_its_step_size():
    X, y = separate_rows(n=300)
    with pytest.warns(ConvergenceWarning, match="step_size=1000"):
        model = SparseRegressor(step_size=1000.0, alpha=0.0, random_state=0).fit(X, y)
    assert model.outcome_ == "diverged"


@pytest.mark.parametrize("schedule", ["conflict_free", "merged"])
def test_interrupted_fit_is_usable_and_stays_interrupted(schedule):
    def interrupt(epoch, objective, seconds):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    X, y = separate_rows(n=300)
    model = SparseRegressor(schedule=schedule, callback=interrupt, random_state=0, tol=None)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert (model.outcome_, model.n_iter_) == ("interrupted", 2)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hing"}, "loss must be 'logistic', 'hinge', 'squared_hinge', or a Loss; got 'hing'"),
        ({"method": "adam"}, "method must be 'sgd', 'svrg', 'saga'; got 'adam'"),
        ({"alpha": -1.0}, "alpha must be a finite number, 0 or more; got -1.0"),
        ({"l1_ratio": 2.0}, "l1_ratio must be between 0 and 1; got 2.0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be between 0 and 1; got 1.0"),
        ({"step_size": 20.0, "alpha": 1.0}, r"step_size \* alpha must be below 1"),
        ({"step_size": -1.0}, "step_size must be a finite number above 0"),
    ],
)
def test_bad_options_are_named(options, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        SparseClassifier(**options).fit(X, y)
