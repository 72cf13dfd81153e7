"""Arrays of a forward pass: shape of the network, caches, working memory and rows, and the places of weights by their kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu.tiles import PANEL, VECTOR

ATTENTION_IN, ATTENTION_OUT, UP, DOWN = range(4)
FIRST_NORM, SECOND_NORM, QUERY_NORM, KEY_NORM, ATTENTION_OUT_NORM, DOWN_NORM = range(4, 10)
N_VECTORS = 10
OUTPUT, FINAL_NORM = ATTENTION_IN, FIRST_NORM  # in the row after the last layer's
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")
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
