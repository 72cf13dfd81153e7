"""Linear problems on sparse rows: a mean loss of predictions, a penalty, and an intercept that is excluded from the plan."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.problems import linear_merging as merging
from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems import linear_updates as updates
from etesian.sparse.problems.extrapolation import Extrapolation
from etesian.sparse.problems.intercept import SETTLED, find_rising_zero
from etesian.sparse.problems.linear_multipliers import renew_multipliers
from etesian.sparse.problems.linear_subspace import extrapolate, newton_step
from etesian.sparse.problems.linear_updates import Rows, State
from etesian.sparse.problems.losses import Loss
from etesian.sparse.problems.newton_steps import NewtonSteps
from etesian.sparse.problems.penalties import L2, Penalty
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.problems.smoothing import Curve, Multipliers, natural_scale
from etesian.sparse.problems.step_sizes import coefficient_scales, scale_advice
from etesian.sparse.schedules.makers import Plan

Reduction = Literal["svrg", "saga"]


@dataclass(eq=False)
class Linear:
    """Minimize the mean over rows of weight * loss(<x, w> + b, target), plus a penalty on w.

    The objective is that of scikit-learn's linear models. Dense terms (the penalty, SVRG's full gradient, SAGA's mean
    gradient) are applied lazily, see `linear_updates`. Every update reads the intercept, which would connect all
    updates. The intercept is therefore excluded from the plan and solved for between epochs. A nonsmooth loss (hinge) is
    smoothed around multipliers that are renewed between epochs, which keeps its optimum, see `smoothing`.

    Parameters
    ----------
    X : CSR array of shape (n_rows, n_features)
        Rows with sorted columns without duplicates, float32 or float64. Coefficients have the same type.
    target : array of shape (n_rows,)
        Real targets, or labels -1 and 1, or with several outputs class numbers from 0, which are fit one-vs-rest.
    loss
        Loss of a prediction.
    penalty
        `L2`, `L1`, `ElasticNet` or another registered `Penalty`. Default: none.
    reduction
        Variance reduction: None for plain stochastic gradients, ``"svrg"`` (Johnson and Zhang 2013, section 2, with one
        full gradient per epoch) or ``"saga"`` (Defazio et al. 2014, section 2).
    weight : array of shape (n_rows,), optional
        Weight of each row's loss, 0 or more. Default: 1.
    fit_intercept
        If True, fit an intercept b, which is not penalized.
    n_outputs
        Number of outputs: 1, or the number of classes.
    scales_steps
        True if each coefficient has a step size of its own, see `coefficient_scales`; a step size of 1 is then the
        reciprocal of the smoothness of the least smooth row, whatever the units of the columns.
    extrapolates
        If True, minimize over a small subspace after each epoch, see `extrapolation`; with a reduction and a smooth loss, also
        take Newton steps, see `newton_steps`.
    pull : array of shape (n_features,), optional
        Vector that adds - <pull, w> to the objective; requires a reduction.
    initial : pair of arrays of shapes (n_features, n_outputs) and (n_outputs,), optional
        Coefficients and intercept to start from. Default: 0.
    """

    X: csr_array
    target: NDArray[Any]
    loss: Loss
    penalty: Penalty = L2(0.0)  # noqa: RUF009  a tuple
    _: KW_ONLY
    reduction: Reduction | None = None
    weight: NDArray[Any] | None = None
    fit_intercept: bool = False
    n_outputs: int = 1
    scales_steps: bool = False
    extrapolates: bool = False
    pull: NDArray[Any] | None = None
    initial: tuple[NDArray[Any], NDArray[Any]] | None = None

    settles: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True
    update_range = staticmethod(updates.update_rows)
    spread_range = staticmethod(merging.spread_copies)
    merge_range = staticmethod(merging.merge_copies)

    def __post_init__(self) -> None:
        self.touches = self.X
        n_rows = self.X.shape[0]
        kind: Any = type(self.penalty)
        self.penalty = kind(*map(float, self.penalty))
        self._weight: NDArray[np.float64] = (
            np.ones(n_rows) if self.weight is None else np.asarray(self.weight, np.float64)
        )
        self.target = np.asarray(self.target, np.float64)
        self._value, derivative = self.loss.compiled()
        self._is_smooth, self._steepest = bool(np.isfinite(self.loss.curvature)), self.loss.curvature
        self._constant = 0.0
        if not self._is_smooth:
            has_labels = self.n_outputs > 1 or bool(np.isin(self.target, (-1.0, 1.0)).all())
            self._constant, self._steepest = natural_scale(
                self.loss.value, self.loss.derivative, self.target, has_labels=has_labels
            )
            self._first_curvature = self._steepest
        self._curve = Curve(
            self._value,
            derivative,
            np.array([np.inf if self._is_smooth else self._steepest]),
            np.zeros((0 if self._is_smooth else n_rows, self.n_outputs)),
        )
        self._predicted = np.zeros((n_rows, self.n_outputs))
        self._scale = np.zeros(0)
        if self.scales_steps:
            self._scale = self._scales()
        self._extrapolation: Extrapolation | None = None
        self._multipliers: Multipliers | None = None
        self._newton_steps = NewtonSteps()

    @cached_property
    def _columns(self) -> tuple[NDArray[Any], ...]:
        """Return the matrix in CSC form, and the pull."""
        columns: Any = self.X.tocsc()
        pull = np.zeros(self.X.shape[1]) if self.pull is None else np.asarray(self.pull, np.float64)
        return columns.indptr, columns.indices, columns.data, pull

    @cached_property
    def _steps(self) -> NDArray[np.float64]:
        """Return the reciprocal of a bound on the curvature of each coefficient; 0 where the bound is 0."""
        starts, rows, values, _ = self._columns
        has_rows, squares = np.diff(starts) > 0, np.zeros(self.X.shape[1])
        weighted = np.square(values, dtype=np.float64) * self._weight[rows]
        squares[has_rows] = np.add.reduceat(weighted, starts[:-1][has_rows]) if len(values) else 0.0
        curvature = self._steepest * squares / self.X.shape[0] + self.penalty.strong_convexity
        return np.divide(1.0, curvature, out=np.zeros_like(curvature), where=curvature > 0)

    def smoothness(self) -> float:
        """Return the largest Lipschitz constant of the gradient of one row's term; at most 1 with `scales_steps`."""
        if self.scales_steps:
            return 1.0
        squares = np.asarray(self.X.multiply(self.X).sum(axis=1)).ravel()
        return float(self._steepest * (self._weight * squares).max() + self.penalty.strong_convexity)

    def start(self, rng: np.random.Generator) -> Variables:
        """Return the initial coefficients: 0, or those given."""
        n_rows, n_features = self.X.shape
        dtype, shape = self.X.dtype, (n_features, self.n_outputs)
        constant = self._constant if self.fit_intercept else 0.0
        coef, intercept = self.initial or (np.zeros(shape), np.full(self.n_outputs, constant))
        remembered = 0 if self.reduction is None else 1
        self._extrapolation, self._multipliers, self._newton_steps = None, None, NewtonSteps()
        self._curve.multiplier[:] = 0.0
        if not self._is_smooth:
            self._stiffen(self._first_curvature)
        return State(
            coef=coef.astype(dtype).reshape(shape),
            intercept=intercept.astype(dtype).reshape(self.n_outputs),
            mean_gradient=np.zeros((remembered * n_features, self.n_outputs), dtype),
            memory=np.zeros((remembered * n_rows, self.n_outputs), dtype),
            caught_up=np.zeros(n_features, np.int64),
        )

    def lay_out(self, plan: Plan) -> Rows:
        """Copy rows into plan order."""
        assert plan.steps is not None
        rows = self.X[plan.order]
        copies, hot_curvature, steps_of_copies, scale = plan.copies, np.zeros(0), plan.steps, self._scale
        if copies is not None:
            hot_curvature = self._curvature_of_batch(copies.hot, min(plan.batch_size, self.X.shape[0]))
            steps_of_copies = copies.steps()
            if len(scale):
                hot_curvature = hot_curvature * scale[copies.hot]
                scale = np.concatenate([scale, np.tile(scale[copies.hot], copies.n_lists)])
        return Rows(
            rows.indptr,
            rows.indices if copies is None else copies.rename(rows.indptr, rows.indices, self.X.shape[1]),
            rows.data,
            self.target[plan.order],
            self._weight[plan.order],
            plan.steps,
            plan.order,
            self.penalty,
            scale,
            self.reduction == "saga",
            self._curve,
            self.X.shape[1],
            steps_of_copies,
            hot_curvature,
            plan.n_workers > 1,
        )

    def _curvature_of_batch(self, hot: NDArray[np.int64], batch_size: int) -> NDArray[np.float64]:
        """Bound the curvature of a batch along hot features (Gershgorin), times the factor in `CAUTION`."""
        features = abs(self.X[:, hot])
        weighted = self._weight * np.asarray(features.sum(axis=1)).ravel()
        return CAUTION[self.reduction] * self._steepest * batch_size * (features.T @ weighted) / len(weighted)

    def with_copies(self, variables: Variables, n_copies: int) -> tuple[Variables, Variables]:
        """Append rows for copies to the arrays of features."""
        state: State = variables  # type: ignore[assignment]
        names = ("coef", "mean_gradient", "caught_up") if len(state.memory) else ("coef", "caught_up")
        longer, seen = {}, {}
        for name in names:
            array = getattr(state, name)
            longer[name] = np.concatenate([array, np.zeros((n_copies, *array.shape[1:]), array.dtype)])
            seen[name] = longer[name][: len(array)]
        return state._replace(**seen), state._replace(**longer)

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float | None:
        """Apply pending dense steps, solve for the intercept (or extrapolate), and update SVRG's full gradient.

        Returns the objective if it is a by-product, and None otherwise.
        """
        state: State = variables  # type: ignore[assignment]
        renews = self.reduction == "svrg" or (self.reduction == "saga" and step_size is None)
        penalty = self._catch_up(state, sum_over, step_size)
        objective = None
        if self.fit_intercept or renews or self.extrapolates or not self._is_smooth:
            self._predict(state.coef, self._predicted, sum_over)
        if self.extrapolates and np.isfinite(self._predicted).all():
            objective = extrapolate(self, state, sum_over)
            if self._is_smooth and self.reduction is not None and objective is not None:
                assert self._extrapolation is not None
                self._newton_steps.take(self, state, sum_over)
                objective = float(self._extrapolation.objective.sum())
        elif self.fit_intercept:
            self.solve_intercept(state.intercept, self._predicted, sum_over)
        if not self._is_smooth:
            objective = renew_multipliers(self, state, sum_over)
        if renews:
            looked = (self._predicted, self.target, self._weight, self._curve)
            (losses,) = sum_over(sums.update_memory, self.X.shape[0], 1, looked, state)
            columns = (*self._columns, state.memory)
            sum_over(sums.average_gradients, self.X.shape[1], 0, columns, (state.mean_gradient,))
            if objective is None:
                objective = float(losses / self.X.shape[0]) + penalty
        needs_newton = self.reduction is None if self._multipliers is None else not self._multipliers.is_exact
        if self._extrapolation is not None and needs_newton:
            self._extrapolation.point_down(newton_step(self, state, sum_over))
        return objective

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the objective at coefficients without pending dense steps."""
        state: State = variables  # type: ignore[assignment]
        return self._sum_losses(state, sum_over) / self.X.shape[0] + self._catch_up(state, sum_over, None)

    def loss_of(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the weighted mean loss: the objective without its penalty, over the mean weight."""
        state: State = variables  # type: ignore[assignment]
        return self._sum_losses(state, sum_over) / float(self._weight.sum())

    def _sum_losses(self, state: State, sum_over: SumOver) -> float:
        rows = (self.X.indptr, self.X.indices, self.X.data, self.target, self._weight, self._value)
        return float(sum_over(sums.sum_losses, self.X.shape[0], 1, rows, state)[0])

    @property
    def is_measured(self) -> bool:
        """Return True unless the problem has a pull, with which its minimum is not near 0."""
        return self.pull is None

    def suboptimality(self, variables: Variables, sum_over: SumOver, enough: float = 0.0) -> float:
        """Return the duality gap for a nonsmooth loss, else half the squared length of a proximal gradient step.

        The step is that of variables scaled to curvature 1. It estimates the suboptimality of the objective, exactly for
        a quadratic objective with uncorrelated columns. With correlated columns it is more: at least about the gain of the last
        Newton step, which is then returned. SVRG has the gradient; SAGA's mean gradient is a rough estimate,
        which is returned if it is far above `enough`. If most losses have no curvature there, as Huber's loss with large errors,
        the step uses their mean curvature in place of the bound. A value that rounding errors alone can cause is returned as 0.
        """
        state: State = variables  # type: ignore[assignment]
        if self._multipliers is not None:
            return self._multipliers.gap
        if self.reduction is not None:
            known = (state.mean_gradient, self._steps, self.penalty)
            (length,) = sum_over(sums.sum_known_steps, self.X.shape[1], 1, known, (state.coef,))
            if length / 2 > max(ROUGH * enough, self._rounding(state)):
                return float(length) / 2
        n_rows, slopes = self.X.shape[0], np.empty_like(self._predicted)
        self._predict(state.coef, self._predicted, sum_over)
        seen = (self._predicted, self.target, self._weight, self._curve, slopes)
        total = sum_over(sums.fill_slopes, n_rows, self.n_outputs, seen, state.intercept.astype(np.float64)) / n_rows
        bent = 1.0 if self.loss.is_quadratic else self._share_of_curvature(state, sum_over)
        ridge = self.penalty.strong_convexity
        steps = self._steps if bent == 1.0 else 1 / (bent * (1 / np.maximum(self._steps, TINY) - ridge) + ridge + TINY)
        columns = (*self._columns, slopes, np.where(self._steps > 0, steps, 0.0), self.penalty)
        (length,) = sum_over(sums.sum_gradient_steps, self.X.shape[1], 1, columns, (state.coef,))
        along_intercept = (
            (total**2).sum() / (bent * self._steepest * self._weight.mean()) if self.fit_intercept else 0.0
        )
        found = max(float(length + along_intercept) / 2, self._newton_steps.gained)
        return 0.0 if found <= self._rounding(state) else found

    def _share_of_curvature(self, state: State, sum_over: SumOver) -> float:
        """Return the mean second derivative of the losses over its bound if that is small, else 1."""
        bends = np.empty_like(self._predicted)
        seen = (self._predicted, self.target, self._weight, self._curve, np.empty_like(bends), bends)
        total = sum_over(sums.fill_bends, len(bends), self.n_outputs, seen, state.intercept.astype(np.float64))
        share = float(total.sum() / (self._steepest * max(float(self._weight.sum()), TINY) * self.n_outputs))
        return 1.0 if share >= FLAT else max(share, FLATTEST)

    def _rounding(self, state: State) -> float:
        """Return the suboptimality that rounding errors of the predictions can feign."""
        at = self._predicted + state.intercept
        errors = (
            ROUNDINGS * np.finfo(state.coef.dtype).eps * max(float(np.abs(at).max()), float(np.abs(self.target).max()))
        )
        return self._steepest * float(self._weight.mean()) * self.n_outputs * errors**2 / 2

    def advice(self) -> str:
        """Return a sentence that names a badly scaled column and the remedy, or an empty string."""
        return scale_advice(self.X, self.fit_intercept, self.scales_steps)

    def _predict(self, coef: NDArray[Any], predicted: NDArray[np.float64], sum_over: SumOver) -> NDArray[np.float64]:
        rows = (self.X.indptr, self.X.indices, self.X.data, predicted)
        sum_over(sums.predict_rows, self.X.shape[0], 0, rows, (coef,))
        return predicted

    def _catch_up(self, state: State, sum_over: SumOver, step_size: float | None) -> float:
        """Apply pending dense steps of the last epoch, if any; return the penalties minus the pull."""
        n_rows, n_features = self.X.shape
        ended = (0 if step_size is None else n_rows, step_size or 0.0, self.penalty, self._scale)
        (penalty,) = sum_over(updates.finish_features, n_features, 1, ended, state)
        pulled = 0.0 if self.pull is None else float(self.pull @ state.coef[:, 0])
        return float(penalty) - pulled

    def _stiffen(self, curvature: float) -> None:
        """Change the curvature of the envelopes, and the step sizes, in place."""
        self._steepest = self._curve.curvature[0] = curvature
        self.__dict__.pop("_steps", None)
        if self.scales_steps:
            self._scale[:] = self._scales()

    def _scales(self) -> NDArray[np.float64]:
        """Return the step size of each coefficient."""
        return coefficient_scales(
            self.X, self._weight, curvature=self._steepest, strong_convexity=self.penalty.strong_convexity
        )

    def solve_intercept(
        self, intercept: NDArray[Any], predicted: NDArray[np.float64], sum_over: SumOver, keep: float = SETTLED
    ) -> None:
        """Solve in place for the intercept at which the slopes of the losses sum to 0, up to a fraction `keep`."""
        data = (predicted, self.target, self._weight, self._curve)

        def slopes(shift: NDArray[np.float64]) -> NDArray[np.float64]:
            return sum_over(sums.sum_slopes, len(self.target), self.n_outputs, data, shift) / len(self.target)

        width = 1.0 / self._steepest
        intercept[:] = find_rising_zero(slopes, intercept.astype(np.float64), width=width, keep=keep)


ROUGH = 100.0
"""Factor by which SAGA's mean gradient, up to one epoch old, must exceed the tolerance to rule out the optimum."""

FLAT, FLATTEST = 1e-2, 1e-12
"""Share of the curvature's bound below which losses count as flat, and the least that they are taken to have."""

ROUNDINGS = 4.0
"""Rounding errors of a prediction, each of its precision, that the slopes at an exact fit are attributed to."""

TINY = 1e-300

CAUTION: dict[Reduction | None, float] = {None: 0.5, "svrg": 0.5, "saga": 2.0}
"""Factor of the bound on the curvature of a batch, which limits the sum of the changes of lists.

With a factor of one half, a direction that attains the bound moves by less than twice its distance, so it does not
diverge. The memory of SAGA lags by up to one epoch, which repeats overshoots: on correlated features it diverged at one
half, but not at two.
"""
