"""Functions that compiled loops call on a penalty, and the registry of penalties.

A penalty is a `NamedTuple` of numbers. Compiled loops choose its functions by its class when they are compiled, so that
the functions are inlined and the loops can be cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray


class Penalty(Protocol):
    """Separable convex penalty: a `NamedTuple` of floats, with a class that `register` registers."""

    @property
    def strong_convexity(self) -> float:
        """Lower bound of the second derivative, 0 or more."""

    @property
    def sets_zeros(self) -> bool:
        """Return True if steps can set a coefficient to exactly 0."""

    def conjugate(self, gradient: NDArray[np.float64]) -> tuple[float, float]:
        """Return a number t, and the sum over coefficients of the convex conjugate at t times their gradients.

        t is the largest number of at most 1 for which the sum is finite. The duality gap of nonsmooth losses needs it.
        """

    def __iter__(self) -> Iterator[float]:
        """Iterate over the fields."""


class _Functions(NamedTuple):
    value: Callable[..., Any]
    slope: Callable[..., Any]
    step: Callable[..., Any]
    prepare: Callable[..., Any]
    advance: Callable[..., Any]
    sets_zeros: Callable[..., Any]


_REGISTERED: dict[type, _Functions] = {}


def register(
    kind: type,
    *,
    value: Callable[..., Any],
    slope: Callable[..., Any],
    step: Callable[..., Any],
    prepare: Callable[..., Any],
    advance: Callable[..., Any],
    sets_zeros: Callable[..., Any],
) -> None:
    """Register the functions of a penalty class, which numba compiles.

    Parameters
    ----------
    kind
        Penalty class, a `NamedTuple`.
    value : function of (penalty, x)
        Penalty of one coefficient.
    slope : function of (penalty, x)
        Derivative of the penalty, or the subgradient nearest to 0.
    step : function of (penalty, x, size, gradient)
        One update of a coefficient: a gradient step of the smooth part, followed by the proximal operator of the
        remainder.
    prepare : function of (penalty, n, size)
        Precomputed tuple for `advance` with n steps of one size, shared by all outputs.
    advance : function of (penalty, prepared, x, gradient)
        Result of n applications of `step` with the same gradient, in closed form.
    sets_zeros : function of (penalty)
        True if `step` can set a coefficient to exactly 0.
    """
    _REGISTERED[kind] = _Functions(value, slope, step, prepare, advance, sets_zeros)


def value_of(penalty: Any, x: Any) -> Any:
    """Return the penalty of one coefficient."""
    raise NotImplementedError("for compiled loops only")


def slope_of(penalty: Any, x: Any) -> Any:
    """Return the derivative of the penalty of one coefficient."""
    raise NotImplementedError("for compiled loops only")


def take_step(penalty: Any, x: Any, size: Any, gradient: Any) -> Any:
    """Return a coefficient after one step."""
    raise NotImplementedError("for compiled loops only")


def prepare_steps(penalty: Any, n: Any, size: Any) -> Any:
    """Return the precomputed tuple of `take_steps` for n steps of one size."""
    raise NotImplementedError("for compiled loops only")


def take_steps(penalty: Any, prepared: Any, x: Any, gradient: Any) -> Any:
    """Return a coefficient after n steps with one gradient."""
    raise NotImplementedError("for compiled loops only")


def sets_zeros(penalty: Any) -> Any:
    """Return whether steps can set a coefficient to exactly 0."""
    raise NotImplementedError("for compiled loops only")


@overload(value_of, jit_options={"forceinline": True})
def _value_of(penalty, x):
    return _REGISTERED[penalty.instance_class].value


@overload(slope_of, jit_options={"forceinline": True})
def _slope_of(penalty, x):
    return _REGISTERED[penalty.instance_class].slope


@overload(take_step, jit_options={"forceinline": True})
def _take_step(penalty, x, size, gradient):
    return _REGISTERED[penalty.instance_class].step


@overload(prepare_steps, jit_options={"forceinline": True})
def _prepare_steps(penalty, n, size):
    return _REGISTERED[penalty.instance_class].prepare


@overload(take_steps, jit_options={"forceinline": True})
def _take_steps(penalty, prepared, x, gradient):
    return _REGISTERED[penalty.instance_class].advance


@overload(sets_zeros, jit_options={"forceinline": True})
def _sets_zeros(penalty):
    return _REGISTERED[penalty.instance_class].sets_zeros
