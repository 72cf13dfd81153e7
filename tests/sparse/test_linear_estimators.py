import pickle
import re
import signal
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import SVC

from etesian.sparse import SGD, Linear, SparseClassifier, SparseRegressor, minimize
from etesian.sparse.problems.losses import REGRESSION, Loss

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
        np.testing.assert_allclose(together.coef_[number], alone.coef_[0], atol=1e-5)
        assert together.intercept_[number] == pytest.approx(alone.intercept_[0], abs=1e-5)


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


def test_partial_fit_continues_from_the_current_coefficients():
    X, y = separate_rows(n=600)
    model = SparseRegressor(random_state=0, fit_intercept=False, method="svrg", step_size=0.05)
    errors = []
    for _ in range(4):
        model.partial_fit(X, y)
        errors.append(np.mean((model.predict(X) - y) ** 2))
    assert errors == sorted(errors, reverse=True)


def test_first_partial_fit_of_a_classifier_requires_all_classes():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        SparseClassifier().partial_fit(X, y)
    model = SparseClassifier(random_state=0).partial_fit(X[:60], y[:60], classes=[0, 1, 2])
    assert model.partial_fit(X[90:], y[90:]).coef_.shape == (3, 4)
    with pytest.raises(ValueError, match=r"y must contain only the classes .* got 7"):
        model.partial_fit(X[:3], [0, 1, 7])


def test_warm_start_needs_fewer_epochs():
    X, y = separate_rows(n=1_000)
    model = SparseRegressor(random_state=0, warm_start=True, alpha=1e-4, tol=1e-6, max_iter=500).fit(X, y)
    first = model.n_iter_
    assert model.fit(X, y).n_iter_ < first


def noisy_rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 60))
    return X, X[:, 0] + 2 * rng.standard_normal(90)


def test_early_stopping_watches_rows_that_were_held_out():
    X, y = noisy_rows()
    model = SparseRegressor(early_stopping=True, tol=1e-3, alpha=1e-6, max_iter=500, random_state=0).fit(X, y)
    assert model.outcome_ == "early_stopped"
    assert len(model.validation_loss_) == model.n_iter_ < 100
    assert model.validation_loss_[-1] > (1 - 1e-3) * min(model.validation_loss_[:-1])


@pytest.mark.parametrize("method", ["sgd", "svrg", "saga"])
@pytest.mark.parametrize("make", [SparseRegressor, SparseClassifier])
def test_early_stopping_keeps_the_epoch_with_the_lowest_held_out_loss(make, method):
    X, y = noisy_rows()
    y = (
        y if make is SparseRegressor else np.where(np.arange(len(y)) % 2, y < 0, y > 0)
    )  # labels that X does not explain
    options = {"early_stopping": True, "alpha": 1e-6, "method": method, "random_state": 0}
    model = make(n_iter_no_change=5, max_iter=200, **options).fit(X, y)
    best = int(np.argmin(model.validation_loss_)) + 1
    shorter = make(n_iter_no_change=500, max_iter=best, **options).fit(X, y)
    assert best < model.n_iter_
    np.testing.assert_array_equal(model.coef_, shorter.coef_)
    assert model.intercept_ == shorter.intercept_


def test_early_stopping_without_tol_stops_when_no_epoch_improves_and_keeps_the_best():
    X, y = noisy_rows()
    options = {"early_stopping": True, "tol": None, "alpha": 1e-6, "random_state": 0}
    model = SparseRegressor(max_iter=30, n_iter_no_change=30, **options).fit(X, y)
    assert (len(model.validation_loss_), model.n_iter_, model.outcome_) == (30, 30, "max_iter")
    best = int(np.argmin(model.validation_loss_)) + 1
    shorter = SparseRegressor(max_iter=best, n_iter_no_change=30, **options).fit(X, y)
    np.testing.assert_array_equal(model.coef_, shorter.coef_)

    stopped = SparseRegressor(max_iter=30, n_iter_no_change=1, **options).fit(X, y)
    first_rise = int(np.argmax(np.diff(model.validation_loss_) >= 0)) + 2
    assert (stopped.n_iter_, stopped.outcome_) == (first_rise, "early_stopped")


def test_class_that_cannot_be_held_out_is_named():
    with pytest.raises(ValueError, match="at least 2 rows of each class, and class 7 has 1"):
        SparseClassifier(early_stopping=True).fit(np.eye(41), np.array([3] * 20 + [5] * 20 + [7]))


def test_reaching_max_iter_warns_as_scikit_learn_does():
    X, y = noisy_rows()
    with pytest.warns(
        ConvergenceWarning, match="max_iter=2 was reached before the fit converged to tol=1e-09"
    ) as caught:
        model = SparseClassifier(max_iter=2, tol=1e-9, random_state=0).fit(X, y > 0)
    assert model.outcome_ == "max_iter"
    assert caught[0].filename == __file__


def test_warning_states_the_duality_gap_that_was_reached():
    X, y = noisy_rows()
    with pytest.warns(ConvergenceWarning, match=r"converged to tol=1e-08 \(reached ") as caught:
        model = SparseClassifier("hinge", alpha=0.1, max_iter=10, tol=1e-8, random_state=0).fit(X, y > 0)
    reached = float(re.search(r"\(reached ([^)]+)\)", str(caught.pop(ConvergenceWarning).message))[1])
    machine = SVC(kernel="linear", C=1 / (0.1 * len(y)), tol=1e-9).fit(X, y > 0)

    def objective(fitted):
        loss = np.maximum(0, 1 - np.where(y > 0, 1, -1) * fitted.decision_function(X)).mean()
        return loss + 0.05 * (fitted.coef_**2).sum()

    assert objective(model) / objective(machine) - 1 <= (1.1 * reached) ** 2 + 1e-9  # an upper bound


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_column_of_ten_digit_numbers_is_fitted_or_named(share):
    X, y = noisy_rows()
    rng = np.random.default_rng(1)
    day = (1.6e9 + 1e6 * rng.random(len(y))) * (rng.random(len(y)) < share)
    unscaled = np.column_stack([X, day])
    scaled = np.column_stack([X, (day - day.mean()) / day.std()])
    peer = LogisticRegression(C=1 / (1e-2 * len(y)), tol=1e-10).fit(scaled, y > 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SparseClassifier(alpha=1e-2, random_state=0).fit(unscaled, y > 0)
    if model.outcome_ == "converged":
        np.testing.assert_allclose(model.decision_function(unscaled), peer.decision_function(scaled), atol=0.2)
    else:
        assert any("Column 60 is nearly constant" in str(each.message) for each in caught)


def test_average_is_the_mean_of_the_second_half():
    X, y = separate_rows(n=500)
    problem = Linear(X, y, REGRESSION["squared"])
    options = {"method": SGD(0.1), "schedule": "serial", "random_state": 0, "tol": None}
    ends = [minimize(problem, max_iter=n, **options).variables.coef for n in (3, 4)]
    averaged = minimize(problem, max_iter=4, average=True, **options).variables.coef
    np.testing.assert_allclose(averaged, (ends[0] + ends[1]) / 2, rtol=1e-12)
    model = SparseRegressor(method="sgd", average=True, max_iter=200, random_state=0, tol=None).fit(X, y)
    assert model.score(X, y) > 0.99


@pytest.mark.parametrize("of_rows", [None, np.arange(200) % 7])
@pytest.mark.parametrize("weight", [{0: 1.0, 1: 5.0}, "balanced", None])
def test_class_weights_agree_with_scikit_learn(weight, of_rows):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = (X[:, 0] + rng.standard_normal(200) > 0.8).astype(int)
    if of_rows is not None:
        of_rows = of_rows + 3.0 * y
    model = SparseClassifier(alpha=0.1, class_weight=weight, random_state=0).fit(X, y, of_rows)
    peer = LogisticRegression(C=1 / (0.1 * 200), class_weight=weight, tol=1e-10).fit(X, y, of_rows)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-3)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-3)


def test_sample_weights_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    X, y, weight = rng.standard_normal((200, 3)), rng.standard_normal(200), 3 * rng.random(200)
    model = SparseRegressor(alpha=0.1, random_state=0).fit(X, y, sample_weight=weight)
    peer = Ridge(alpha=0.1 * 200).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)
    assert model.intercept_ == pytest.approx(peer.intercept_, abs=1e-4)


def test_class_weights_are_sample_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X = MaxAbsScaler().fit_transform(X)
    options = {"random_state": 0, "max_iter": 5}
    by_class = SparseClassifier(class_weight={0: 3.0, 1: 1.0}, **options).fit(X, y)
    by_row = SparseClassifier(**options).fit(X, y, sample_weight=np.where(y == 0, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)


def test_custom_loss_is_minimized():
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


@pytest.mark.parametrize("estimator", [SparseRegressor, SparseClassifier])
def test_a_warm_start_without_intercept_has_none(estimator):
    X = np.random.default_rng(0).normal(size=(80, 3))
    y = X[:, 0] + 7 if estimator is SparseRegressor else np.r_[np.zeros(70), np.ones(10)]
    model = estimator(warm_start=True, random_state=0).fit(X, y).set_params(fit_intercept=False).fit(X, y)
    assert np.all(model.intercept_ == 0)
    cold = estimator(random_state=0, fit_intercept=False).fit(X, y)
    assert model.coef_ == pytest.approx(cold.coef_, abs=1e-3)
    assert np.all(model.partial_fit(X, y).intercept_ == 0)


@pytest.mark.parametrize("weights", [{0: -1, 1: 1}, {0: np.nan, 1: 1}, {0: 0, 1: 0}])
def test_class_weights_that_give_no_minimum_are_refused(weights):
    X, y = np.eye(4), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="class_weight must"):
        SparseClassifier(class_weight=weights).fit(X, y)


def test_balanced_batches_may_lack_a_class():
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = SparseClassifier(class_weight="balanced", random_state=0)
    model.partial_fit(X, np.r_[np.zeros(10), np.ones(10)], classes=[0, 1])
    assert model.partial_fit(X, np.zeros(20)).coef_.shape == (1, 3)


def test_numbers_whose_squares_overflow_are_refused():
    with pytest.raises(ValueError, match="squares are finite"):
        SparseRegressor().fit([[1e155], [2e155]], [1, 2])


def test_held_out_rows_must_have_weight():
    X, y = np.random.default_rng(0).normal(size=(80, 2)), np.tile([0, 1], 40)
    with pytest.raises(ValueError, match="held-out rows with a weight above 0"):
        SparseClassifier(early_stopping=True, random_state=0).fit(X, y, np.r_[np.zeros(79), 1])


def test_a_warm_start_with_other_columns_is_refused():
    model = SparseClassifier(warm_start=True).fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="X has 3 features; the fit that warm_start continues had 4"):
        model.fit(np.eye(4)[:, :3], [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", "x"), ("alpha", None), ("alpha", [1]), ("l1_ratio", "a"), ("step_size", None), ("step_size", "x"), ("step_decay", 2),
     ("step_decay", "x"), ("inverse_scaling", "x"), ("validation_fraction", "x"), ("callback", 5), ("random_state", -1),
     ("random_state", "a"), ("random_state", 0.5), ("alpha", np.inf), ("step_size", 0.0)],
)  # fmt: skip
def test_a_wrong_parameter_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        SparseRegressor(**{name: value}).fit(np.eye(4), [1, 2, 3, 4])
