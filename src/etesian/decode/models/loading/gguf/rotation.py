"""Rotary position embeddings of a GGUF file: frequencies, scaled according to its metadata."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.loading.gguf.directory import Gguf
from etesian.decode.models.loading.gguf.hyperparameters import Hyperparameters
from etesian.decode.models.loading.gguf.tensors import vector
from etesian.errors import InputError

FAST_TURNS, SLOW_TURNS = 32.0, 1.0
"""Turns within the original context above which frequencies stay, and below which they are divided (YaRN, Peng et al. 2023)."""


def rotation(file: Gguf, numbers: Hyperparameters, width: int) -> tuple[NDArray[np.float32], float]:
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
        If the kind of scaling is not supported.
    """
    base = numbers.number("rope.freq_base", 10_000.0)
    speeds = unscaled_speeds(base, width)
    kind = numbers.get("rope.scaling.type") or "none"
    factor = numbers.number("rope.scaling.factor", numbers.number("rope.scale_linear", 1.0))
    scale = numbers.number("rope.scaling.attn_factor", 1.0)
    if kind == "yarn":
        original = numbers.whole("rope.scaling.original_context_length")
        speeds, scale = _yarn(speeds, base, factor, original), scale * (0.1 * math.log(factor) + 1)
    elif kind in ("none", "linear"):
        speeds = speeds / factor
    elif kind != "longrope":
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


def _yarn(speeds: NDArray[np.float64], base: float, factor: float, original: int) -> NDArray[np.float64]:
    """Keep frequencies that turn often within the original context, and divide those that hardly turn by `factor`."""
    width = 2 * len(speeds)

    def pair_that_turns(times: float) -> float:
        return width * math.log(original / (times * 2 * math.pi)) / (2 * math.log(base))

    first = max(math.floor(pair_that_turns(FAST_TURNS)), 0)
    last = min(math.ceil(pair_that_turns(SLOW_TURNS)), width - 1)
    share = np.clip((np.arange(len(speeds)) - first) / max(last - first, 1e-3), 0, 1)
    mixed: NDArray[np.float64] = speeds * (1 - share) + speeds / factor * share
    return mixed
