"""Losses, as compiled functions of (prediction, target): the value and the derivative by the prediction."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from numba import cfunc, types

from etesian.sparse.problems.compile_errors import readable

_signature = types.float64(types.float64, types.float64)
Function = Callable[[float, float], float]


@dataclass(frozen=True)
class Loss:
    """Convex loss of a prediction.

    Parameters
    ----------
    value, derivative
        Plain functions of (prediction, target) that numba can compile: the loss, and its derivative (or a subgradient)
        by the prediction. Functions defined in a file are compiled once and cached on disk.
    curvature
        Upper bound on the second derivative. The step size ``"auto"`` depends on it. Infinity if there is none (hinge):
        the loss, which must then be 0 or more, is smoothed without changing the optimum, see `smoothing`.
    is_quadratic
        True if the second derivative is constant, which saves evaluations.

    Raises
    ------
    ValueError
        If the curvature is not above 0.
    TypeError
        If a function takes other arguments or, at first use, if numba cannot compile it.
    """

    value: Function
    derivative: Function
    curvature: float
    is_quadratic: bool = False

    def __post_init__(self) -> None:
        for role, function in (("value", self.value), ("derivative", self.derivative)):
            taken = inspect.signature(function)
            if len(taken.parameters) != 2:
                raise TypeError(f"{role} must take (prediction, target); {function.__name__} takes {taken}")
        if not self.curvature > 0:
            raise ValueError(f"curvature must be above 0, and math.inf where there is no bound; got {self.curvature!r}")

    def compiled(self) -> tuple[Any, Any]:
        """Return both functions, compiled, as passed to compiled loops."""
        return _compile(self.value), _compile(self.derivative)


@cache
def _compile(function: Function) -> Any:
    is_in_a_file = Path(function.__code__.co_filename).exists()  # numba cannot cache interactive functions on disk
    with readable("loss", function):
        return cfunc(_signature, cache=is_in_a_file)(function)


def _squared(prediction, target):
    return 0.5 * (prediction - target) ** 2


def _squared_slope(prediction, target):
    return prediction - target


def _huber(prediction, target):
    error = abs(prediction - target)
    return 0.5 * error * error if error <= 1.0 else error - 0.5


def _huber_slope(prediction, target):
    return max(-1.0, min(1.0, prediction - target))


def _logistic(prediction, target):
    margin = prediction * target
    return max(0.0, -margin) + math.log1p(math.exp(-abs(margin)))


def _logistic_slope(prediction, target):
    margin = prediction * target
    decay = math.exp(-abs(margin))
    return -target * (decay if margin > 0 else 1.0) / (1.0 + decay)


def _hinge(prediction, target):
    return max(0.0, 1.0 - prediction * target)


def _hinge_slope(prediction, target):
    return -target if prediction * target < 1.0 else 0.0


def _squared_hinge(prediction, target):
    return max(0.0, 1.0 - prediction * target) ** 2


def _squared_hinge_slope(prediction, target):
    return -2.0 * target * max(0.0, 1.0 - prediction * target)


def _falling_square(prediction, target):
    return -0.5 * prediction * prediction


def _falling_square_slope(prediction, target):
    return -prediction


REGRESSION: dict[str, Loss] = {
    "squared": Loss(_squared, _squared_slope, 1.0, is_quadratic=True),
    "huber": Loss(_huber, _huber_slope, 1.0),
}
"""Regression losses. ``"squared"`` is half the squared error; ``"huber"`` is linear beyond an error of 1."""

CLASSIFICATION: dict[str, Loss] = {
    "logistic": Loss(_logistic, _logistic_slope, 0.25),
    "hinge": Loss(_hinge, _hinge_slope, math.inf),
    "squared_hinge": Loss(_squared_hinge, _squared_hinge_slope, 2.0),
}
"""Classification losses, for labels -1 and 1."""

FALLING_SQUARE = Loss(_falling_square, _falling_square_slope, 1.0, is_quadratic=True)
"""Minus half the squared prediction. With enough ridge penalty the objective is convex (shift-and-invert)."""
