"""Truncation by top-k, top-p and min-p, each as the lowest logit that is kept; ties with it are kept too."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.sampling.options import Sampling

Row = NDArray[np.float32]
_BANDS = (3.0, 8.0, 20.0, math.inf)  # nats below the best logit; the first band usually holds enough probability


def lowest_kept(logits: Row, sampling: Sampling) -> float:
    """Return the lowest logit that may be chosen; as in transformers, top-p applies to the tokens that top-k keeps.

    Parameters
    ----------
    logits : ndarray of float32, shape (vocabulary_size,)
    sampling : Sampling
    """
    temperature = float(sampling.temperature or 1.0)
    lowest = float(np.finfo(np.float32).min)  # tokens that are ruled out have a logit of minus infinity
    if sampling.top_k is not None and sampling.top_k < len(logits):
        lowest = max(lowest, _kth_largest(logits, sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        lowest = max(lowest, _top_p_bound(logits, temperature, sampling.top_p, lowest))
    if sampling.min_p is not None:
        lowest = max(lowest, float(logits.max()) + temperature * math.log(sampling.min_p))
    return lowest


def likeliest(scores: NDArray[np.floating], count: int) -> list[int]:
    """Return the `count` tokens with the highest scores, best first; ties go to the lower token."""
    if count == 0:
        return []
    lowest = np.partition(scores, -count)[-count] if count < len(scores) else -np.inf
    tokens = np.flatnonzero(scores >= lowest)
    ranked: list[int] = tokens[np.argsort(-scores[tokens], kind="stable")].tolist()
    return ranked[:count]


def _top_p_bound(logits: Row, temperature: float, top_p: float, lowest: float) -> float:
    """Nucleus sampling, Holtzman et al. (2020), section 3.1: keep tokens until their probabilities reach `top_p`."""
    best = float(logits.max())
    kept = logits if lowest < -1e30 else logits[logits >= lowest]
    mass = top_p * float(_weights(kept, best, temperature).sum(dtype=np.float64))
    for band in _BANDS:
        likeliest = -np.sort(-kept[kept >= best - band * temperature])
        mass_to_here = np.cumsum(_weights(likeliest, best, temperature), dtype=np.float64)
        if mass_to_here[-1] >= mass:
            break
    return float(likeliest[min(int(np.searchsorted(mass_to_here, mass)), len(likeliest) - 1)])


def _weights(logits: Row, best: float, temperature: float) -> Row:
    return np.exp((logits - np.float32(best)) / np.float32(temperature))


@njit(nogil=True, cache=True)
def _kth_largest(logits: Any, k: int) -> float:
    largest = [logits[token] for token in range(k)]
    heapq.heapify(largest)
    for token in range(k, len(logits)):
        if logits[token] > largest[0]:
            heapq.heapreplace(largest, logits[token])
    return float(largest[0])
