"""Activations of the feed-forward block, and the cap of logits and scores."""

from __future__ import annotations

import numpy as np
from numba import njit

from etesian.decode.models.cpu.instructions import exponential, read, write
from etesian.decode.models.cpu.pass_arrays import ACTIVATIONS

_GELU, _GELU_TANH, _RELU, _SILU = range(len(ACTIVATIONS))


@njit(nogil=True, cache=True, error_model="numpy")
def apply_activation(activation, x, n):
    """Apply the activation in a loop of its own, so that the compiler can vectorize it."""
    one = np.float32(1)
    if activation == _RELU:
        for i in range(n):
            write(x, i, max(read(x, i), np.float32(0)))
    elif activation == _GELU:
        for i in range(n):
            write(x, i, read(x, i) * _normal_chance(read(x, i)))
    elif activation == _GELU_TANH:  # (1 + tanh(u)) / 2 is 1 / (1 + exp(-2 u))
        for i in range(n):
            v = read(x, i)
            u = np.float32(1.5957691216) * (v + np.float32(0.044715) * v * v * v)
            write(x, i, v / (one + exponential(-u)))
    else:
        for i in range(n):
            write(x, i, read(x, i) / (one + exponential(-read(x, i))))


@njit(nogil=True, cache=True, error_model="numpy")
def _normal_chance(x):
    """Return the standard normal distribution function at x (Abramowitz and Stegun 7.1.26, error below 1e-7)."""
    z = abs(x) * np.float32(0.70710678)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    series = np.float32(1.061405429) * t - np.float32(1.453152027)
    series = (series * t + np.float32(1.421413741)) * t - np.float32(0.284496736)
    tail = np.float32(0.5) * (series * t + np.float32(0.254829592)) * t * exponential(-z * z)
    return np.float32(1) - tail if x > 0 else tail


@njit(nogil=True, cache=True, error_model="numpy")
def capped(value, cap):
    """Return ``cap * tanh(value / cap)``; the value itself if `cap` is 0."""
    if cap == 0:
        return value
    two, one = np.float32(2), np.float32(1)
    return cap * (one - two / (one + exponential(two * value / cap)))
