"""SparseClassifier: linear classification of sparse rows."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from etesian.sparse.epochs import Order, Seed
from etesian.sparse.estimators.linear import Method, SparseLinear
from etesian.sparse.problems.losses import CLASSIFICATION, Loss
from etesian.sparse.schedules.makers import Schedule
from etesian.sparse.stopping import Callback


def _is_logistic(estimator: Any) -> bool:
    return bool(estimator.loss == "logistic")


class SparseClassifier(ClassifierMixin, SparseLinear):
    """Linear classification of sparse rows, fit in parallel with the same result as in serial.

    The objective is mean(loss) + alpha ((1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1), that of scikit-learn's
    ``LogisticRegression(C=1 / (alpha * n_rows))``; the intercept is not penalized. Multiclass problems are fit
    one-vs-rest, all classes in one pass.

    After each epoch, the objective is minimized exactly over the intercept and the last two moves, so it never rises for
    a smooth loss. For saga and svrg, Newton steps follow, before the first epoch as well, while they gain more in their
    time than epochs usually do, or take no longer than the epochs so far. Their linear systems are solved exactly, or by
    conjugate gradients where that is faster (Nocedal and Wright 2006, sections 7.1 and 10.3). For sgd, an inexact Newton
    step is added to the moves, since its epochs alone approach the optimum slowly; such an epoch takes up to 30 more
    passes over the rows. A nonsmooth loss (hinge) is smoothed around
    multipliers that are renewed between epochs, so that the fit converges to the optimum of the loss itself (Rockafellar
    1976, section 4). Up to 10 Newton steps between epochs minimize the smoothed objective. Their linear systems have an
    equation for each row at a kink of the loss, or for each coefficient that is not 0, and are solved exactly up to 2,000
    equations.

    Parameters
    ----------
    loss
        Loss: ``"logistic"``, ``"hinge"``, ``"squared_hinge"``, or a `etesian.sparse.problems.losses.Loss`.
    method
        Optimization method: ``"saga"`` (Defazio et al. 2014, section 2), ``"svrg"`` (Johnson and Zhang 2013, section 2)
        or ``"sgd"``.
    alpha
        Weight of the penalty, 0 or more.
    l1_ratio
        Fraction of the L1 penalty, between 0 (ridge) and 1 (lasso).
    fit_intercept
        If True, fit an intercept, which is solved for between epochs.
    class_weight
        Weights of the classes: None, ``"balanced"`` for equal sums of sample weights, or in Python a dictionary.
    step_size
        Step size of the first epoch, for all coefficients. With ``"auto"`` each coefficient has a step size of its own,
        independent of the units of its column: 1/3 (saga) or 1/2 (svrg, sgd) of the reciprocal of the smoothness of the
        least smooth row.
    step_decay
        Factor of the step size from each epoch to the next, above 0 and at most 1.
    inverse_scaling
        Exponent of inverse scaling: epoch t, counted from 0, divides the step size by ``(t + 1) ** inverse_scaling``.
        ``"auto"`` is 0 for saga and svrg, and 1 for sgd (0.5 with `average`).
    average
        If True, return the mean of the coefficients over the second half of the epochs.
    max_iter
        Maximum number of epochs.
    tol
        Tolerance of the stopping criterion. A fit has converged when the length of a proximal gradient step, in
        variables scaled to curvature 1, is at most `tol` times the square root of twice the objective. At the default,
        objectives are about 1e-7 (relative) above their minimum. scikit-learn's ``saga`` compares the largest change of
        a coefficient in an epoch with the largest coefficient, which a slow method passes far from the optimum;
        ``lbfgs`` compares the largest partial derivative of the loss with ``tol``, which depends on the units of the
        columns. With a nonsmooth loss (hinge), a fit has converged when the duality gap, an upper bound of the distance
        to the minimum, is at most ``tol**2`` times the objective; it needs `alpha` above 0. scikit-learn's ``LinearSVC``
        compares the largest violation of a dual constraint with ``tol``. For hinge,
        the default, a relative gap of 1e-8, mostly takes 5 to 20 epochs; with several classes or degenerate data,
        rounding errors can keep the gap above it, and ``tol=1e-3``, a gap of 1e-6, is reached. A fit that reaches
        `max_iter` before warns with the value reached, as scikit-learn does. None runs `max_iter` epochs.
    early_stopping
        If True, hold out rows and monitor their loss in place of the objective. The coefficients are those of the
        epoch with the lowest held-out loss. scikit-learn's ``SGDClassifier`` stops only if ``tol`` is not None.
    validation_fraction
        Fraction of the rows of each class to hold out.
    n_iter_no_change
        Number of consecutive epochs without an improvement of the held-out loss by the fraction `tol` of itself (any
        improvement if `tol` is None) after which to stop; for `early_stopping`.
    warm_start
        True if `fit` starts from the last coefficients.
    schedule, n_jobs, random_state, order, callback, verbose
        See `etesian.sparse.driver.minimize`.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Class labels.
    coef_ : array of shape (1, n_features) or (n_classes, n_features)
        Coefficients.
    intercept_ : array of shape (1,) or (n_classes,)
        Intercepts; 0 if `fit_intercept` is False.
    n_iter_, objective_, plan_
        Number of epochs, objective after each epoch (empty if `tol` is None and there is no callback), and last plan.
    outcome_ : str
        ``"converged"``, ``"max_iter"``, ``"early_stopped"``, ``"no_progress"``, ``"stopped"``, ``"diverged"`` or
        ``"interrupted"``; see `etesian.sparse.driver.Result`.
    step_size_
        Step size of the first epoch; with ``"auto"``, relative to the largest stable step size of each coefficient.
    validation_loss_
        Loss on the held-out rows after each epoch; empty without `early_stopping`.
    """

    _losses = CLASSIFICATION
    classes_: NDArray[Any]

    def __init__(
        self,
        loss: str | Loss = "logistic",
        *,
        method: Method = "saga",
        alpha: float = 1e-4,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: dict | Literal["balanced"] | None = None,
        step_size: float | Literal["auto"] = "auto",
        step_decay: float = 1.0,
        inverse_scaling: float | Literal["auto"] = "auto",
        average: bool = False,
        max_iter: int = 100,
        tol: float | None = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 1,
        warm_start: bool = False,
        schedule: Schedule = "conflict_free",
        n_jobs: int | None = -1,
        random_state: Seed = None,
        order: Order = "each_epoch",
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> None:
        self.loss = loss
        self.method = method
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.step_size = step_size
        self.step_decay = step_decay
        self.inverse_scaling = inverse_scaling
        self.average = average
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.schedule = schedule
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.order = order
        self.callback = callback
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
            Training rows. float32 rows give float32 coefficients, all others float64.
        y : array of shape (n_rows,)
            Labels of at least two classes.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row's loss, as in scikit-learn: the objective is the sum of weight * loss over the number of
            rows, plus the penalty.

        Returns
        -------
        self
            Fitted estimator.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32])
        check_classification_targets(y)
        start = self.warm_start and hasattr(self, "classes_") and np.array_equal(np.unique(y), self.classes_)
        if start and X.shape[1] != len(self._coef):
            raise ValueError(
                f"X has {X.shape[1]} features; the fit that warm_start continues had {len(self._coef)}: set warm_start=False"
            )
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y must contain at least two classes; got only one class: {self.classes_.tolist()[0]!r}")
        return self._fit_classes(X, y, sample_weight, start=start, max_iter=None)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Run one epoch on these rows, starting from the current coefficients.

        Parameters
        ----------
        X, y, sample_weight
            See `fit`.
        classes
            Labels of all calls; required in the first call.
        """
        start = hasattr(self, "classes_")
        if not start and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], reset=not start)
        check_classification_targets(y)
        if not start:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}; got {np.unique(classes)}")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y must contain only the classes {self.classes_}; got {unknown.tolist()[0]!r}")
        return self._fit_classes(X, y, sample_weight, start=start, max_iter=1)

    def _fit_classes(self, X: Any, y: Any, sample_weight: Any, *, start: bool, max_iter: int | None) -> Self:
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        number = np.searchsorted(self.classes_, y)
        if self.class_weight == "balanced":  # by the sums of sample weights
            totals = np.bincount(number, weights=weight, minlength=len(self.classes_))
            of_class = np.divide(totals.sum() / len(totals), totals, out=np.zeros_like(totals), where=totals > 0)
        else:
            of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        wrong = np.flatnonzero(~(np.isfinite(of_class) & (of_class >= 0)))
        if len(wrong):
            place = int(wrong[0])
            raise ValueError(
                f"class_weight must be finite numbers, 0 or more; got {of_class[place]} for class {self.classes_.tolist()[place]!r}"
            )
        if not of_class[number].any():
            raise ValueError("class_weight must not be 0 for all classes that occur")
        is_binary = len(self.classes_) == 2
        target = 2.0 * number - 1.0 if is_binary else number.astype(np.float64)
        n_outputs = 1 if is_binary else len(self.classes_)
        return self._fit_rows(X, target, weight * of_class[number], n_outputs=n_outputs, max_iter=max_iter, start=start)

    def _publish(self, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        self.coef_, self.intercept_ = coef.T.copy(), intercept.copy()

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Return <x, w> + b: shape (n_rows,) for two classes (above 0 means the second), else (n_rows, n_classes)."""
        values = self._predict_linear(X)
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict labels, shape (n_rows,)."""
        values = self.decision_function(X)
        return self.classes_[(values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)]

    @available_if(_is_logistic)
    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Predict probabilities, shape (n_rows, n_classes); logistic loss only. Multiclass probabilities are normalized."""
        one = expit(self.decision_function(X))
        if one.ndim == 1:
            return np.stack([1 - one, one], axis=1)
        total = one.sum(axis=1, keepdims=True)
        return np.divide(one, total, out=np.full_like(one, 1 / one.shape[1]), where=total > 0)
