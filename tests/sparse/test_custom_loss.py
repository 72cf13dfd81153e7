"""Custom losses, defined in a file or interactively: early validation, and errors of one line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from etesian.sparse import SGD, Linear, Loss, minimize
from etesian.sparse.problems.losses import REGRESSION
from etesian.sparse.problems.penalties import L2

X = csr_array(random_array((200, 30), density=0.1, rng=np.random.default_rng(0)))
X.sort_indices()
Y = np.random.default_rng(1).standard_normal(200)


def half_square(prediction, target):
    return 0.5 * (prediction - target) ** 2


def error(prediction, target):
    return prediction - target


def coefficients(loss):
    problem = Linear(X, Y, loss, L2(0.1), reduction="saga", fit_intercept=True)
    return minimize(problem, method=SGD(0.1), n_jobs=1, max_iter=5, tol=None, random_state=0).variables.coef


def test_custom_squared_loss_gives_the_bits_of_the_built_in_one():
    assert coefficients(Loss(half_square, error, 1.0)).tobytes() == coefficients(REGRESSION["squared"]).tobytes()


def test_interactively_defined_loss_can_be_used():
    typed = {}
    exec("def value(p, t):\n    return 0.5 * (p - t) ** 2\ndef slope(p, t):\n    return p - t\n", typed)
    typed_in = Loss(typed["value"], typed["slope"], 1.0)
    assert coefficients(typed_in).tobytes() == coefficients(REGRESSION["squared"]).tobytes()


def test_loss_may_be_a_closure_over_numbers():
    def scaled(factor):
        def value(prediction, target):
            return factor * 0.5 * (prediction - target) ** 2

        def derivative(prediction, target):
            return factor * (prediction - target)

        return Loss(value, derivative, factor)

    assert coefficients(scaled(1.0)).tobytes() == coefficients(REGRESSION["squared"]).tobytes()
    assert coefficients(scaled(2.0)).tobytes() != coefficients(scaled(1.0)).tobytes()


@pytest.mark.parametrize("curvature", [0.0, -1.0, math.nan])
def test_curvature_is_above_zero(curvature):
    with pytest.raises(ValueError, match=r"curvature must be above 0, and math.inf where there is no bound; got"):
        Loss(half_square, error, curvature)


def unknown(prediction, target):
    return number_of_wheels(prediction)  # noqa: F821


def text(prediction, target):
    return "wheel"


def alone(prediction):
    return prediction


def test_function_of_other_arguments_is_named_at_once():
    with pytest.raises(TypeError, match=r"derivative must take \(prediction, target\); alone takes \(prediction\)"):
        Loss(half_square, alone, 1.0)


@pytest.mark.parametrize("function", [unknown, text])
def test_function_that_cannot_be_compiled_is_named_in_one_line(function):
    with pytest.raises(TypeError, match=f"^loss {function.__name__} cannot be compiled by numba: ") as raised:
        Linear(X, Y, Loss(function, error, 1.0))
    assert "\n" not in str(raised.value)
