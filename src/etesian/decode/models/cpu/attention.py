"""Attention of the rows of a pass to the caches of their texts; see `etesian.decode.models.cpu.forward` for the order of sums."""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import overload

from etesian.decode.models.cpu.activations import capped
from etesian.decode.models.cpu.instructions import address_as_pointer, exponential, larger, read, write
from etesian.decode.models.cpu.norms import spread_of
from etesian.decode.models.cpu.pass_arrays import (
    CAPACITY,
    COSINES,
    FIRST_NODE,
    FIRST_ROW,
    FIRST_SEEN,
    KEY_NORM,
    KEYS,
    MIXED,
    N_KEPT,
    N_NODES,
    N_OWN_ROWS,
    N_POSITIONS,
    QUERY_NORM,
    SINES,
    VALUES,
    Cache,
    Caches,
    Rows,
    Scratch,
)
from etesian.decode.models.cpu.products import stride_of
from etesian.decode.models.cpu.tiles import MIX_ROWS, PANEL, dot, mix


def attend_texts(worker, n_workers, shape, weights, layer, cache, scratch, rows):
    """Let the rows of each text attend to the text's own cache."""
    raise NotImplementedError  # compiled code has the overload below


@overload(attend_texts, jit_options={"nogil": True, "error_model": "numpy"})
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
    heads, inner = first * row_stride_of_heads(shape), first * stride_of(shape.n_heads * shape.head_width)
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
        _, scale = spread_of(shape, heads, place, shape.head_width)
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
def row_stride_of_heads(shape):
    return ((shape.n_heads + 2 * shape.n_key_heads) * shape.head_width + PANEL - 1) // PANEL * PANEL


@njit(nogil=True, cache=True, error_model="numpy")
def _store(shape, weights, layer, head, cache, scratch, rows):
    """Store the keys and values of all rows."""
    n_rows, width = len(rows.tokens), shape.head_width
    n_old, start = len(rows.positions) - n_rows, weights.vector_starts[layer, KEY_NORM]
    for row in range(n_rows):
        key = row * row_stride_of_heads(shape) + (shape.n_heads + head) * width
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
        place = row * row_stride_of_heads(shape) + (head * group + query % group) * width
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
            write(scores, start + slot, capped(read(scores, start + slot) * scale, shape.attention_cap))
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
