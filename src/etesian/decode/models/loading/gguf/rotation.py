"""Rotary position embeddings of a GGUF file: frequencies, scaled according to its metadata."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.loading.gguf.directory import Gguf
from etesian.decode.models.loading.gguf.metadata import Metadata
from etesian.decode.models.loading.gguf.tensors import vector
from etesian.errors import InputError

DEFAULT_BASE = 10_000.0
FAST_TURNS, SLOW_TURNS = 32.0, 1.0
"""Turns within the original context above which frequencies stay, and below which they are divided (YaRN, Peng et al. 2023)."""


def rotation(file: Gguf, numbers: Metadata, width: int) -> tuple[NDArray[np.float32], float]:
    """Return the angle by which each pair turns per position, and a factor for all cosines and sines.

    Parameters
    ----------
    file, numbers
    width
        Number of rotated dimensions per head.

    Returns
    -------
    speeds : ndarray of float32, shape (width / 2,)
    scale : float

    Raises
    ------
    InputError
        If the kind of scaling, or a number of it, is not supported.
    """
    base = numbers.above(1, "rope.freq_base", DEFAULT_BASE)
    speeds = unscaled_speeds(base, width)
    kind = numbers.text("rope.scaling.type", "") or "linear"
    scale = numbers.number("rope.scaling.attn_factor", 1.0)
    if kind == "yarn":
        speeds, scale = _yarn(numbers, speeds, base), scale * _yarn_scale(numbers)
    elif kind == "linear":
        speeds = speeds / _scaling_factor(numbers)
    elif kind == "longrope" and "rope_factors_short.weight" not in file.tensors:
        raise InputError(f"{str(file.path)!r} has no tensor 'rope_factors_short.weight'; convert the model again")
    elif kind not in ("none", "longrope"):
        raise InputError(
            f"{str(file.path)!r} has rotary scaling of type {kind!r}; supported are none, linear, yarn and longrope"
        )
    return (speeds / _factors(file, len(speeds))).astype(np.float32), scale


def unscaled_speeds(base: float, width: int) -> NDArray[np.float64]:
    """Return the angle by which each pair i turns per position: ``base ** (-2 i / width)``."""
    speeds: NDArray[np.float64] = base ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    return speeds


def _factors(file: Gguf, n: int) -> NDArray[np.float64]:
    """Return the divisor of each pair: that of Llama 3, or that of Phi 3 for texts within the original context."""
    for name in ("rope_freqs.weight", "rope_factors_short.weight"):
        if name in file.tensors:
            return vector(file, name, n).astype(np.float64)
    return np.ones(n)


def _scaling_factor(numbers: Metadata) -> float:
    """Return how many times longer texts may be than the original ones; a file may state 0 for 1."""
    name = "rope.scale_linear" if numbers.get("rope.scaling.factor") is None else "rope.scaling.factor"
    return 1.0 if numbers.number(name, 1.0) == 0 else numbers.above(0, name, 1.0)


def _yarn(numbers: Metadata, speeds: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """Keep frequencies that turn often within the original context, and divide those that hardly turn by the factor."""
    if numbers.number("rope.scaling.yarn_ext_factor", 1.0) != 1.0:
        raise InputError(f"{numbers.entry('rope.scaling.yarn_ext_factor')} is set, which is not supported")
    width = 2 * len(speeds)
    original = numbers.whole("rope.scaling.original_context_length", numbers.whole("context_length"))

    def pair_that_turns(times: float) -> float:
        return width * math.log(original / (times * 2 * math.pi)) / (2 * math.log(base))

    fast = numbers.above(0, "rope.scaling.yarn_beta_fast", FAST_TURNS)
    slow = numbers.above(0, "rope.scaling.yarn_beta_slow", SLOW_TURNS)
    first = max(math.floor(pair_that_turns(fast)), 0)
    last = min(math.ceil(pair_that_turns(slow)), width - 1)
    share = np.clip((np.arange(len(speeds)) - first) / max(last - first, 1e-3), 0, 1)
    mixed: NDArray[np.float64] = speeds * (1 - share) + speeds / _scaling_factor(numbers) * share
    return mixed


def _yarn_scale(numbers: Metadata) -> float:
    """Return the factor of cosines and sines: the file's own, or that of the paper."""
    return numbers.number("rope.scaling.yarn_attn_factor", 0.1 * math.log(max(_scaling_factor(numbers), 1.0)) + 1)
