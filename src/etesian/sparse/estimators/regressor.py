"""SparseRegressor: linear regression on sparse rows."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, validate_data

from etesian.sparse.epochs import Order, Seed
from etesian.sparse.estimators.linear import Method, SparseLinear
from etesian.sparse.problems.losses import REGRESSION, Loss
from etesian.sparse.schedules.makers import Schedule
from etesian.sparse.stopping import Callback


class SparseRegressor(RegressorMixin, SparseLinear):
    """Linear regression on sparse rows, fit in parallel with the same result as in serial.

    The objective is mean(loss) + alpha ((1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1), that of scikit-learn's
    ``Ridge(alpha=alpha * n_rows)`` and ``ElasticNet``; the intercept is not penalized.

    Parameters
    ----------
    loss
        Loss: ``"squared"`` (half the squared error), ``"huber"`` (linear beyond an error of 1), or a
        `etesian.sparse.problems.losses.Loss`.
    method, alpha, l1_ratio, fit_intercept, step_size, step_decay, inverse_scaling, average, max_iter, tol,
    early_stopping, \
validation_fraction, n_iter_no_change, warm_start, schedule, n_jobs, random_state, order, callback, verbose
        See `SparseClassifier`.

    Attributes
    ----------
    coef_ : array of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept; 0 if `fit_intercept` is False.
    n_iter_, objective_, plan_, outcome_, step_size_, validation_loss_
        See `SparseClassifier`.
    """

    _losses = REGRESSION

    def __init__(
        self,
        loss: str | Loss = "squared",
        *,
        method: Method = "saga",
        alpha: float = 1e-4,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
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
            Real targets.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row's loss, as in scikit-learn: the objective is the sum of weight * loss over the number of
            rows, plus the penalty.

        Returns
        -------
        self
            Fitted estimator.
        """
        start = self.warm_start and hasattr(self, "coef_")
        return self._fit(X, y, sample_weight, start=start, max_iter=None)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Run one epoch on these rows, starting from the current coefficients; see `fit` for the parameters."""
        return self._fit(X, y, sample_weight, start=hasattr(self, "coef_"), max_iter=1)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, start: bool, max_iter: int | None) -> Self:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True, reset=not start
        )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return self._fit_rows(X, y.astype(np.float64), weight, max_iter=max_iter, start=start)

    def _publish(self, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        self.coef_, self.intercept_ = coef[:, 0], float(intercept[0])

    def predict(self, X: Any) -> NDArray[np.floating]:
        """Predict targets, shape (n_rows,)."""
        return self._predict_linear(X)[:, 0]
