"""The compiled forward pass of a head, on one thread: one transformer layer over embeddings and states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.models.cpu.forward import ATTENTION_IN, ATTENTION_OUT, DOWN, UP
from etesian.decode.models.cpu.instructions import exponential
from etesian.decode.models.cpu.products import multiply, prepare, stride_of
from etesian.decode.models.cpu.tiles import PANEL

OUTPUT, FUSE = 0, 1
"""Products in the row after the layer's."""
EMBEDDING_NORM, STATE_NORM, INNER_NORM, FINAL_NORM, QUERY_NORM, KEY_NORM, FEATURE_NORM = range(7)
_LANES = 2  # of no effect on block weights


class HeadShape(NamedTuple):
    """Hyperparameters of the pass."""

    width: int
    n_heads: int
    n_key_heads: int
    head_width: int
    inner_width: int
    n_outputs: int
    norm_epsilon: np.float32
    norm_before_residual: bool
    has_head_norms: bool
    has_residual: bool


class HeadCache(NamedTuple):
    """Keys and values of one text by slot, and rotations by position."""

    keys: NDArray[np.float32]  # (key head, slot, head_width)
    values: NDArray[np.float32]
    cosines: NDArray[np.float32]  # (position, head_width // 2)
    sines: NDArray[np.float32]


class HeadScratch(NamedTuple):
    """Working memory of a pass, flat."""

    wide: NDArray[np.float32]  # inputs of products; rows are `stride_of(n_in)` apart
    heads: NDArray[np.float32]  # queries, keys and values, or both parts of the feed-forward block
    panel: NDArray[np.float32]
    records: NDArray[np.uint8]
    scores: NDArray[np.float32]


@njit(nogil=True, cache=True, error_model="numpy")
def run_head(
    shape, weights, norms, cache, scratch, embeddings, states, positions, slots, n_kept, is_seen, outputs, logits
):  # fmt: skip
    """Compute the new states and the logits of some rows.

    `embeddings` and `states`, of shape (n_rows, width), are the input; `outputs` receives the states, and `logits` the logits.
    `slots` are the cache slots of the rows; a row sees all kept slots, and slot ``n_kept + node`` where `is_seen[row, node]`.
    """
    n_rows, width = states.shape
    stride = stride_of(2 * width)
    for row in range(n_rows):
        start = row * stride
        _normalize(embeddings[row], norms[EMBEDDING_NORM], shape.norm_epsilon, scratch.wide, start)
        _normalize(states[row], norms[STATE_NORM], shape.norm_epsilon, scratch.wide, start + width)
        for i in range(width):
            outputs[row, i] = scratch.wide[start + width + i] if shape.norm_before_residual else states[row, i]
    n_heads = (shape.n_heads + 2 * shape.n_key_heads) * shape.head_width
    n_first = n_heads + (width if shape.has_residual else 0)
    multiply_all(weights, 0, ATTENTION_IN, 2 * width, n_first, n_rows, scratch, scratch.heads)
    for row in range(n_rows):
        start = row * n_first
        _store(shape, norms, cache, scratch.heads, start, positions[row], slots[row])
        for i in range(n_first - n_heads):
            outputs[row, i] += scratch.heads[start + n_heads + i]
    for row in range(n_rows):
        _attend(shape, cache, scratch, row, n_first, n_kept, is_seen[row])
    attended = shape.n_heads * shape.head_width
    multiply_all(weights, 0, ATTENTION_OUT, attended, width, n_rows, scratch, scratch.heads)
    _add(scratch.heads, outputs)
    stride = stride_of(width)
    for row in range(n_rows):
        _normalize(outputs[row], norms[INNER_NORM], shape.norm_epsilon, scratch.wide, row * stride)
    multiply_all(weights, 0, UP, width, 2 * shape.inner_width, n_rows, scratch, scratch.heads)
    _activate(shape.inner_width, n_rows, scratch)
    multiply_all(weights, 0, DOWN, shape.inner_width, width, n_rows, scratch, scratch.heads)
    _add(scratch.heads, outputs)
    for row in range(n_rows):
        _normalize(outputs[row], norms[FINAL_NORM], shape.norm_epsilon, scratch.wide, row * stride)
    multiply_all(weights, 1, OUTPUT, width, shape.n_outputs, n_rows, scratch, logits)


@njit(nogil=True, cache=True, error_model="numpy")
def fuse_features(weights, norm, epsilon, has_norm, scratch, features, states):
    """Compute the states of rows from the target's hidden states."""
    n_rows, n_in = features.shape
    stride = stride_of(n_in)
    for row in range(n_rows):
        if has_norm:
            _normalize(features[row], norm, epsilon, scratch.wide, row * stride)
        else:
            for i in range(n_in):
                scratch.wide[row * stride + i] = features[row, i]
    multiply_all(weights, 1, FUSE, n_in, states.shape[1], n_rows, scratch, states.reshape(-1))


@njit(nogil=True, cache=True, error_model="numpy")
def multiply_all(weights, layer, kind, n_in, n_out, n_rows, scratch, out):
    """Multiply rows of `scratch.wide` with a whole matrix; `out` is flat, of shape (n_rows, n_out)."""
    prepare(weights, layer, kind, scratch.wide, n_rows, n_in, scratch.records)
    for j in range((n_out + PANEL - 1) // PANEL):
        multiply(weights, layer, kind, j, scratch.wide, n_rows, n_in, _LANES, scratch.records, scratch.panel, 0)
        n_columns = min(PANEL, n_out - j * PANEL)
        for row in range(n_rows):
            for c in range(n_columns):
                out[row * n_out + j * PANEL + c] = scratch.panel[row * PANEL + c]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _mean_square(x):
    total = np.float32(0)
    for value in x:
        total += value * value
    return total / np.float32(len(x))


@njit(nogil=True, cache=True, error_model="numpy")
def _normalize(x, factors, epsilon, out, start):
    scale = np.float32(1) / np.sqrt(_mean_square(x) + epsilon)
    for i in range(len(x)):
        out[start + i] = x[i] * scale * factors[i]


@njit(nogil=True, cache=True, error_model="numpy")
def _add(flat, outputs):
    n_rows, width = outputs.shape
    for row in range(n_rows):
        for i in range(width):
            outputs[row, i] += flat[row * width + i]


@njit(nogil=True, cache=True, error_model="numpy")
def _activate(inner_width, n_rows, scratch):
    """Gate the feed-forward block: SiLU of the first half of `heads` times the second half."""
    stride, one = stride_of(inner_width), np.float32(1)
    for row in range(n_rows):
        start = row * 2 * inner_width
        for i in range(inner_width):
            gate = scratch.heads[start + i]
            gate = gate / (one + exponential(-gate))
            scratch.wide[row * stride + i] = gate * scratch.heads[start + inner_width + i]


@njit(nogil=True, cache=True, error_model="numpy")
def _store(shape, norms, cache, heads, start, position, slot):
    """Rotate the queries and keys of a row in place, and store keys and values."""
    width, n_queries = shape.head_width, shape.n_heads
    for head in range(n_queries + shape.n_key_heads):
        place = start + head * width
        if shape.has_head_norms:
            factors = norms[QUERY_NORM] if head < n_queries else norms[KEY_NORM]
            _normalize(heads[place : place + width], factors, shape.norm_epsilon, heads, place)
        for i in range(width // 2):
            cosine, sine = cache.cosines[position, i], cache.sines[position, i]
            x, y = heads[place + i], heads[place + width // 2 + i]
            heads[place + i] = x * cosine - y * sine
            heads[place + width // 2 + i] = y * cosine + x * sine
    for head in range(shape.n_key_heads):
        key = start + (n_queries + head) * width
        value = key + shape.n_key_heads * width
        for i in range(width):
            cache.keys[head, slot, i] = heads[key + i]
            cache.values[head, slot, i] = heads[value + i]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _dot(x, start, y):
    total = np.float32(0)
    for i in range(len(y)):
        total += x[start + i] * y[i]
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _attend(shape, cache, scratch, row, n_heads, n_kept, is_seen):
    """Write the attention output of a row where the next product reads it."""
    width, group = shape.head_width, shape.n_heads // shape.n_key_heads
    scale = np.float32(1) / np.sqrt(np.float32(width))
    n_slots, scores = n_kept + len(is_seen), scratch.scores
    out = row * stride_of(shape.n_heads * width)
    for head in range(shape.n_heads):
        keys, values = cache.keys[head // group], cache.values[head // group]
        query, largest = row * n_heads + head * width, np.float32(-np.inf)
        for slot in range(n_slots):
            scores[slot] = np.float32(-np.inf)
            if slot < n_kept or is_seen[slot - n_kept]:
                scores[slot] = _dot(scratch.heads, query, keys[slot]) * scale
                largest = max(largest, scores[slot])
        total = np.float32(0)
        for i in range(width):
            scratch.wide[out + head * width + i] = np.float32(0)
        for slot in range(n_slots):
            if scores[slot] == np.float32(-np.inf):
                continue
            weight = exponential(scores[slot] - largest)
            total += weight
            for i in range(width):
                scratch.wide[out + head * width + i] += weight * values[slot, i]
        for i in range(width):
            scratch.wide[out + head * width + i] /= total
