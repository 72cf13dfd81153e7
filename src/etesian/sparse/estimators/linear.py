"""Base class of SparseClassifier and SparseRegressor: from validated rows and targets to fitted coefficients."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils.validation import check_is_fitted, validate_data

from etesian.sparse.arguments import check_number, is_non_negative
from etesian.sparse.estimators.held_out import hold_out_rows
from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.methods import SGD
from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION, Loss
from etesian.sparse.problems.penalties import elastic_net

Method = Literal["sgd", "svrg", "saga"]
LARGEST = 1e150
FAR = 100.0
"""Multiple of the spread of targets beyond which their mean is subtracted."""
METHODS: tuple[Method, ...] = ("sgd", "svrg", "saga")
_STEPS_PER_SMOOTHNESS = {"sgd": 1 / 2, "svrg": 1 / 2, "saga": 1 / 3}


class SparseLinear(Minimizer):
    """Base class of the two linear estimators; see `SparseClassifier` for the parameters."""

    _losses: dict[str, Loss]
    _coef: NDArray[Any]
    _intercept: NDArray[Any]

    loss: str | Loss
    method: Method
    alpha: float
    l1_ratio: float
    fit_intercept: bool
    _has_auto_steps: ClassVar[bool] = True
    inverse_scaling: float | Literal["auto"]
    average: bool
    warm_start: bool

    def _check_parameters(self) -> Loss:
        if self.method not in METHODS:
            raise ValueError(f"method must be {', '.join(map(repr, METHODS))}; got {self.method!r}")
        check_number("alpha", self.alpha, "a finite number, 0 or more", is_non_negative)
        check_number("l1_ratio", self.l1_ratio, "between 0 and 1", lambda value: 0 <= value <= 1)
        if self.inverse_scaling != "auto":
            check_number("inverse_scaling", self.inverse_scaling, "a finite number, 0 or more", is_non_negative)
        self._check_stopping()
        if isinstance(self.loss, Loss):
            return self.loss
        if self.loss not in self._losses:
            names = ", ".join(map(repr, self._losses))
            raise ValueError(f"loss must be {names}, or a Loss; got {self.loss!r}")
        return self._losses[self.loss]

    def _fit_rows(
        self,
        X: Any,
        target: NDArray[np.float64],
        weight: NDArray[np.float64],
        *,
        n_outputs: int = 1,
        max_iter: int | None = None,
        start: bool = False,
    ) -> Self:
        """Fit coefficients of shape (n_features, n_outputs), starting from the current ones if `start`."""
        loss = self._check_parameters()
        rows = as_rows(X)
        if float(np.abs(rows.data).max(initial=0)) > LARGEST:
            raise ValueError(
                f"X must contain values up to {LARGEST:g} in absolute value, whose squares are finite; scale the columns"
            )
        means = center_full_columns(rows, weight) if self.fit_intercept else np.zeros(rows.shape[1])
        shift = far_offset(target, weight) if self.fit_intercept and loss in REGRESSION.values() else 0.0
        target = target - shift
        is_held = np.zeros(len(target), bool)
        if self.early_stopping and max_iter is None:
            is_held = self._hold_out(target)
            if not weight[is_held].any():
                raise ValueError(
                    f"early_stopping needs held-out rows with a weight above 0; got 0 for all {is_held.sum()}: leave out rows "
                    "of weight 0, or set a larger validation_fraction"
                )

        def problem(chosen: NDArray[np.bool_], **options: Any) -> Linear:
            part = rows if chosen.all() else rows[chosen]
            return Linear(part, target[chosen], loss, weight=weight[chosen], n_outputs=n_outputs, **options)

        initial = self._last_point(means, shift) if start else None
        options = self._options() | ({} if max_iter is None else {"extrapolates": False})  # of a part of the data only
        fitted = problem(~is_held, **options, initial=initial)
        result = self._minimize(
            fitted,
            held_out=problem(is_held) if is_held.any() else None,
            max_iter=self.max_iter if max_iter is None else max_iter,
            tol=self.tol if max_iter is None else None,
            average=self.average,
        )
        state: Any = result.variables
        self._coef = state.coef
        self._intercept = state.intercept - (means @ state.coef - shift).astype(state.intercept.dtype)
        self._publish(self._coef, self._intercept)
        return self._finish(result)

    def _last_point(self, means: NDArray[np.float64], shift: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the last coefficients and intercept, for columns and targets from which `means` and `shift` are subtracted."""
        intercept = self._intercept + means @ self._coef - shift
        return self._coef, intercept if self.fit_intercept else np.zeros_like(intercept)

    def _options(self) -> dict[str, Any]:
        """Return the options of `Linear`; a given step size applies to all coefficients."""
        return {
            "penalty": elastic_net(self.alpha, self.l1_ratio),
            "reduction": None if self.method == "sgd" else self.method,
            "fit_intercept": self.fit_intercept,
            "scales_steps": self.step_size == "auto",
            "extrapolates": not self.average,
        }

    def _step_rule(self, problem: Linear) -> SGD:
        """Return the step sizes; "auto" is a fixed fraction of 1 / L, with L the smoothness of the least smooth row."""
        size, power = self.step_size, self.inverse_scaling
        if size == "auto":
            size = _STEPS_PER_SMOOTHNESS[self.method] / max(problem.smoothness(), np.finfo(float).tiny)
        if power == "auto":
            power = (0.5 if self.average else 1.0) if self.method == "sgd" else 0.0
        rule = SGD(size, self.step_decay, power)
        ridge = problem.penalty.strong_convexity
        if not problem.scales_steps and size * ridge >= 1:
            raise ValueError(f"step_size * alpha must be below 1; got {size} * {ridge}: use a smaller step_size")
        self.step_size_ = size
        return rule

    def _hold_out(self, target: NDArray[np.float64]) -> NDArray[np.bool_]:
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        number, labels = np.zeros(len(target), np.intp), None
        if self._losses is CLASSIFICATION:
            number = np.unique(target, return_inverse=True)[1]
            labels = self.classes_
        return hold_out_rows(number, labels, fraction=self.validation_fraction, rng=np.random.default_rng(seed))

    def _publish(self, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        """Set the public attributes."""
        raise NotImplementedError

    def _predict_linear(self, X: Any) -> NDArray[np.floating]:
        """Return predictions of shape (n_rows, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self._coef + self._intercept


def as_rows(X: Any) -> csr_array:
    """Return a CSR array with sorted columns without duplicates; X is not modified."""
    rows = csr_array(X, copy=issparse(X))
    rows.sum_duplicates()
    return rows


def far_offset(target: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the mean of targets that differ little from it, which would cost digits of the errors; else 0."""
    if not weight.any():
        return 0.0
    mean = float(np.average(target, weights=weight))
    spread = float(np.sqrt(np.average((target - mean) ** 2, weights=weight)))
    return mean if abs(mean) > FAR * spread else 0.0


def center_full_columns(rows: csr_array, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean of each column without zeros, in place; an intercept compensates.

    A column of dates or years is nearly constant. Without centering, only its small spread distinguishes its
    coefficient from the intercept, and stochastic methods need many epochs.

    Returns
    -------
    array of shape (n_features,)
        Subtracted means; 0 for columns with zeros.
    """
    n_rows, n_features = rows.shape
    means = np.zeros(n_features)
    is_full = np.bincount(rows.indices, weights=rows.data != 0, minlength=n_features) == n_rows
    if is_full.any() and weight.any():
        means[is_full] = (rows[:, is_full].T @ weight) / weight.sum()
        rows.data -= means[rows.indices].astype(rows.dtype)
    return means
