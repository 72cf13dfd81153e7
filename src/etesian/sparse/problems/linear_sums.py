"""Compiled passes over all rows or features of a linear problem, between epochs: predictions, slopes, losses, mean gradients."""

from __future__ import annotations

from etesian.sparse.problems.linear_updates import target_of


def predict_rows(start, stop, data, state, sums):
    """Fill ``predicted``, shape (n_rows, n_outputs), without the intercept."""
    indptr, indices, values, predicted = data
    coef = state.coef
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            predicted[e, k] = 0.0
        for position in range(indptr[e], indptr[e + 1]):
            for k in range(predicted.shape[1]):
                predicted[e, k] += values[position] * coef[indices[position], k]


def sum_slopes(start, stop, data, shift, sums):
    """Sum the slopes of the losses if `shift` were the intercept: one sum an output."""
    predicted, target, weight, derivative = data
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            sums[k] += weight[e] * derivative(predicted[e, k] + shift[k], aim)


def look_at_rows(start, stop, data, state, sums):
    """Sum the losses, and remember the slopes."""
    predicted, target, weight, value, derivative = data
    intercept, memory = state.intercept, state.memory
    for e in range(start, stop):
        for k in range(predicted.shape[1]):
            aim = target_of(target[e], k, predicted.shape[1])
            at = predicted[e, k] + intercept[k]
            sums[0] += weight[e] * value(at, aim)
            memory[e, k] = weight[e] * derivative(at, aim)


def sum_losses(start, stop, data, state, sums):
    """Predict, and sum the losses; remembers nothing."""
    indptr, indices, values, target, weight, value = data
    coef, intercept = state.coef, state.intercept
    for e in range(start, stop):
        for k in range(coef.shape[1]):
            at = float(intercept[k])
            for position in range(indptr[e], indptr[e + 1]):
                at += values[position] * coef[indices[position], k]
            sums[0] += weight[e] * value(at, target_of(target[e], k, coef.shape[1]))


def average_gradients(start, stop, data, state, sums):
    """Fill the mean gradient of features from the memory; `data` holds the columns, and what to take off."""
    indptr, indices, values, pull = data
    memory, mean_gradient = state.memory, state.mean_gradient
    for j in range(start, stop):
        for k in range(memory.shape[1]):
            total = 0.0
            for position in range(indptr[j], indptr[j + 1]):
                total += values[position] * memory[indices[position], k]
            mean_gradient[j, k] = total / len(memory) - pull[j]
