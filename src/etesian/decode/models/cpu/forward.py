"""MAIN PATH of the CPU engine: `run_pass`, the compiled forward pass of a tree of tokens on several threads.

All sums of a row have one order, whatever other rows are in the pass, wherever its keys are, and for any number of threads: terms
of a product in the order of the input, keys in the order of positions. Slots that a row does not see have a weight of exactly zero,
which changes no bit. A row of a tree therefore has the bits of plain decoding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.extending import overload
from numpy.typing import NDArray

from etesian._shared.barrier import wait_for_all
from etesian.decode.models.cpu.instructions import (
    address_as_pointer,
    exponential,
    larger,
    read,
    write,
)
from etesian.decode.models.cpu.products import multiply, prepare, share, stride_of
from etesian.decode.models.cpu.tiles import MIX_ROWS, PANEL, VECTOR, dot, mix

ATTENTION_IN, ATTENTION_OUT, UP, DOWN = range(4)
FIRST_NORM, SECOND_NORM, QUERY_NORM, KEY_NORM, ATTENTION_OUT_NORM, DOWN_NORM = range(4, 10)
N_VECTORS = 10
OUTPUT, FINAL_NORM = ATTENTION_IN, FIRST_NORM  # in the row after the last layer's
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")
_GELU, _GELU_TANH, _RELU, _SILU = range(4)
MIXED = PANEL + VECTOR
"""Columns written by a summed tile."""


class Shape(NamedTuple):
    """Hyperparameters of the pass; a step takes `lanes` inputs (2 in bfloat16, 1 in float32)."""

    n_layers: int
    n_heads: int
    n_key_heads: int
    head_width: int
    value_width: int  # a head's width in whole panels
    width: int
    inner_width: int
    vocabulary_size: int
    rotary_width: int
    lanes: int
    activation: int
    is_rms: bool
    is_gated: bool
    is_parallel: bool
    has_head_norms: bool
    norms_all_heads: bool  # one norm for the queries of all heads, one for the keys
    has_first_norms: bool
    has_out_norms: bool  # norms after attention and feed-forward, before they join the residual stream
    norm_epsilon: np.float32
    attention_scale: np.float32
    embedding_scale: np.float32
    residual_scale: np.float32
    logit_scale: np.float32
    attention_cap: np.float32  # 0: none
    logit_cap: np.float32


class Cache(NamedTuple):
    """Keys in panels of slots and values by slot, flat, with one slot per token; rotations by position."""

    keys: NDArray[Any]  # (layer, head, panel of slots, step, slot, lane)
    values: NDArray[Any]  # (layer, head, slot, value_width)
    cosines: NDArray[np.float32]  # (table, position, rotary_width // 2)
    sines: NDArray[np.float32]
    capacity: int
    n_positions: int


class Caches(NamedTuple):
    """The caches of several texts whose rows share a pass, by address, with the nodes of all of them one after another."""

    table: NDArray[np.int64]  # (text, entry); see the constants below
    positions: NDArray[np.int64]  # of all nodes of all texts
    is_seen: NDArray[np.uint8]  # (row, node) of each text, flat
    like: NDArray[Any]  # an array of the type of keys and values


KEYS, VALUES, COSINES, SINES, CAPACITY, N_POSITIONS, N_KEPT = range(7)
FIRST_ROW, N_OWN_ROWS, FIRST_NODE, N_NODES, FIRST_SEEN = range(7, 12)
N_ENTRIES = 12


class Scratch(NamedTuple):
    """Working memory of a pass: rows shared by all threads, and blocks per thread."""

    hidden: NDArray[np.float32]  # the residual stream: (row, width)
    branch: NDArray[np.float32]  # outputs to normalize before they are added to the stream: (row, width)
    normed: NDArray[Any]  # inputs of products: (row, stride)
    normed_twice: NDArray[Any]
    inner: NDArray[Any]
    heads: NDArray[np.float32]  # queries, keys and values: (row, heads)
    panels: NDArray[np.float32]  # (thread, ...)
    queries: NDArray[Any]
    scores: NDArray[np.float32]
    mixed: NDArray[np.float32]
    records: NDArray[np.uint8]  # rows as quantized weights read them
    kept_layers: NDArray[np.int64]  # layers whose inputs are kept; `n_layers` is the input of the output layer
    kept_states: NDArray[np.float32]  # (row, kept layer * width)
    barrier: NDArray[np.int64]


class Rows(NamedTuple):
    """Input of a pass: tokens, positions, and the nodes that each token sees, including itself."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]  # of all nodes; the rows' own are the last
    is_seen: NDArray[np.uint8]  # (row, node)
    n_kept: int


@njit(nogil=True, cache=True, error_model="numpy")
def run_pass(worker, n_workers, shape, weights, cache, scratch, rows, logits):
    """Run one thread's part of a pass; an empty `logits` array skips the output layer.

    `cache` is the `Cache` of one text, or the `Caches` of several texts, whose rows stand one after another.
    """
    _embed(worker, n_workers, shape, weights, scratch, rows)
    for layer in range(shape.n_layers):
        _keep_states(worker, n_workers, shape, layer, scratch, rows)
        _normalize(worker, n_workers, shape, weights, layer, FIRST_NORM, scratch, rows, scratch.normed)
        if shape.is_parallel:
            _normalize(worker, n_workers, shape, weights, layer, SECOND_NORM, scratch, rows, scratch.normed_twice)
        wait_for_all(scratch.barrier, n_workers)
        _project_heads(worker, n_workers, shape, weights, layer, scratch, rows)
        wait_for_all(scratch.barrier, n_workers)
        if shape.norms_all_heads:
            _normalize_heads(worker, n_workers, shape, weights, layer, scratch, rows)
            wait_for_all(scratch.barrier, n_workers)
        _attend_texts(worker, n_workers, shape, weights, layer, cache, scratch, rows)
        wait_for_all(scratch.barrier, n_workers)
        attended = shape.n_heads * shape.head_width
        _add_product(worker, n_workers, shape, weights, layer, ATTENTION_OUT, attended, scratch, rows)
        wait_for_all(scratch.barrier, n_workers)
        if shape.has_out_norms:  # by rows, as is the next norm
            _add_branch(worker, n_workers, shape, weights, layer, ATTENTION_OUT_NORM, scratch, rows)
        if not shape.is_parallel:
            _normalize(worker, n_workers, shape, weights, layer, SECOND_NORM, scratch, rows, scratch.normed_twice)
            wait_for_all(scratch.barrier, n_workers)
        _activate(worker, n_workers, shape, weights, layer, scratch, rows)
        wait_for_all(scratch.barrier, n_workers)
        _add_product(worker, n_workers, shape, weights, layer, DOWN, shape.inner_width, scratch, rows)
        wait_for_all(scratch.barrier, n_workers)
        if shape.has_out_norms:
            _add_branch(worker, n_workers, shape, weights, layer, DOWN_NORM, scratch, rows)
    if len(logits) > 0 or len(scratch.kept_layers) > 0:
        _normalize(worker, n_workers, shape, weights, shape.n_layers, FINAL_NORM, scratch, rows, scratch.normed)
        _keep_states(worker, n_workers, shape, shape.n_layers, scratch, rows)
    if len(logits) > 0:
        wait_for_all(scratch.barrier, n_workers)
        _project_logits(worker, n_workers, shape, weights, scratch, rows, logits)


@njit(nogil=True, cache=True, error_model="numpy")
def _embed(worker, n_workers, shape, weights, scratch, rows):
    n_rows = len(rows.tokens)
    positions = rows.positions[len(rows.positions) - n_rows :]
    for row in range(worker, n_rows, n_workers):
        source, place = rows.tokens[row] * shape.width, positions[row] * shape.width
        for i in range(shape.width):
            value = read(weights.embedding, source + i) * shape.embedding_scale
            if shape.rotary_width == 0:
                value += read(weights.positions, place + i)
            write(scratch.hidden, row * shape.width + i, value)


@njit(nogil=True, cache=True, error_model="numpy")
def _keep_states(worker, n_workers, shape, layer, scratch, rows):
    """Copy the inputs of a layer, or of the output layer, if they are to be kept."""
    width, n_kept = shape.width, len(scratch.kept_layers)
    for place in range(n_kept):
        if scratch.kept_layers[place] != layer:
            continue
        for row in range(worker, len(rows.tokens), n_workers):
            start, target = row * width, (row * n_kept + place) * width
            if layer == shape.n_layers:
                start = row * stride_of(width)
            for i in range(width):
                value = read(scratch.normed, start + i) if layer == shape.n_layers else read(scratch.hidden, start + i)
                write(scratch.kept_states, target + i, value)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _mean_and_square(x, start, n, center):
    """Return the mean, and the mean square about `center`; the order of sums depends on `n` alone."""
    total, squares = np.float32(0), np.float32(0)
    for i in range(n):
        value = read(x, start + i)
        total += value
        difference = value - center
        squares += difference * difference
    return total / np.float32(n), squares / np.float32(n)


@njit(nogil=True, cache=True, error_model="numpy")
def _spread_of(shape, x, start, n):
    """Return the mean that a norm subtracts, and the factor that scales a row to unit size."""
    mean = np.float32(0)
    if not shape.is_rms:
        mean, _ = _mean_and_square(x, start, n, mean)
    _, square = _mean_and_square(x, start, n, mean)
    return mean, np.float32(1) / np.sqrt(square + shape.norm_epsilon)


@njit(nogil=True, cache=True, error_model="numpy")
def _normalize(worker, n_workers, shape, weights, layer, kind, scratch, rows, out):
    factor = weights.vector_starts[layer, kind]
    term = factor + shape.width
    stride = stride_of(shape.width)
    is_normed = shape.has_first_norms or layer == shape.n_layers
    for row in range(worker, len(rows.tokens), n_workers):
        start = row * shape.width
        if not is_normed:
            for i in range(shape.width):
                write(out, row * stride + i, read(scratch.hidden, start + i))
            continue
        mean, scale = _spread_of(shape, scratch.hidden, start, shape.width)
        for i in range(shape.width):
            value = (read(scratch.hidden, start + i) - mean) * scale * read(weights.vectors, factor + i)
            write(out, row * stride + i, value + read(weights.vectors, term + i))


@njit(nogil=True, cache=True, error_model="numpy")
def _add_branch(worker, n_workers, shape, weights, layer, kind, scratch, rows):
    """Normalize the output of attention or feed-forward, and add it to the residual stream."""
    factor = weights.vector_starts[layer, kind]
    term = factor + shape.width
    for row in range(worker, len(rows.tokens), n_workers):
        start = row * shape.width
        mean, scale = _spread_of(shape, scratch.branch, start, shape.width)
        for i in range(shape.width):
            value = (read(scratch.branch, start + i) - mean) * scale * read(weights.vectors, factor + i)
            value = (value + read(weights.vectors, term + i)) * shape.residual_scale
            write(scratch.hidden, start + i, read(scratch.hidden, start + i) + value)


@njit(nogil=True, cache=True, error_model="numpy")
def _normalize_heads(worker, n_workers, shape, weights, layer, scratch, rows):
    """Normalize the queries of all heads as one row, and the keys as another, in place."""
    stride, n_queries = _row_stride_of_heads(shape), shape.n_heads * shape.head_width
    n_keys = shape.n_key_heads * shape.head_width
    for row in range(worker, len(rows.tokens), n_workers):
        for part in range(2):
            kind, n = (KEY_NORM, n_keys) if part else (QUERY_NORM, n_queries)
            start, factor = row * stride + part * n_queries, weights.vector_starts[layer, kind]
            _, scale = _spread_of(shape, scratch.heads, start, n)
            for i in range(n):
                write(
                    scratch.heads, start + i, read(scratch.heads, start + i) * scale * read(weights.vectors, factor + i)
                )


@njit(nogil=True, cache=True, error_model="numpy")
def _project_heads(worker, n_workers, shape, weights, layer, scratch, rows):
    """Compute queries, keys and values of all heads."""
    n_panels = ((shape.n_heads + 2 * shape.n_key_heads) * shape.head_width + PANEL - 1) // PANEL
    bias, stride = weights.vector_starts[layer, ATTENTION_IN], n_panels * PANEL
    n_rows, panel, records = len(rows.tokens), scratch.panels[worker], scratch.records[worker]
    prepare(weights, layer, ATTENTION_IN, scratch.normed, n_rows, shape.width, records)
    first, last = share(n_panels, worker, n_workers)
    for j in range(first, last):
        multiply(weights, layer, ATTENTION_IN, j, scratch.normed, n_rows, shape.width, shape.lanes, records, panel, 0)
        for row in range(len(rows.tokens)):
            for c in range(PANEL):
                value = read(panel, row * PANEL + c) + read(weights.vectors, bias + j * PANEL + c)
                write(scratch.heads, row * stride + j * PANEL + c, value)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_product(worker, n_workers, shape, weights, layer, kind, n_in, scratch, rows):
    """Add a block's last product to the residual stream, or keep it apart if it is normalized first."""
    n_panels, panel, records = (shape.width + PANEL - 1) // PANEL, scratch.panels[worker], scratch.records[worker]
    bias, n_rows = weights.vector_starts[layer, kind], len(rows.tokens)
    prepare(weights, layer, kind, scratch.inner, n_rows, n_in, records)
    first, last = share(n_panels, worker, n_workers)
    for j in range(first, last):
        multiply(weights, layer, kind, j, scratch.inner, n_rows, n_in, shape.lanes, records, panel, 0)
        for row in range(len(rows.tokens)):
            for c in range(min(PANEL, shape.width - j * PANEL)):
                place = row * shape.width + j * PANEL + c
                value = read(panel, row * PANEL + c) + read(weights.vectors, bias + j * PANEL + c)
                if shape.has_out_norms:
                    write(scratch.branch, place, value)
                else:
                    write(scratch.hidden, place, read(scratch.hidden, place) + value * shape.residual_scale)


@njit(nogil=True, cache=True, error_model="numpy")
def _project_logits(worker, n_workers, shape, weights, scratch, rows, logits):
    n_panels, panel = (shape.vocabulary_size + PANEL - 1) // PANEL, scratch.panels[worker]
    bias, n_rows, records = weights.vector_starts[shape.n_layers, OUTPUT], len(rows.tokens), scratch.records[worker]
    prepare(weights, shape.n_layers, OUTPUT, scratch.normed, n_rows, shape.width, records)
    first, last = share(n_panels, worker, n_workers)
    for j in range(first, last):
        multiply(
            weights, shape.n_layers, OUTPUT, j, scratch.normed, n_rows, shape.width, shape.lanes, records, panel, 0
        )
        for row in range(len(rows.tokens)):
            for c in range(min(PANEL, shape.vocabulary_size - j * PANEL)):
                value = read(panel, row * PANEL + c) + read(weights.vectors, bias + j * PANEL + c)
                value = _capped(value * shape.logit_scale, shape.logit_cap)
                write(logits, row * shape.vocabulary_size + j * PANEL + c, value)


@njit(nogil=True, cache=True, error_model="numpy")
def _capped(value, cap):
    """Return ``cap * tanh(value / cap)``; the value itself if `cap` is 0."""
    if cap == 0:
        return value
    two, one = np.float32(2), np.float32(1)
    return cap * (one - two / (one + exponential(two * value / cap)))


@njit(nogil=True, cache=True, error_model="numpy")
def _activate(worker, n_workers, shape, weights, layer, scratch, rows):
    """Compute the feed-forward block up to its activation; panels of gate and up projection alternate."""
    n_rows, n_parts = len(rows.tokens), 2 if shape.is_gated else 1
    n_panels, panel = (shape.inner_width + PANEL - 1) // PANEL, scratch.panels[worker]
    records, stride = scratch.records[worker], stride_of(shape.inner_width)
    prepare(weights, layer, UP, scratch.normed_twice, n_rows, shape.width, records)
    first, last = share(n_panels, worker, n_workers)
    for j in range(first, last):
        bias = weights.vector_starts[layer, UP] + j * n_parts * PANEL
        for part in range(n_parts):
            multiply(
                weights, layer, UP, j * n_parts + part, scratch.normed_twice, n_rows, shape.width, shape.lanes,
                records, panel, part * n_rows * PANEL,
            )  # fmt: skip
        _add_bias(panel, 0, n_rows, weights.vectors, bias)
        _apply(shape.activation, panel, n_rows * PANEL)
        if shape.is_gated:
            _add_bias(panel, n_rows * PANEL, n_rows, weights.vectors, bias + PANEL)
            for i in range(n_rows * PANEL):
                write(panel, i, read(panel, i) * read(panel, n_rows * PANEL + i))
        for row in range(n_rows):
            for c in range(min(PANEL, shape.inner_width - j * PANEL)):
                write(scratch.inner, row * stride + j * PANEL + c, read(panel, row * PANEL + c))


@njit(nogil=True, cache=True)
def _add_bias(panel, start, n_rows, vectors, bias):
    for row in range(n_rows):
        for c in range(PANEL):
            place = start + row * PANEL + c
            write(panel, place, read(panel, place) + read(vectors, bias + c))


@njit(nogil=True, cache=True, error_model="numpy")
def _apply(activation, x, n):
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


def _attend_texts(worker, n_workers, shape, weights, layer, cache, scratch, rows):
    """Let the rows of each text attend to the text's own cache."""
    raise NotImplementedError  # compiled code has the overload below


@overload(_attend_texts, jit_options={"nogil": True, "error_model": "numpy"})
def _overload_attend_texts(worker, n_workers, shape, weights, layer, cache, scratch, rows):
    def attend_one(worker, n_workers, shape, weights, layer, cache, scratch, rows):
        _attend(worker, n_workers, shape, weights, layer, cache, scratch, rows)

    def attend_several(worker, n_workers, shape, weights, layer, cache, scratch, rows):
        for text in range(len(cache.table)):
            own = _rows_of(cache, text, rows)
            part = _scratch_of(cache, text, shape, scratch)
            _attend(worker, n_workers, shape, weights, layer, _cache_of(cache, text, shape, rows), part, own)

    is_several = isinstance(cache, types.NamedTuple) and cache.instance_class is Caches
    return attend_several if is_several else attend_one


@njit(nogil=True, cache=True)
def _cache_of(caches, text, shape, rows):
    entry, half = caches.table[text], max(shape.rotary_width // 2, 1)
    n_slots = shape.n_layers * shape.n_key_heads * entry[CAPACITY]
    floats = np.empty(0, np.float32)
    n_turns = 2 * entry[N_POSITIONS] * half  # at most: the second table exists in some families only
    return Cache(
        carray(address_as_pointer(entry[KEYS], caches.like), n_slots * shape.head_width),
        carray(address_as_pointer(entry[VALUES], caches.like), n_slots * shape.value_width),
        carray(address_as_pointer(entry[COSINES], floats), n_turns),
        carray(address_as_pointer(entry[SINES], floats), n_turns),
        entry[CAPACITY],
        entry[N_POSITIONS],
    )


@njit(nogil=True, cache=True)
def _rows_of(caches, text, rows):
    entry = caches.table[text]
    first, n_rows, node, n_nodes = entry[FIRST_ROW], entry[N_OWN_ROWS], entry[FIRST_NODE], entry[N_NODES]
    seen = entry[FIRST_SEEN]
    return Rows(
        rows.tokens[first : first + n_rows],
        caches.positions[node : node + n_nodes],
        caches.is_seen[seen : seen + n_rows * n_nodes].reshape(n_rows, n_nodes),
        entry[N_KEPT],
    )


@njit(nogil=True, cache=True)
def _scratch_of(caches, text, shape, scratch):
    first = caches.table[text, FIRST_ROW]
    heads, inner = first * _row_stride_of_heads(shape), first * stride_of(shape.n_heads * shape.head_width)
    return Scratch(
        scratch.hidden,
        scratch.branch,
        scratch.normed,
        scratch.normed_twice,
        scratch.inner[inner:],
        scratch.heads[heads:],
        scratch.panels,
        scratch.queries,
        scratch.scores,
        scratch.mixed,
        scratch.records,
        scratch.kept_layers,
        scratch.kept_states,
        scratch.barrier,
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _attend(worker, n_workers, shape, weights, layer, cache, scratch, rows):
    """Store new keys and values, and attend; each key head belongs to one thread."""
    group = shape.n_heads // shape.n_key_heads
    n_slots = rows.n_kept + len(rows.positions)
    queries, scores, mixed = scratch.queries[worker], scratch.scores[worker], scratch.mixed[worker]
    for head in range(worker, shape.n_key_heads, n_workers):
        _store(shape, weights, layer, head, cache, scratch, rows)
        _prepare_queries(shape, weights, layer, head, cache, scratch, rows, queries)
        keys = (layer * shape.n_key_heads + head) * cache.capacity * shape.head_width
        values = (layer * shape.n_key_heads + head) * cache.capacity * shape.value_width
        n_queries = len(rows.tokens) * group
        for first in range(0, n_queries, MIX_ROWS):
            height = min(MIX_ROWS, n_queries - first)
            _score_slots(shape, height, queries, first, cache, keys, n_slots, scores)
            for i in range(height):
                _weigh(shape, weights.windows[layer], rows, (first + i) // group, scores, i * cache.capacity)
            for j in range(0, shape.head_width, PANEL):
                mix(
                    height, scores, 0, cache.capacity, cache.values, values + j, shape.value_width, n_slots,
                    mixed, 0, MIXED, False, values + j, 0,
                )  # fmt: skip
                _write_mixed(shape, mixed, height, first, group, head, j, scratch.inner)


@njit(nogil=True, cache=True, error_model="numpy")
def _turn(shape, weights, start, cache, table, heads, place, position):
    """Normalize (if the family does) and rotate a query or key in place."""
    if shape.has_head_norms and not shape.norms_all_heads:
        _, scale = _spread_of(shape, heads, place, shape.head_width)
        for i in range(shape.head_width):
            write(heads, place + i, read(heads, place + i) * scale * read(weights.vectors, start + i))
    half = shape.rotary_width // 2
    for i in range(half):
        turn = (table * cache.n_positions + position) * half + i
        cosine, sine = read(cache.cosines, turn), read(cache.sines, turn)
        x, y = read(heads, place + i), read(heads, place + half + i)
        write(heads, place + i, x * cosine - y * sine)
        write(heads, place + half + i, y * cosine + x * sine)


@njit(nogil=True, cache=True)
def _row_stride_of_heads(shape):
    return ((shape.n_heads + 2 * shape.n_key_heads) * shape.head_width + PANEL - 1) // PANEL * PANEL


@njit(nogil=True, cache=True, error_model="numpy")
def _store(shape, weights, layer, head, cache, scratch, rows):
    """Store the keys and values of all rows."""
    n_rows, width = len(rows.tokens), shape.head_width
    n_old, start = len(rows.positions) - n_rows, weights.vector_starts[layer, KEY_NORM]
    for row in range(n_rows):
        key = row * _row_stride_of_heads(shape) + (shape.n_heads + head) * width
        value = key + shape.n_key_heads * width
        _turn(shape, weights, start, cache, weights.rotations[layer], scratch.heads, key, rows.positions[n_old + row])
        slot = (layer * shape.n_key_heads + head) * cache.capacity + rows.n_kept + n_old + row
        for i in range(width):
            write(cache.values, slot * shape.value_width + i, read(scratch.heads, value + i))
        for i in range(width):  # a separate loop, so that the other one vectorizes
            write(cache.keys, key_place(slot, i, width, shape.lanes), read(scratch.heads, key + i))


@njit(nogil=True, cache=True)
def key_place(slot, i, width, lanes):
    """Return the place of number `i` of a slot's key; slots are numbered across layers and heads. There are 1 or 2 lanes."""
    step, lane = i >> (lanes - 1), i & (lanes - 1)  # avoids a slow division
    return (slot // PANEL * width + step * lanes) * PANEL + slot % PANEL * lanes + lane


@njit(nogil=True, cache=True, error_model="numpy")
def _prepare_queries(shape, weights, layer, head, cache, scratch, rows, queries):
    n_rows, width, group = len(rows.tokens), shape.head_width, shape.n_heads // shape.n_key_heads
    n_old, start = len(rows.positions) - n_rows, weights.vector_starts[layer, QUERY_NORM]
    for query in range(n_rows * group):
        row = query // group
        place = row * _row_stride_of_heads(shape) + (head * group + query % group) * width
        _turn(shape, weights, start, cache, weights.rotations[layer], scratch.heads, place, rows.positions[n_old + row])
        for i in range(width):
            write(queries, query * width + i, read(scratch.heads, place + i))


@njit(nogil=True, cache=True)
def _score_slots(shape, height, queries, first, cache, keys, n_slots, scores):
    width, step = shape.head_width, PANEL * shape.lanes
    for slot in range(0, n_slots, PANEL):
        start = keys + slot * width
        n_steps = width // shape.lanes
        dot(
            height, queries, first * width, width, cache.keys, start, step, n_steps,
            scores, slot, cache.capacity, False, start, 0,
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _largest(x, start, n):
    largest = read(x, start)
    for i in range(n):
        largest = larger(largest, read(x, start + i))
    return largest


@njit(nogil=True, cache=True, error_model="numpy")
def _weigh(shape, window, rows, row, scores, start):
    """Turn a row's scores into unnormalized weights, exactly zero at hidden slots; `mix` also sums them."""
    n_nodes, scale = len(rows.positions), shape.attention_scale
    if shape.attention_cap > 0:
        for slot in range(rows.n_kept + n_nodes):
            write(scores, start + slot, _capped(read(scores, start + slot) * scale, shape.attention_cap))
        scale = np.float32(1)
    earliest = rows.positions[n_nodes - len(rows.tokens) + row] - window + 1
    for slot in range(min(earliest, rows.n_kept)):
        scores[start + slot] = -np.inf
    for node in range(n_nodes):
        if rows.is_seen[row, node] == 0 or rows.positions[node] < earliest:
            scores[start + rows.n_kept + node] = -np.inf
    n_slots = rows.n_kept + n_nodes
    largest = _largest(scores, start, n_slots)
    for slot in range(n_slots):
        write(scores, start + slot, exponential((read(scores, start + slot) - largest) * scale))


@njit(nogil=True, cache=True, error_model="numpy")
def _write_mixed(shape, mixed, height, first, group, head, column, out):
    stride = stride_of(shape.n_heads * shape.head_width)
    for i in range(height):
        query = first + i
        scale = np.float32(1) / mixed[i * MIXED + PANEL]
        place = query // group * stride + (head * group + query % group) * shape.head_width + column
        for c in range(min(PANEL, shape.head_width - column)):
            write(out, place + c, read(mixed, i * MIXED + c) * scale)


@njit(nogil=True, cache=True)
def move_slots(shape, cache, source, target, n):
    """Copy keys and values of `n` slots to earlier ones, in ascending order."""
    for head in range(shape.n_layers * shape.n_key_heads):
        for k in range(n):
            a, b = head * cache.capacity + source[k], head * cache.capacity + target[k]
            for i in range(shape.head_width):
                key = cache.keys[key_place(a, i, shape.head_width, shape.lanes)]
                cache.keys[key_place(b, i, shape.head_width, shape.lanes)] = key
                cache.values[b * shape.value_width + i] = cache.values[a * shape.value_width + i]
