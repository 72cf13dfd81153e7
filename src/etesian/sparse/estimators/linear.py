"""What SparseClassifier and SparseRegressor share: from checked rows and targets to fitted coefficients."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted, validate_data

from etesian.sparse.driver import Monitor, Result, minimize
from etesian.sparse.estimators.minimizer import Minimizer
from etesian.sparse.methods import SGD
from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.losses import CLASSIFICATION, Loss

Method = Literal["sgd", "svrg", "saga"]
METHODS: tuple[Method, ...] = ("sgd", "svrg", "saga")
_STEPS_PER_SMOOTHNESS = {"sgd": 1 / 2, "svrg": 1 / 4, "saga": 1 / 3}


class SparseLinear(Minimizer):
    """What the two linear estimators share; see `SparseClassifier` for the parameters."""

    _losses: dict[str, Loss]
    _coef: NDArray[Any]
    _intercept: NDArray[Any]

    loss: str | Loss
    method: Method
    alpha: float
    l1_ratio: float
    fit_intercept: bool
    step_size: float | Literal["auto"]  # type: ignore[assignment]
    inverse_scaling: float | Literal["auto"]
    average: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool

    def _check_parameters(self) -> Loss:
        if self.method not in METHODS:
            raise ValueError(f"method must be {', '.join(map(repr, METHODS))}; got {self.method!r}")
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number, 0 or more; got {self.alpha}")
        if not 0 <= self.l1_ratio <= 1:
            raise ValueError(f"l1_ratio must be between 0 and 1; got {self.l1_ratio}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1; got {self.validation_fraction}")
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
        """Fit coefficients of shape (n_features, n_outputs), from the last ones if `start`."""
        loss = self._check_parameters()
        rows = as_rows(X)
        kept, monitor = np.arange(len(target)), None
        if self.early_stopping and max_iter is None:
            kept, held_out = self._split(target, n_outputs)
            monitor = _held_out_loss(rows[held_out], target[held_out], weight[held_out], loss)
        problem = Linear(
            rows[kept] if len(kept) < len(target) else rows,
            target[kept],
            loss,
            reduction=None if self.method == "sgd" else self.method,
            weight=weight[kept],
            ridge=self.alpha * (1 - self.l1_ratio),
            lasso=self.alpha * self.l1_ratio,
            fit_intercept=self.fit_intercept,
            n_outputs=n_outputs,
            initial=(self._coef, self._intercept) if start else None,
        )
        result = self._solve(problem, monitor, max_iter)
        state: Any = result.variables
        self._coef, self._intercept = state.coef, state.intercept
        self._publish(state.coef, state.intercept)
        if monitor is not None:
            self.validation_loss_ = result.monitored
        return self._finish(result)

    def _solve(self, problem: Linear, monitor: Monitor | None, max_iter: int | None) -> Result:
        return minimize(
            problem,
            method=self._step_rule(problem),
            schedule=self.schedule,
            n_jobs=self.n_jobs,
            max_iter=max_iter or self.max_iter,
            tol=self.tol if max_iter is None else None,
            patience=self.n_iter_no_change,
            monitor=monitor,
            average=self.average,
            random_state=self.random_state,
            order=self.order,
            callback=self.callback,
            verbose=self.verbose,
        )

    def _step_rule(self, problem: Linear) -> SGD:
        """Return the step sizes; "auto" is a fixed share of 1 / L, with L the smoothness of the roughest row."""
        size, power = self.step_size, self.inverse_scaling
        if size == "auto":
            size = _STEPS_PER_SMOOTHNESS[self.method] / max(problem.smoothness(), np.finfo(float).tiny)
        if power == "auto":
            power = 0.5 if self.method == "sgd" else 0.0
        rule = SGD(size, self.step_decay, power)
        if size * problem.ridge >= 1:
            raise ValueError(
                f"step_size * alpha must be below 1; got {size} * {problem.ridge}: use a smaller step_size"
            )
        self.step_size_ = size
        return rule

    def _split(self, target: NDArray[np.float64], n_outputs: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        classes = target if self._losses is CLASSIFICATION else None
        return train_test_split(
            np.arange(len(target)), test_size=self.validation_fraction, random_state=seed, stratify=classes
        )

    def _publish(self, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        """Set the public attributes."""
        raise NotImplementedError

    def _predict_linear(self, X: Any) -> NDArray[np.floating]:
        """Predictions of shape (n_rows, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self._coef + self._intercept


def as_rows(X: Any) -> csr_array:
    """Return a CSR array with sorted columns that do not repeat; what was given is left alone."""
    rows = csr_array(X, copy=issparse(X))
    rows.sum_duplicates()
    return rows


def _held_out_loss(X: csr_array, target: NDArray[np.float64], weight: NDArray[np.float64], loss: Loss) -> Monitor:
    value = np.vectorize(loss.value, otypes=[np.float64])

    def monitor(variables: Any) -> float:
        predicted = X @ variables.coef + variables.intercept
        n_outputs = predicted.shape[1]
        aims = target[:, None] if n_outputs == 1 else np.where(target[:, None] == np.arange(n_outputs), 1.0, -1.0)
        return float(np.average(value(predicted, aims).sum(axis=1), weights=weight))

    return monitor
