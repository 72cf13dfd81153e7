"""The compiled updates of linear problems: sparse steps where a row has features, dense ones made up when next touched.

Between two touches a coefficient x goes through the same step again and again, x <- shrink((1 - mu) x - nu, tau): mu comes from
the ridge penalty, nu from a mean gradient, tau from the L1 penalty, and shrink(x, tau) moves x towards 0 by tau, not beyond
it. That is the dense part of an update (Pan et al. 2016, section 4: x_j <- (1 - mu_j) x_j - nu_j + h_j, where only h is
sparse); here it is applied in closed form from the number of steps missed. Knows nothing of plans, estimators or files.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Rows of the data in some order, and what their updates need to know.

    Parameters
    ----------
    indptr, indices, values
        Features, as in a CSR matrix with sorted columns that do not repeat.
    target : array of shape (n,)
        Real, or -1 and 1, or (with several outputs) the number of the class.
    weight : array of shape (n,)
        Of each row's loss; 1 on average.
    steps : array of shape (n,)
        Place of each row in the sampled order.
    ids : array of shape (n,)
        Place of each row in the data as given.
    ridge, lasso : float
        Penalties: ridge / 2 |w|^2 + lasso |w|_1.
    learns_memory : bool
        SAGA: whether an update stores its slope, and moves the mean gradient.
    derivative
        Of the loss, compiled.
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]
    steps: NDArray[Any]
    ids: NDArray[Any]
    ridge: float
    lasso: float
    learns_memory: bool
    derivative: Any


class State(NamedTuple):
    """The variables. A coefficient's row, its mean gradient and its count belong together: who touches one owns all three.

    Parameters
    ----------
    coef : array of shape (n_features, n_outputs)
        Coefficients.
    intercept : array of shape (n_outputs,)
        Read by every update, changed between epochs only.
    mean_gradient : array of shape (n_features, n_outputs)
        Of the loss where `memory` was taken: SVRG's full gradient, SAGA's mean; shape (0, n_outputs) for SGD.
    memory : array of shape (n_rows, n_outputs)
        Slope of each row's loss when it was last looked at; shape (0, n_outputs) for SGD.
    caught_up : array of shape (n_features,)
        Steps of this epoch that a coefficient has been through.
    """

    coef: NDArray[Any]
    intercept: NDArray[Any]
    mean_gradient: NDArray[Any]
    memory: NDArray[Any]
    caught_up: NDArray[Any]


@njit(nogil=True)
def shrink(x, tau):
    """Move x towards 0 by tau, not beyond it: the proximal operator of tau |x|."""
    if x > tau:
        return x - tau
    if x < -tau:
        return x + tau
    return 0.0 * x


@njit(nogil=True)
def keep_and_gain(n, mu):
    """Return the factors of x and of -nu after n times x <- (1 - mu) x - nu. Without mu the sum of n terms is n, not 0 / 0."""
    if n * mu < 1e-15:  # to rounding as if mu were 0
        return 1.0 - n * mu, float(n)
    lost = math.expm1(n * math.log1p(-mu))
    return 1.0 + lost, -lost / mu


@njit(nogil=True)
def after_steps(x, n, mu, nu, tau):
    """Apply x <- shrink((1 - mu) x - nu, tau), n times, in time logarithmic in n.

    While x keeps its sign a step is linear, with nu + tau or nu - tau. That path is monotone, so the step before which the sign is
    lost is found by bisection, and the step that loses it is made as it stands. A path leaves 0 at most once.
    """
    while n > 0:
        if x > 0.0 or (x == 0.0 and nu < -tau):
            sign = 1.0
        elif x < 0.0 or nu > tau:
            sign = -1.0
        else:
            return 0.0
        kept = _steps_that_keep_sign(x, n, mu, nu + sign * tau, sign)
        keep, gain = keep_and_gain(kept, mu)
        x = keep * x - gain * (nu + sign * tau)
        n -= kept
        if n > 0:
            x = shrink((1.0 - mu) * x - nu, tau)
            n -= 1
    return x


@njit(nogil=True)
def _steps_that_keep_sign(x, n, mu, nu, sign):
    low, high = 0, n + 1  # low steps keep the sign (or none is made), high steps lose it
    middle = n
    while high - low > 1:
        keep, gain = keep_and_gain(middle, mu)
        if sign * (keep * x - gain * nu) > 0.0:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


@njit(nogil=True)
def _catch_up(state, j, n, step_size, ridge, lasso):
    """Make up n missed steps of one feature's coefficients."""
    has_mean = len(state.mean_gradient) > 0
    if lasso > 0.0:
        for k in range(state.coef.shape[1]):
            nu = step_size * state.mean_gradient[j, k] if has_mean else 0.0
            state.coef[j, k] = after_steps(float(state.coef[j, k]), n, step_size * ridge, nu, step_size * lasso)
    elif has_mean or ridge > 0.0:
        keep, gain = keep_and_gain(n, step_size * ridge)
        for k in range(state.coef.shape[1]):
            nu = step_size * state.mean_gradient[j, k] if has_mean else 0.0
            state.coef[j, k] = keep * state.coef[j, k] - gain * nu


@njit(nogil=True)
def _target_of(target, output, n_outputs):
    if n_outputs == 1:
        return target
    return 1.0 if target == output else -1.0


@njit(nogil=True)
def _predict(rows, state, e, step_size, prediction):
    """Catch up what a row touches, and fill its predictions."""
    prediction[:] = state.intercept
    now = rows.steps[e]
    for position in range(rows.indptr[e], rows.indptr[e + 1]):
        j = rows.indices[position]
        missed = now - state.caught_up[j]
        if missed > 0:  # below 0 only where lock-free workers overtake one another
            _catch_up(state, j, missed, step_size, rows.ridge, rows.lasso)
        for k in range(len(prediction)):
            prediction[k] += rows.values[position] * state.coef[j, k]


@njit(nogil=True)
def _slopes(rows, state, e, slope):
    """Turn the predictions of a row into slopes of its loss, less those in memory."""
    for k in range(len(slope)):
        target = _target_of(rows.target[e], k, len(slope))
        new = rows.weight[e] * rows.derivative(slope[k], target)
        if len(state.memory) > 0:
            slope[k] = new - state.memory[rows.ids[e], k]
            if rows.learns_memory:
                state.memory[rows.ids[e], k] = new
        else:
            slope[k] = new


@njit(nogil=True)
def _step(rows, state, e, step_size, slope):
    """Step where the row has features: the sparse part, and the dense part of this one step."""
    mu, tau = step_size * rows.ridge, step_size * rows.lasso
    for position in range(rows.indptr[e], rows.indptr[e + 1]):
        j, value = rows.indices[position], rows.values[position]
        state.caught_up[j] = rows.steps[e] + 1
        for k in range(len(slope)):
            change = slope[k] * value
            gradient = change + state.mean_gradient[j, k] if len(state.memory) > 0 else change
            moved = (1.0 - mu) * state.coef[j, k] - step_size * gradient
            state.coef[j, k] = shrink(moved, tau)
            if rows.learns_memory:
                state.mean_gradient[j, k] += change / len(state.memory)


def update_rows(start, stop, rows, state, step_size):
    """Run the updates of rows start to stop - 1 in turn: SGD, SVRG or SAGA, as `rows` and `state` say."""
    slope = np.empty(state.coef.shape[1])
    for e in range(start, stop):
        _predict(rows, state, e, step_size, slope)
        _slopes(rows, state, e, slope)
        _step(rows, state, e, step_size, slope)


def finish_features(start, stop, data, state, sums):
    """Catch features up to the end of the epoch, which counts updates and not features; sums of w^2 and |w|."""
    n_steps, step_size, ridge, lasso = data
    for j in range(start, stop):
        if n_steps > state.caught_up[j]:
            _catch_up(state, j, n_steps - state.caught_up[j], step_size, ridge, lasso)
        state.caught_up[j] = 0
        for k in range(state.coef.shape[1]):
            w = float(state.coef[j, k])
            sums[0] += w * w
            sums[1] += abs(w)


def predict_rows(start, stop, data, state, sums):
    """Fill ``predicted``, shape (n_rows, n_outputs), without the intercept."""
    indptr, indices, values, predicted = data
    for e in range(start, stop):
        predicted[e] = 0.0
        for position in range(indptr[e], indptr[e + 1]):
            for k in range(predicted.shape[1]):
                predicted[e, k] += values[position] * state.coef[indices[position], k]


def sum_slopes(start, stop, data, shift, sums):
    """Sum the slopes of the losses if `shift` were the intercept: one sum an output."""
    predicted, target, weight, derivative = data
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = _target_of(target[e], k, predicted.shape[1])
            sums[k] += weight[e] * derivative(predicted[e, k] + shift[k], aim)


def look_at_rows(start, stop, data, state, sums):
    """Sum the losses; store the slopes, where there is a memory for them and `stores` says so."""
    predicted, target, weight, value, derivative, stores = data
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = _target_of(target[e], k, predicted.shape[1])
            at = predicted[e, k] + state.intercept[k]
            sums[0] += weight[e] * value(at, aim)
            if stores:
                state.memory[e, k] = weight[e] * derivative(at, aim)


def average_gradients(start, stop, data, state, sums):
    """Fill the mean gradient of features from the memory; `data` holds the columns, and what to take off."""
    indptr, indices, values, pull = data
    n_rows = len(state.memory)
    for j in range(start, stop):
        for k in range(state.coef.shape[1]):
            total = 0.0
            for position in range(indptr[j], indptr[j + 1]):
                total += values[position] * state.memory[indices[position], k]
            state.mean_gradient[j, k] = total / n_rows - pull[j]
