"""The compiled forward pass of a head, on several threads: one transformer layer over embeddings and states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.barrier import wait_for_all
from etesian.decode.models.cpu.instructions import exponential
from etesian.decode.models.cpu.pass_arrays import ATTENTION_IN, ATTENTION_OUT, DOWN, UP
from etesian.decode.models.cpu.products import multiply, prepare, share, stride_of
from etesian.decode.models.cpu.tiles import PANEL

OUTPUT, FUSE = 0, 1
"""Products in the row after the layer's."""
EMBEDDING_NORM, STATE_NORM, INNER_NORM, FINAL_NORM, QUERY_NORM, KEY_NORM, FEATURE_NORM = range(7)
_LANES = 1  # of no effect on block weights


class HeadShape(NamedTuple):
    """Hyperparameters of the pass."""

    width: int
    n_heads: int
    n_key_heads: int
    head_width: int
    inner_width: int  # in whole panels
    n_outputs: int
    norm_epsilon: np.float32
    norm_before_residual: bool
    has_head_norms: bool
    has_residual: bool  # whether a product of the inputs is added to the residual stream; it stands after queries, keys and values


class HeadCache(NamedTuple):
    """Keys and values of one text by slot, and rotations by position."""

    keys: NDArray[np.float32]  # (key head, slot, head_width)
    values: NDArray[np.float32]
    cosines: NDArray[np.float32]  # (position, head_width // 2)
    sines: NDArray[np.float32]


class HeadScratch(NamedTuple):
    """Working memory of a pass, flat; the first axis of `wide`, `records`, `panels` and `scores` is the thread."""

    wide: NDArray[
        np.float32
    ]  # inputs of products that each thread computes for itself; rows are `stride_of(n_in)` apart
    records: NDArray[np.uint8]
    panels: NDArray[np.float32]
    scores: NDArray[np.float32]
    heads: NDArray[np.float32]  # queries, keys and values
    inner: NDArray[np.float32]  # outputs of attention, or of the feed-forward block's activation; like `wide`
    barrier: NDArray[np.int64]


class HeadRows(NamedTuple):
    """Input of a pass: a row sees all kept slots, and slot ``n_kept + node`` where `is_seen[row, node]`.

    Only the rows from `first_scored` on get logits.
    """

    embeddings: NDArray[np.float32]  # (n_rows, width)
    states: NDArray[np.float32]
    positions: NDArray[np.int64]
    slots: NDArray[np.int64]
    n_kept: int
    is_seen: NDArray[np.bool_]
    first_scored: int


@njit(nogil=True, cache=True, error_model="numpy")
def run_head(worker, n_workers, shape, weights, norms, cache, scratch, rows, outputs, logits):
    """Run one thread's part of a pass; `outputs` receives the new states, and `logits` those of the scored rows, flat."""
    n_rows, width = rows.states.shape
    wide = scratch.wide[worker]
    _read_inputs(worker, n_workers, shape, norms, rows, wide, outputs)
    wait_for_all(scratch.barrier, n_workers)  # all have set their part of the residual stream
    _project_heads(worker, n_workers, shape, weights, scratch, wide, n_rows, outputs)
    wait_for_all(scratch.barrier, n_workers)
    for row in range(worker, n_rows, n_workers):
        _store(shape, norms, cache, scratch.heads, row * _head_stride(shape), rows.positions[row], rows.slots[row])
    wait_for_all(scratch.barrier, n_workers)
    for task in range(worker, n_rows * shape.n_heads, n_workers):
        _attend(shape, cache, scratch, task // shape.n_heads, task % shape.n_heads, rows, scratch.scores[worker])
    wait_for_all(scratch.barrier, n_workers)
    attended = shape.n_heads * shape.head_width
    _add_product(worker, n_workers, weights, ATTENTION_OUT, attended, scratch, n_rows, outputs)
    wait_for_all(scratch.barrier, n_workers)
    for row in range(n_rows):
        _normalize(outputs[row], norms[INNER_NORM], shape.norm_epsilon, wide, row * stride_of(width))
    _activate(worker, n_workers, shape, weights, scratch, wide, n_rows)
    wait_for_all(scratch.barrier, n_workers)
    _add_product(worker, n_workers, weights, DOWN, shape.inner_width, scratch, n_rows, outputs)
    wait_for_all(scratch.barrier, n_workers)
    n_scored = n_rows - rows.first_scored
    for row in range(n_scored):
        state = outputs[rows.first_scored + row]
        _normalize(state, norms[FINAL_NORM], shape.norm_epsilon, wide, row * stride_of(width))
    if n_scored > 0:
        _project(worker, n_workers, weights, OUTPUT, width, shape.n_outputs, wide, scratch, n_scored, logits)


@njit(nogil=True, cache=True, error_model="numpy")
def fuse_features(worker, n_workers, weights, norm, epsilon, has_norm, scratch, features, states):
    """Compute the states of rows from the target's hidden states: one thread's part."""
    n_rows, n_in = features.shape
    stride, wide = stride_of(n_in), scratch.wide[worker]
    for row in range(n_rows):
        if has_norm:
            _normalize(features[row], norm, epsilon, wide, row * stride)
        else:
            for i in range(n_in):
                wide[row * stride + i] = features[row, i]
    n_out = states.shape[1]
    _project(worker, n_workers, weights, FUSE, n_in, n_out, wide, scratch, n_rows, states.reshape(-1))


@njit(nogil=True, cache=True, error_model="numpy")
def _project(worker, n_workers, weights, kind, n_in, n_out, wide, scratch, n_rows, out):
    """Multiply rows with a thread's part of an outer matrix; `out` is flat, of shape (n_rows, n_out)."""
    records, panel = scratch.records[worker], scratch.panels[worker]
    prepare(weights, 1, kind, wide, n_rows, n_in, records)
    first, last = share((n_out + PANEL - 1) // PANEL, worker, n_workers)
    for j in range(first, last):
        multiply(weights, 1, kind, j, wide, n_rows, n_in, _LANES, records, panel, 0)
        n_columns = min(PANEL, n_out - j * PANEL)
        for row in range(n_rows):
            for c in range(n_columns):
                out[row * n_out + j * PANEL + c] = panel[row * PANEL + c]


@njit(nogil=True, cache=True, error_model="numpy")
def _read_inputs(worker, n_workers, shape, norms, rows, wide, outputs):
    """Normalize embeddings and states, which each thread does for itself, and begin the residual stream."""
    n_rows, width = rows.states.shape
    for row in range(n_rows):
        start = row * stride_of(2 * width)
        _normalize(rows.embeddings[row], norms[EMBEDDING_NORM], shape.norm_epsilon, wide, start)
        _normalize(rows.states[row], norms[STATE_NORM], shape.norm_epsilon, wide, start + width)
        if row % n_workers == worker:
            for i in range(width):
                outputs[row, i] = wide[start + width + i] if shape.norm_before_residual else rows.states[row, i]


@njit(nogil=True, cache=True)
def _head_stride(shape):
    """Return the distance between rows of queries, keys and values, in whole panels; see `HeadShape.has_residual`."""
    n_heads = (shape.n_heads + 2 * shape.n_key_heads) * shape.head_width
    return (n_heads + PANEL - 1) // PANEL * PANEL


@njit(nogil=True, cache=True, error_model="numpy")
def _project_heads(worker, n_workers, shape, weights, scratch, wide, n_rows, outputs):
    """Compute queries, keys and values, and add the product that joins the residual stream, whose panels come after theirs."""
    width, stride, records, panel = (
        outputs.shape[1],
        _head_stride(shape),
        scratch.records[worker],
        scratch.panels[worker],
    )
    n_head_panels = stride // PANEL
    n_panels = n_head_panels + ((width + PANEL - 1) // PANEL if shape.has_residual else 0)
    prepare(weights, 0, ATTENTION_IN, wide, n_rows, 2 * width, records)
    first, last = share(n_panels, worker, n_workers)
    for j in range(first, last):
        multiply(weights, 0, ATTENTION_IN, j, wide, n_rows, 2 * width, _LANES, records, panel, 0)
        if j < n_head_panels:
            for row in range(n_rows):
                for c in range(PANEL):
                    scratch.heads[row * stride + j * PANEL + c] = panel[row * PANEL + c]
        else:
            _add_panel(panel, j - n_head_panels, n_rows, outputs)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_product(worker, n_workers, weights, kind, n_in, scratch, n_rows, outputs):
    """Add the product of the rows of `scratch.inner` to the residual stream."""
    records, panel = scratch.records[worker], scratch.panels[worker]
    prepare(weights, 0, kind, scratch.inner, n_rows, n_in, records)
    first, last = share((outputs.shape[1] + PANEL - 1) // PANEL, worker, n_workers)
    for j in range(first, last):
        multiply(weights, 0, kind, j, scratch.inner, n_rows, n_in, _LANES, records, panel, 0)
        _add_panel(panel, j, n_rows, outputs)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_panel(panel, j, n_rows, outputs):
    for row in range(n_rows):
        for c in range(min(PANEL, outputs.shape[1] - j * PANEL)):
            outputs[row, j * PANEL + c] += panel[row * PANEL + c]


@njit(nogil=True, cache=True, error_model="numpy")
def _activate(worker, n_workers, shape, weights, scratch, wide, n_rows):
    """Compute SiLU of the gate times the up projection; panels of both alternate, and the inner width is whole panels."""
    records, panel = scratch.records[worker], scratch.panels[worker]
    width, stride, one = shape.width, stride_of(shape.inner_width), np.float32(1)
    prepare(weights, 0, UP, wide, n_rows, width, records)
    first, last = share(shape.inner_width // PANEL, worker, n_workers)
    for j in range(first, last):
        for part in range(2):
            multiply(weights, 0, UP, 2 * j + part, wide, n_rows, width, _LANES, records, panel, part * n_rows * PANEL)
        for row in range(n_rows):
            for c in range(PANEL):
                gate = panel[row * PANEL + c]
                gate = gate / (one + exponential(-gate))
                scratch.inner[row * stride + j * PANEL + c] = gate * panel[(n_rows + row) * PANEL + c]


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
def _attend(shape, cache, scratch, row, head, rows, scores):
    """Write the attention output of one head of a row where the next product reads it."""
    width, group, n_kept, is_seen = shape.head_width, shape.n_heads // shape.n_key_heads, rows.n_kept, rows.is_seen[row]
    scale = np.float32(1) / np.sqrt(np.float32(width))
    n_slots = n_kept + len(is_seen)
    out = row * stride_of(shape.n_heads * width) + head * width
    keys, values = cache.keys[head // group], cache.values[head // group]
    query, largest = row * _head_stride(shape) + head * width, np.float32(-np.inf)
    for slot in range(n_slots):
        scores[slot] = np.float32(-np.inf)
        if slot < n_kept or is_seen[slot - n_kept]:
            scores[slot] = _dot(scratch.heads, query, keys[slot]) * scale
            largest = max(largest, scores[slot])
    total = np.float32(0)
    for i in range(width):
        scratch.inner[out + i] = np.float32(0)
    for slot in range(n_slots):
        if scores[slot] == np.float32(-np.inf):
            continue
        weight = exponential(scores[slot] - largest)
        total += weight
        for i in range(width):
            scratch.inner[out + i] += weight * values[slot, i]
    for i in range(width):
        scratch.inner[out + i] /= total
