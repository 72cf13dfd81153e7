"""Compiled passes over rows or features of a linear problem between epochs: predictions, slopes, losses, mean gradients."""

from __future__ import annotations

import numpy as np
from numba import njit

from etesian.sparse._engine.kernels import FAST
from etesian.sparse.problems.linear_updates import target_of
from etesian.sparse.problems.penalties import sets_zeros, slope_of, take_step, value_of
from etesian.sparse.problems.smoothing import curve_slope, curve_value


def predict_rows(start, stop, data, variables, sums):
    """Fill ``predicted``, of shape (n_rows, n_outputs), without the intercept."""
    indptr, indices, values, predicted = data
    (coef,) = variables
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            total = 0.0
            for position in range(np.uint64(indptr[e]), np.uint64(indptr[e + 1])):
                total += values[position] * coef[np.uint64(indices[position]), k]
            predicted[e, k] = total


def sum_slopes(start, stop, data, shift, sums):
    """Sum the slopes of the losses for each output, with `shift` as the intercept."""
    predicted, target, weight, curve = data
    value, derivative, curvature, multiplier = curve
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            around = multiplier[e, k] if len(multiplier) > 0 else 0.0
            sums[k] += weight[e] * curve_slope(value, derivative, curvature[0], around, predicted[e, k] + shift[k], aim)


def update_memory(start, stop, data, state, sums):
    """Sum the losses, and store the slopes in the memory."""
    predicted, target, weight, curve = data
    value, derivative, curvature, multiplier = curve
    intercept, memory = state.intercept, state.memory
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            at = predicted[e, k] + intercept[k]
            sums[0] += weight[e] * value(at, aim)
            around = multiplier[e, k] if len(multiplier) > 0 else 0.0
            memory[e, k] = weight[e] * curve_slope(value, derivative, curvature[0], around, at, aim)


def sum_losses(start, stop, data, state, sums):
    """Predict, and sum the losses."""
    indptr, indices, values, target, weight, value = data
    coef, intercept = state.coef, state.intercept
    for e in range(start, stop):
        for k in range(coef.shape[1]):
            at = float(intercept[k])
            for position in range(np.uint64(indptr[e]), np.uint64(indptr[e + 1])):
                at += values[position] * coef[np.uint64(indices[position]), k]
            sums[0] += weight[e] * value(at, target_of(target[e], k, coef.shape[1]))


def sum_values(start, stop, data, intercept, sums):
    """Sum the losses, or their envelopes, for each output."""
    predicted, target, weight, curve = data
    value, derivative, curvature, multiplier = curve
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            around = multiplier[e, k] if len(multiplier) > 0 else 0.0
            at = predicted[e, k] + intercept[k]
            sums[k] += weight[e] * curve_value(value, derivative, curvature[0], around, at, aim)


def sum_penalties(start, stop, data, variables, sums):
    """Sum the penalties for each output."""
    (penalty,) = data
    (coef,) = variables
    for k in range(coef.shape[1]):
        total = 0.0
        for j in range(np.uint64(start), np.uint64(stop)):
            total += value_of(penalty, coef[j, k])
        sums[k] += total


def average_gradients(start, stop, data, variables, sums):
    """Fill the mean gradient of features from slopes of rows; `data` holds the columns and the pull to subtract."""
    indptr, indices, values, pull, slopes = data
    (mean_gradient,) = variables
    for j in range(start, stop):
        for k in range(slopes.shape[1]):
            total = 0.0
            for position in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
                total += values[position] * slopes[np.uint64(indices[position]), k]
            mean_gradient[j, k] = total / len(slopes) - pull[j]


NUDGE = 1e-5  # step of the finite difference that gives the second derivative of a loss
BLOCK = 64  # rows whose derivatives are computed before they are summed, so that the sums vectorize


def sum_along(start, stop, data, at, sums):
    """Sum the losses at the coordinates `at`, with first and second derivatives.

    The sums of an output are the value, the gradient, and the lower triangle of the Hessian by rows. The last
    coordinate is the intercept; the others are along `moves`, of shape (n_moves, n_rows, n_outputs).
    """
    predicted, moves, target, weight, curve = data
    n_outputs, n = predicted.shape[1], len(moves) + 1
    along, slopes, bends = np.ones((n, BLOCK)), np.empty(BLOCK), np.empty(BLOCK)
    for k in range(n_outputs):
        own = sums[len(sums) // n_outputs * k :]
        for first in range(start, stop, BLOCK):
            n_rows = min(BLOCK, stop - first)
            for e in range(n_rows):
                slopes[e] = predicted[first + e, k] + at[k, n - 1]
            for i in range(n - 1):
                for e in range(n_rows):
                    along[i, e] = moves[i, first + e, k]
                    slopes[e] += at[k, i] * along[i, e]
            own[0] += _derive(slopes, bends, first, n_rows, k, n_outputs, target, weight, curve)
            _add_derivatives(slopes, bends, along, n_rows, own[1:])


@njit(nogil=True, fastmath=set(FAST))
def _derive(slopes, bends, first, n_rows, k, n_outputs, target, weight, curve):
    """Replace predictions by slopes of the losses, fill the second derivatives, and return the sum of the losses."""
    value, derivative, curvature, multiplier = curve
    total = 0.0
    for e in range(n_rows):
        to, own = slopes[e], weight[first + e]
        aim, nudge = target_of(target[first + e], k, n_outputs), NUDGE * (1.0 + abs(to))
        around = multiplier[first + e, k] if len(multiplier) > 0 else 0.0
        slope = curve_slope(value, derivative, curvature[0], around, to, aim)
        nudged = curve_slope(value, derivative, curvature[0], around, to + nudge, aim)
        total += own * curve_value(value, derivative, curvature[0], around, to, aim)
        slopes[e], bends[e] = own * slope, own * (nudged - slope) / nudge
    return total


@njit(nogil=True, fastmath=set(FAST))
def _add_derivatives(slopes, bends, along, n_rows, sums):
    """Add the gradient of a block of rows, and the lower triangle of its Hessian."""
    n = len(along)
    place = n
    for i in range(n):
        total = 0.0
        for e in range(n_rows):
            total += slopes[e] * along[i, e]
        sums[i] += total
    for i in range(n):
        for e in range(n_rows):
            slopes[e] = bends[e] * along[i, e]
        for other in range(i + 1):
            total = 0.0
            for e in range(n_rows):
                total += slopes[e] * along[other, e]
            sums[place] += total
            place += 1


def sum_penalties_along(start, stop, data, at, sums):
    """Sum the penalties at the coordinates `at`, with their derivatives, in the layout of `sum_along`."""
    coef, moves, penalty, bend = data
    n_moves, n_outputs = moves.shape[0], coef.shape[1]
    n_sums = sums.shape[0] // n_outputs
    for j in range(start, stop):
        for k in range(n_outputs):
            to = coef[j, k]
            for i in range(n_moves):
                to += at[k, i] * moves[i, j, k]
            slope, place = slope_of(penalty, to), n_sums * k
            sums[place] += value_of(penalty, to)
            for i in range(n_moves):
                sums[place + 1 + i] += slope * moves[i, j, k]
            place += n_moves + 1
            for i in range(n_moves):
                for other in range(i + 1):
                    place += 1
                    sums[place] += bend * moves[i, j, k] * moves[other, j, k]


def fill_slopes(start, stop, data, intercept, sums):
    """Fill the slopes of the losses; sum them for each output."""
    predicted, target, weight, curve, slopes = data
    value, derivative, curvature, multiplier = curve
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            around = multiplier[e, k] if len(multiplier) > 0 else 0.0
            at = predicted[e, k] + intercept[k]
            slopes[e, k] = weight[e] * curve_slope(value, derivative, curvature[0], around, at, aim)
            sums[k] += slopes[e, k]


def fill_multipliers(start, stop, data, intercept, sums):
    """Fill the slopes of the envelopes, plain and weighted; sum the losses, their conjugates and the Fenchel gaps."""
    predicted, target, weight, curve, slopes, weighted = data
    value, derivative, curvature, multiplier = curve
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            at = predicted[e, k] + intercept[k]
            slope = curve_slope(value, derivative, curvature[0], multiplier[e, k], at, aim)
            nearest = at + (multiplier[e, k] - slope) / curvature[0]  # where the loss itself has this slope
            loss, lowest = value(at, aim), value(nearest, aim)
            slopes[e, k], weighted[e, k] = slope, weight[e] * slope
            sums[0] += weight[e] * loss
            sums[1] += weight[e] * (slope * nearest - lowest)
            sums[2] += weight[e] * max(0.0, loss - lowest - slope * (at - nearest))


def sum_known_steps(start, stop, data, variables, sums):
    """Sum as `sum_gradient_steps` does, from a known gradient."""
    gradient, size, penalty = data
    (coef,) = variables
    for j in range(start, stop):
        for k in range(coef.shape[1]):
            w = float(coef[j, k])
            if size[j] > 0.0:
                step = w - take_step(penalty, w, size[j], float(gradient[j, k]))
                sums[0] += step * step / size[j]


def sum_gradient_steps(start, stop, data, variables, sums):
    """Sum the squared lengths of proximal gradient steps over their step sizes, with the gradient from `slopes`."""
    indptr, indices, values, pull, slopes, size, penalty = data
    (coef,) = variables
    for j in range(start, stop):
        for k in range(coef.shape[1]):
            total = 0.0
            for position in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
                total += values[position] * slopes[np.uint64(indices[position]), k]
            w = float(coef[j, k])
            if size[j] > 0.0:
                step = w - take_step(penalty, w, size[j], total / len(slopes) - pull[j])
                sums[0] += step * step / size[j]


def fill_bends(start, stop, data, intercept, sums):
    """Fill the slopes of the losses and their second derivatives; sum the latter for each output."""
    predicted, target, weight, curve, slopes, bends = data
    value, derivative, curvature, multiplier = curve
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            around = multiplier[e, k] if len(multiplier) > 0 else 0.0
            at = predicted[e, k] + intercept[k]
            nudge = NUDGE * min(1.0 + abs(at), 1e3 / curvature[0] if curvature[0] < np.inf else np.inf)
            slope = curve_slope(value, derivative, curvature[0], around, at, aim)
            nudged = curve_slope(value, derivative, curvature[0], around, at + nudge, aim)
            slopes[e, k], bends[e, k] = weight[e] * slope, weight[e] * (nudged - slope) / nudge
            sums[k] += bends[e, k]


def add_penalty_slopes(start, stop, data, variables, sums):
    """Add the derivative of the penalty to the gradient."""
    (penalty,) = data
    coef, gradient = variables
    for j in range(start, stop):
        for k in range(coef.shape[1]):
            gradient[j, k] += slope_of(penalty, float(coef[j, k]))


def enter_orthants(start, stop, data, variables, sums):
    """Add the slope of the penalty to gradients, and fill the signs of the coefficients that are not held at 0.

    A coefficient of 0 that a proximal step would change has the sign of that step. Signs do not matter for penalties
    that set no zeros: all signs are 1, except for columns of zeros.
    """
    size, penalty = data
    coef, gradient, sign = variables
    for j in range(np.uint64(start), np.uint64(stop)):
        for k in range(coef.shape[1]):
            w = coef[j, k]
            if size[j] == 0.0:
                sign[j, k] = 0.0
            elif sets_zeros(penalty):
                toward = w if w != 0.0 else take_step(penalty, 0.0, size[j], gradient[j, k])
                sign[j, k] = 1.0 if toward > 0.0 else (-1.0 if toward < 0.0 else 0.0)
                w = w if w != 0.0 else 1e-300 * sign[j, k]
            else:
                sign[j, k] = 1.0
            gradient[j, k] += slope_of(penalty, w)


@njit(nogil=True, cache=True, fastmath=set(FAST))
def multiply_by_hessian(indptr, indices, data, bends, move, bent):
    """Fill `bent` with X' D X move, summed over rows, and return the sums of D X move, of shape (n_outputs,)."""
    sums = np.zeros(bends.shape[1])
    bent[:] = 0.0
    for e in range(len(bends)):
        for k in range(bends.shape[1]):
            along = 0.0
            for position in range(np.uint64(indptr[e]), np.uint64(indptr[e + 1])):
                along += data[position] * move[np.uint64(indices[position]), k]
            along *= bends[e, k]
            sums[k] += along
            for position in range(np.uint64(indptr[e]), np.uint64(indptr[e + 1])):
                bent[np.uint64(indices[position]), k] += data[position] * along
    return sums


@njit(nogil=True, cache=True)
def add_products(indptr, indices, data, bends, place, matrix, mean):
    """Add X' D X to the lower triangle of a matrix, and X' d to a vector, for the columns with a place."""
    for e in range(len(indptr) - 1):
        if not bends[e] > 0.0:
            continue
        for first in range(indptr[e], indptr[e + 1]):
            i = place[indices[first]]
            if i < 0:
                continue
            weighted = bends[e] * float(data[first])
            mean[i] += weighted
            for second in range(indptr[e], first + 1):
                j = place[indices[second]]
                if j >= 0:
                    matrix[i, j] += weighted * float(data[second])
