"""Compiled updates of linear problems, with lazy dense steps.

Between two touches, the dense part of each update takes the same step on a coefficient: that of the penalty and of the
mean gradient of SVRG or SAGA (Pan et al. 2016, section 4: x_j <- (1 - mu_j) x_j - nu_j + h_j, where only h is sparse).
The next touch applies all missed steps in closed form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.atomics import prefetch_to_write
from etesian.sparse.problems.penalties import prepare_steps, take_step, take_steps, value_of
from etesian.sparse.problems.smoothing import curve_slope

AHEAD = 4  # prefetch distance, in rows, for memory that another core wrote


class Rows(NamedTuple):
    """Rows of the data in some order, and the parameters of their updates.

    Parameters
    ----------
    indptr, indices, values
        Features, as a CSR matrix with sorted columns without duplicates.
    target : array of shape (n,)
        Real targets, or labels -1 and 1, or with several outputs class numbers.
    weight : array of shape (n,)
        Weight of each row's loss.
    steps : array of shape (n,)
        Position of each row in the sampled order.
    ids : array of shape (n,)
        Index of each row in the data as given.
    penalty
        A `Penalty`.
    scale : array of shape (n_features,) or (0,)
        Factor of the step size of each coefficient; of shape (0,) if all are 1.
    learns_memory : bool
        True if an update stores its slope and changes the mean gradient, as in SAGA.
    curve
        A `Curve`: the loss, or its envelopes.
    first_copy : int
        Index of the first copy of a feature, in a merged plan.
    steps_of_copies : array of shape (n,)
        Position of each row in its list, by which copies count steps.
    hot_curvature : array of shape (n_hot,)
        Bound on the curvature of a batch along each hot feature, in a merged plan; otherwise empty.
    fetches_ahead : bool
        True if other cores write the variables, too; asking for them in advance takes longer than it saves on one core.
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]
    steps: NDArray[Any]
    ids: NDArray[Any]
    penalty: Any
    scale: NDArray[Any]
    learns_memory: bool
    curve: Any
    first_copy: int
    steps_of_copies: NDArray[Any]
    hot_curvature: NDArray[Any]
    fetches_ahead: bool


class State(NamedTuple):
    """Variables. A touch of a feature owns its coefficients, its mean gradient and its step count.

    Parameters
    ----------
    coef : array of shape (n_features, n_outputs)
        Coefficients.
    intercept : array of shape (n_outputs,)
        Intercepts, read by every update and changed between epochs only.
    mean_gradient : array of shape (n_features, n_outputs)
        Mean over rows of the gradients in `memory`: SVRG's full gradient, or SAGA's mean gradient; shape (0, n_outputs)
        for SGD.
    memory : array of shape (n_rows, n_outputs)
        Last computed slope of each row's loss; shape (0, n_outputs) for SGD.
    caught_up : array of shape (n_features,)
        Number of steps of this epoch already applied to each feature.
    """

    coef: NDArray[Any]
    intercept: NDArray[Any]
    mean_gradient: NDArray[Any]
    memory: NDArray[Any]
    caught_up: NDArray[Any]


@njit(nogil=True)
def target_of(target, output, n_outputs):
    """Return the target of an output: with several outputs, 1 for the row's own class and -1 for the rest."""
    if n_outputs == 1:
        return target
    return 1.0 if target == output else -1.0


@njit(nogil=True, inline="always")
def _update(start, stop, rows, state, step_size, n_outputs):  # noqa: C901, PLR0912  one piece, see `update_rows`
    (
        indptr,
        indices,
        values,
        target,
        weight,
        steps,
        ids,
        penalty,
        scale,
        learns_memory,
        curve,
        first_copy,
        own,
        _,
        fetches_ahead,
    ) = rows
    coef, intercept, mean_gradient, memory, caught_up = state
    value_of_loss, derivative, curvature, multiplier = curve
    remembers, is_scaled, share = len(memory) > 0, len(scale) > 0, 1.0 / max(len(memory), 1)
    is_smooth = len(multiplier) == 0
    slope, size = np.empty(n_outputs), step_size
    for e in range(start, stop):
        step, first, last = steps[e], indptr[e], indptr[e + 1]
        if fetches_ahead and e + AHEAD < stop:
            if remembers:
                prefetch_to_write(memory, (ids[e + AHEAD], 0))
            for position in range(indptr[e + AHEAD], indptr[e + AHEAD + 1]):
                j = indices[position]
                prefetch_to_write(coef, (j, 0))
                prefetch_to_write(caught_up, (j,))
                if remembers:
                    prefetch_to_write(mean_gradient, (j, 0))
        for k in range(n_outputs):
            slope[k] = intercept[k]
        for position in range(np.uint64(first), np.uint64(last)):  # apply missed steps, and predict
            j, value = np.uint64(indices[position]), values[position]
            missed = (step if j < first_copy else own[e]) - caught_up[j]
            if missed > 0:  # below 0 only where lock-free workers overtake one another
                if is_scaled:
                    size = step_size * scale[j]
                prepared = prepare_steps(penalty, missed, size)
                for k in range(n_outputs):
                    gradient = mean_gradient[j, k] if remembers else 0.0
                    coef[j, k] = take_steps(penalty, prepared, float(coef[j, k]), gradient)
            for k in range(n_outputs):
                slope[k] += value * coef[j, k]
        for k in range(n_outputs):  # slopes minus those in the memory
            aim = target_of(target[e], k, n_outputs)
            if is_smooth:
                new = weight[e] * derivative(slope[k], aim)
            else:
                around = multiplier[ids[e], k]
                new = weight[e] * curve_slope(value_of_loss, derivative, curvature[0], around, slope[k], aim)
            slope[k] = new - memory[ids[e], k] if remembers else new
            if learns_memory:
                memory[ids[e], k] = new
        for position in range(np.uint64(first), np.uint64(last)):  # sparse part and dense part of this step
            j, value = np.uint64(indices[position]), values[position]
            caught_up[j] = (step if j < first_copy else own[e]) + 1
            if is_scaled:
                size = step_size * scale[j]
            for k in range(n_outputs):
                change = slope[k] * value
                gradient = change + mean_gradient[j, k] if remembers else change
                coef[j, k] = take_step(penalty, float(coef[j, k]), size, gradient)
                if learns_memory:
                    mean_gradient[j, k] += change * share


def update_rows(start, stop, rows, state, step_size):
    """Run the updates of rows ``start`` to ``stop - 1`` in turn: SGD, SVRG or SAGA, depending on `rows` and `state`.

    The function unpacks the tuples once: numba counts references to the arrays of a tuple argument in memory shared by
    all threads, which made an update of two features eight times as slow. The most common case, one output, is compiled
    separately, so that its loops over outputs are unrolled.
    """
    if state.coef.shape[1] == 1:
        _update(start, stop, rows, state, step_size, 1)
    else:
        _update(start, stop, rows, state, step_size, state.coef.shape[1])


def finish_features(start, stop, data, state, sums):
    """Apply missed steps of features up to the end of the epoch, and sum their penalties."""
    n_steps, step_size, penalty, scale = data
    coef, _, mean_gradient, memory, caught_up = state
    remembers, is_scaled, size = len(memory) > 0, len(scale) > 0, step_size
    for j in range(start, stop):
        missed = n_steps - caught_up[j]
        if is_scaled:
            size = step_size * scale[j]
        prepared = prepare_steps(penalty, missed, size)
        caught_up[j] = 0
        for k in range(coef.shape[1]):
            if missed > 0:
                gradient = mean_gradient[j, k] if remembers else 0.0
                coef[j, k] = take_steps(penalty, prepared, float(coef[j, k]), gradient)
            sums[0] += value_of(penalty, float(coef[j, k]))
