"""Linear problems on sparse rows: mean loss of predictions, ridge and L1 penalties, an intercept kept out of the plan."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems import linear_updates as updates
from etesian.sparse.problems.linear_updates import Rows, State
from etesian.sparse.problems.losses import Loss
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.schedules.makers import Plan

Reduction = Literal["svrg", "saga"]


@dataclass(eq=False)
class Linear:
    """Mean over rows of weight * loss(<x, w> + b, target), plus ridge / 2 |w|^2 + lasso |w|_1.

    The objective of scikit-learn's linear models, with ridge = alpha (1 - l1_ratio) and lasso = alpha l1_ratio. Dense terms
    (the penalties, SVRG's full gradient, SAGA's mean gradient) are lazy, see `linear_updates`. Every update reads the intercept,
    so it would join all updates into one component: it is kept out of the plan and solved for between epochs.

    Parameters
    ----------
    X : CSR array of shape (n_rows, n_features)
        With sorted columns that do not repeat; float32 or float64, which the coefficients share.
    target : array of shape (n_rows,)
        Real; -1 and 1; or, with several outputs, the number of the class from 0, each output telling one class from the rest.
    loss
        Of a prediction.
    reduction
        None for plain stochastic gradients, ``"svrg"`` (Johnson and Zhang 2013, a full gradient an epoch) or ``"saga"``
        (Defazio et al. 2014).
    weight : array of shape (n_rows,), optional
        Of each row, not negative; scaled to 1 on average.
    ridge, lasso
        Penalties, 0 or more.
    fit_intercept
        Whether there is an intercept b, which is not penalized.
    n_outputs
        1, or the number of classes.
    pull : array of shape (n_features,), optional
        Adds - <pull, w> to the objective; needs a reduction.
    initial : pair of arrays of shapes (n_features, n_outputs) and (n_outputs,), optional
        Coefficients and intercept to start from, 0 otherwise.
    """

    X: csr_array
    target: NDArray[Any]
    loss: Loss
    _: KW_ONLY
    reduction: Reduction | None = None
    weight: NDArray[Any] | None = None
    ridge: float = 0.0
    lasso: float = 0.0
    fit_intercept: bool = False
    n_outputs: int = 1
    pull: NDArray[Any] | None = None
    initial: tuple[NDArray[Any], NDArray[Any]] | None = None

    settles: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True
    update_range = staticmethod(updates.update_rows)
    spread_range = staticmethod(updates.spread_copies)
    merge_range = staticmethod(updates.merge_copies)

    def __post_init__(self) -> None:
        self.touches = self.X
        n_rows, n_features = self.X.shape
        weight = np.ones(n_rows) if self.weight is None else np.asarray(self.weight, np.float64)
        self._weight: NDArray[np.float64] = weight * (n_rows / weight.sum())
        self.target = np.asarray(self.target, np.float64)
        self._value, self._derivative = self.loss.compiled()
        self._steepest = self.loss.curvature if np.isfinite(self.loss.curvature) else 1.0
        self._predicted = np.zeros((n_rows, self.n_outputs))
        if self.reduction is not None:
            columns = self.X.tocsc()
            pull = np.zeros(n_features) if self.pull is None else np.asarray(self.pull, np.float64)
            self._columns: Any = (columns.indptr, columns.indices, columns.data, pull)

    def smoothness(self) -> float:
        """Return the largest Lipschitz constant of the gradient of one row's term."""
        squares = np.asarray(self.X.multiply(self.X).sum(axis=1)).ravel()
        return float(self._steepest * (self._weight * squares).max() + self.ridge)

    def start(self, rng: np.random.Generator) -> Variables:
        """Coefficients of 0, or those given; there is nothing to sample."""
        n_rows, n_features = self.X.shape
        dtype, shape = self.X.dtype, (n_features, self.n_outputs)
        coef, intercept = self.initial or (np.zeros(shape), np.zeros(self.n_outputs))
        remembered = 0 if self.reduction is None else 1
        return State(
            coef=coef.astype(dtype).reshape(shape),
            intercept=intercept.astype(dtype).reshape(self.n_outputs),
            mean_gradient=np.zeros((remembered * n_features, self.n_outputs), dtype),
            memory=np.zeros((remembered * n_rows, self.n_outputs), dtype),
            caught_up=np.zeros(n_features, np.int64),
        )

    def lay_out(self, plan: Plan) -> Rows:
        """Rows in plan order."""
        assert plan.steps is not None
        rows = self.X[plan.order]
        copies, hot_curvature, steps_of_copies = plan.copies, np.zeros(0), plan.steps
        if copies is not None:
            hot_curvature = self._curvature_of_batch(copies.hot, min(plan.batch_size, self.X.shape[0]))
            steps_of_copies = copies.steps()
        return Rows(
            rows.indptr,
            rows.indices if copies is None else copies.rename(rows.indptr, rows.indices, self.X.shape[1]),
            rows.data,
            self.target[plan.order],
            self._weight[plan.order],
            plan.steps,
            plan.order,
            float(self.ridge),
            float(self.lasso),
            self.reduction == "saga",
            self._derivative,
            self.X.shape[1],
            steps_of_copies,
            hot_curvature,
        )

    def _curvature_of_batch(self, hot: NDArray[np.int64], batch_size: int) -> NDArray[np.float64]:
        """Bound the curvature of a batch along hot features, by row sums of its absolute Gram matrix (Gershgorin); with caution."""
        features = abs(self.X[:, hot])
        weighted = self._weight * np.asarray(features.sum(axis=1)).ravel()
        return CAUTION[self.reduction] * self._steepest * batch_size * (features.T @ weighted) / len(weighted)

    def with_copies(self, variables: Variables, n_copies: int) -> tuple[Variables, Variables]:
        """Append rows to what belongs to a feature."""
        state: State = variables  # type: ignore[assignment]
        names = ("coef", "mean_gradient", "caught_up") if len(state.memory) else ("coef", "caught_up")
        longer, seen = {}, {}
        for name in names:
            array = getattr(state, name)
            longer[name] = np.concatenate([array, np.zeros((n_copies, *array.shape[1:]), array.dtype)])
            seen[name] = longer[name][: len(array)]
        return state._replace(**seen), state._replace(**longer)

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float | None:
        """Catch every coefficient up, solve for the intercept, renew SVRG's full gradient.

        The objective comes by on the way where gradients are renewed; elsewhere `objective` goes through the rows.
        """
        state: State = variables  # type: ignore[assignment]
        renews = self.reduction == "svrg" or (self.reduction == "saga" and step_size is None)
        penalty = self._catch_up(state, sum_over, step_size)
        if self.fit_intercept or renews:
            rows = (self.X.indptr, self.X.indices, self.X.data, self._predicted)
            sum_over(sums.predict_rows, self.X.shape[0], 0, rows, state)
        if self.fit_intercept:
            self._solve_intercept(state.intercept, sum_over)
        if not renews:
            return None
        looked = (self._predicted, self.target, self._weight, self._value, self._derivative)
        (losses,) = sum_over(sums.look_at_rows, self.X.shape[0], 1, looked, state)
        sum_over(sums.average_gradients, self.X.shape[1], 0, self._columns, state)
        return float(losses / self.X.shape[0]) + penalty

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the objective at coefficients that are caught up."""
        state: State = variables  # type: ignore[assignment]
        rows = (self.X.indptr, self.X.indices, self.X.data, self.target, self._weight, self._value)
        (losses,) = sum_over(sums.sum_losses, self.X.shape[0], 1, rows, state)
        return float(losses / self.X.shape[0]) + self._catch_up(state, sum_over, None)

    def _catch_up(self, state: State, sum_over: SumOver, step_size: float | None) -> float:
        """Apply what coefficients missed of the epoch that ended, if one did; return the penalties, less the pull."""
        n_rows, n_features = self.X.shape
        ended = (0, 0.0, 0.0, 0.0) if step_size is None else (n_rows, step_size, float(self.ridge), float(self.lasso))
        squares, sizes = sum_over(updates.finish_features, n_features, 2, ended, state)
        pulled = 0.0 if self.pull is None else float(self.pull @ state.coef[:, 0])
        return float(self.ridge / 2 * squares + self.lasso * sizes) - pulled

    def _solve_intercept(self, intercept: NDArray[Any], sum_over: SumOver) -> None:
        """Move the intercept to where the slopes of the losses add up to 0."""
        data = (self._predicted, self.target, self._weight, self._derivative)

        def slopes(shift: NDArray[np.float64]) -> NDArray[np.float64]:
            return sum_over(sums.sum_slopes, len(self.target), self.n_outputs, data, shift) / len(self.target)

        width = 1.0 / self._steepest
        intercept[:] = find_rising_zero(slopes, intercept.astype(np.float64), width=width, keep=SETTLED)


CAUTION: dict[Reduction | None, float] = {None: 0.5, "svrg": 0.5, "saga": 2.0}
"""What the bound of a batch's curvature is taken times, to say what share of their gains lists may add up.

At one half, a direction that attains the bound gains less than twice its distance, beyond which that would grow. SAGA's memory lags
behind by up to an epoch, so what overshoots comes back: with one half it diverged where features agree, with two it did not."""

SETTLED = 1e-3
"""What an intercept's slope keeps of what it was; the coefficients that move in the next epoch move the zero by more."""


def find_rising_zero(
    function: Any, start: NDArray[np.float64], *, width: float = 1.0, keep: float = 0.0
) -> NDArray[np.float64]:
    """Return where each of several non-decreasing functions crosses 0, by regula falsi (Illinois) from a bracket.

    The bracket reaches from `start` by `width` times the value there, then further until it holds the zero. A function that does
    not cross within a distance of about a million is left there. Values are brought to `keep` of what they were, or to rounding.
    """
    at_start = function(start)
    enough = np.maximum(keep * np.abs(at_start), 1e-13)
    near, at_near, far, at_far = start, at_start, start, at_start
    reach = -width * at_start
    while np.abs(reach).max() < 1e6 and (at_far * at_start > 0).any():
        is_short = at_far * at_start > 0
        near, at_near = np.where(is_short, far, near), np.where(is_short, at_far, at_near)
        far = np.where(is_short, start + reach, far)
        at_far, reach = function(far), 4 * reach
    is_low = at_start < 0  # the start, and with it the near end
    low, at_low = np.where(is_low, near, far), np.where(is_low, at_near, at_far)
    high, at_high = np.where(is_low, far, near), np.where(is_low, at_far, at_near)
    for _ in range(60):
        span = at_high - at_low
        share = np.where(span > 0, -at_low / np.where(span > 0, span, 1), 0.5).clip(0.0, 1.0)
        middle = low + share * (high - low)
        at_middle = function(middle)
        if ((np.abs(at_middle) <= enough) | (high - low <= 1e-13 * (1 + np.abs(low)))).all():
            return middle
        goes_low = at_middle < 0
        at_high, at_low = np.where(goes_low, at_high / 2, at_middle), np.where(goes_low, at_middle, at_low / 2)
        low, high = np.where(goes_low, middle, low), np.where(goes_low, high, middle)
    return middle
