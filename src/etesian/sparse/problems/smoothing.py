"""Smoothing of nonsmooth losses by the method of multipliers, which keeps the minimum of the objective.

The loss f of a row is replaced by its Moreau envelope around a multiplier u, an estimate of the slope at the optimum:
min over z of f(z) + u (p - z) + c / 2 (p - z)^2 at the prediction p. The envelope has curvature c, so variance reduction
converges on it. Replacing each multiplier by the slope of the envelope, again and again, is the proximal point method on
the dual problem (Rockafellar 1976, Augmented Lagrangians and applications of the proximal point algorithm, section 4),
and converges to the optimum of the original objective for any c. Updates touch the same variables as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SAMPLE = 1_000  # rows from which the curvature of a smoothed loss is chosen


class Curve(NamedTuple):
    """Loss of each row as compiled loops evaluate it.

    Parameters
    ----------
    value, derivative
        The loss and its derivative, compiled.
    curvature : array of shape (1,)
        Curvature of the envelopes; infinity for a smooth loss, which is used as it is. It grows between epochs.
    multiplier : array of shape (n_rows, n_outputs) or (0, n_outputs)
        Multipliers of the rows in the order of the data as given; none for a smooth loss.
    """

    value: Any
    derivative: Any
    curvature: NDArray[np.float64]
    multiplier: NDArray[np.float64]


@njit(nogil=True)
def curve_slope(value, derivative, curvature, multiplier, prediction, target):
    """Return the slope of a loss, or of its envelope if the curvature is finite.

    The slope is curvature * (far - z), where z minimizes the loss plus a parabola around `far`. The two tangents at the
    ends of a bracket of z meet at the kink of a loss of two linear pieces, which makes the first trial exact.
    """
    if curvature == math.inf:
        return derivative(prediction, target)
    far = prediction + multiplier / curvature
    at_far = derivative(far, target)
    near = far - at_far / curvature
    at_near = derivative(near, target)
    if at_near == at_far:
        return at_far
    low, high = min(near, far), max(near, far)
    at_low, at_high = derivative(low, target), derivative(high, target)
    for trial in range(120):
        value_low, value_high = value(low, target), value(high, target)
        middle = low + 0.5 * (high - low)
        if trial % 2 == 0 and at_high > at_low:
            kink = (value_high - value_low + at_low * low - at_high * high) / (at_low - at_high)
            if low < kink < high:
                middle = kink
                tangent = value_low + at_low * (kink - low)
                slope = curvature * (far - kink)
                is_kink = value(kink, target) - tangent <= 1e-14 * (abs(value_low) + abs(value_high))
                if is_kink and at_low <= slope <= at_high:
                    return slope
        if not low < middle < high:
            break
        at_middle = derivative(middle, target)
        if at_middle < curvature * (far - middle):
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return curvature * (far - high)


@njit(nogil=True)
def curve_value(value, derivative, curvature, multiplier, prediction, target):
    """Return a loss, or its envelope if the curvature is finite."""
    if curvature == math.inf:
        return value(prediction, target)
    slope = curve_slope(value, derivative, curvature, multiplier, prediction, target)
    nearest = prediction + (multiplier - slope) / curvature
    return value(nearest, target) + (slope * slope - multiplier * multiplier) / (2.0 * curvature)


@dataclass
class Multipliers:
    """Multipliers of all rows, with arrays for the next ones.

    Parameters
    ----------
    slopes : array of shape (n_rows, n_outputs)
        Slopes of the envelopes, which are the next multipliers.
    weighted : array of shape (n_rows, n_outputs)
        Slopes times the weights of the rows.
    gradient : array of shape (n_features, n_outputs)
        Mean of the gradients of the envelopes.
    gap : float
        Duality gap of the objective, an upper bound of its distance to the minimum; infinity if there is no dual point.
    age : int
        Number of epochs since the multipliers were renewed.
    is_exact : bool
        True if the linear systems of Newton steps were small enough to be solved exactly.
    """

    slopes: NDArray[np.float64]
    weighted: NDArray[np.float64]
    gradient: NDArray[np.float64]
    gap: float = math.inf
    age: int = 0
    is_exact: bool = False

    @classmethod
    def zeros(cls, shape: tuple[int, int], n_outputs: int) -> Multipliers:
        """Return arrays for rows of this shape."""
        n_rows, n_features = shape
        return cls(np.zeros((n_rows, n_outputs)), np.zeros((n_rows, n_outputs)), np.zeros((n_features, n_outputs)))


def natural_scale(
    value: Callable[[float, float], float],
    derivative: Callable[[float, float], float],
    target: NDArray[np.float64],
    *,
    has_labels: bool,
) -> tuple[float, float]:
    """Return a constant prediction, and a curvature that matches the units of a loss there.

    The constant is the median of the targets, or 0 for labels -1 and 1. The curvature is the mean squared slope over the
    mean value.

    Parameters
    ----------
    value, derivative
        The loss and its derivative.
    target : array of shape (n_rows,)
        Targets.
    has_labels
        True for labels -1 and 1.
    """
    sample = target[:: max(1, len(target) // SAMPLE)]
    constant = 0.0 if has_labels else float(np.median(sample))
    values = sum(value(constant, float(each)) for each in sample)
    squares = sum(derivative(constant, float(each)) ** 2 for each in sample)
    is_known = values > 0 and squares > 0 and math.isfinite(values + squares)
    return constant, squares / values if is_known else 1.0
