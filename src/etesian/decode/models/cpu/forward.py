"""MAIN PATH of the CPU engine: `run_pass`, the compiled forward pass of a tree of tokens on several threads.

All sums of a row have one order, whatever other rows are in the pass, wherever its keys are, and for any number of threads: terms
of a product in the order of the input, keys in the order of positions. Slots that a row does not see have a weight of exactly zero,
which changes no bit. A row of a tree therefore has the bits of plain decoding.
"""

from __future__ import annotations

from numba import njit

from etesian._shared.barrier import wait_for_all
from etesian.decode.models.cpu.activations import apply_activation, capped
from etesian.decode.models.cpu.attention import attend_texts, row_stride_of_heads
from etesian.decode.models.cpu.instructions import read, write
from etesian.decode.models.cpu.norms import spread_of
from etesian.decode.models.cpu.pass_arrays import (
    ATTENTION_IN,
    ATTENTION_OUT,
    ATTENTION_OUT_NORM,
    DOWN,
    DOWN_NORM,
    FINAL_NORM,
    FIRST_NORM,
    KEY_NORM,
    OUTPUT,
    QUERY_NORM,
    SECOND_NORM,
    UP,
)
from etesian.decode.models.cpu.products import multiply, prepare, share, stride_of
from etesian.decode.models.cpu.tiles import PANEL


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
        attend_texts(worker, n_workers, shape, weights, layer, cache, scratch, rows)
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
        mean, scale = spread_of(shape, scratch.hidden, start, shape.width)
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
        mean, scale = spread_of(shape, scratch.branch, start, shape.width)
        for i in range(shape.width):
            value = (read(scratch.branch, start + i) - mean) * scale * read(weights.vectors, factor + i)
            value = (value + read(weights.vectors, term + i)) * shape.residual_scale
            write(scratch.hidden, start + i, read(scratch.hidden, start + i) + value)


@njit(nogil=True, cache=True, error_model="numpy")
def _normalize_heads(worker, n_workers, shape, weights, layer, scratch, rows):
    """Normalize the queries of all heads as one row, and the keys as another, in place."""
    stride, n_queries = row_stride_of_heads(shape), shape.n_heads * shape.head_width
    n_keys = shape.n_key_heads * shape.head_width
    for row in range(worker, len(rows.tokens), n_workers):
        for part in range(2):
            kind, n = (KEY_NORM, n_keys) if part else (QUERY_NORM, n_queries)
            start, factor = row * stride + part * n_queries, weights.vector_starts[layer, kind]
            _, scale = spread_of(shape, scratch.heads, start, n)
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
                value = capped(value * shape.logit_scale, shape.logit_cap)
                write(logits, row * shape.vocabulary_size + j * PANEL + c, value)


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
        apply_activation(shape.activation, panel, n_rows * PANEL)
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
