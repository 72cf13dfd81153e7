"""Memory of the forward passes of a model: key-value caches, working memory, and the hidden states that a pass leaves there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.barrier import new_shared
from etesian.decode.models.cpu.packing import aligned_zeros
from etesian.decode.models.cpu.pass_arrays import MIXED, Cache, Scratch
from etesian.decode.models.cpu.products import BlockWeights, stride_of
from etesian.decode.models.cpu.quantized.activations import record_stride
from etesian.decode.models.cpu.tiles import LINE, MIX_ROWS, PANEL

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel

LONGEST_PASS = 64
"""Maximum rows per pass; longer texts are split, which does not change any bit."""


def new_cache(model: CpuModel, capacity: int) -> Cache:
    shape, dtype = model.shape, _cache_type(model)
    n_slots = shape.n_layers * shape.n_key_heads * capacity
    keys = aligned_zeros(n_slots * shape.head_width, dtype)
    values = aligned_zeros(n_slots * shape.value_width, dtype)
    n_positions = capacity + LONGEST_PASS
    return Cache(keys, values, *model.rotations(n_positions), capacity, n_positions)


def rotation_tables(speeds: Any, scale: float, n_positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines and sines of one table, computed by torch if the frequencies are a tensor."""
    if speeds is None:
        return np.ones(1, np.float32), np.zeros(1, np.float32)
    if isinstance(speeds, np.ndarray):
        angles = np.outer(np.arange(n_positions, dtype=np.float32), speeds).reshape(-1)
        return np.cos(angles) * np.float32(scale), np.sin(angles) * np.float32(scale)
    import torch

    turns = torch.outer(torch.arange(n_positions).float(), speeds.float().cpu()).flatten()
    return (turns.cos() * scale).numpy(), (turns.sin() * scale).numpy()


def new_scratch(model: CpuModel, capacity: int) -> Scratch:
    shape, n_rows, n_threads = model.shape, LONGEST_PASS, model.n_threads
    has_blocks = isinstance(model.weights, BlockWeights)
    dtype = np.float32 if has_blocks else model.weights.packed.dtype
    attended, group = shape.n_heads * shape.head_width, shape.n_heads // shape.n_key_heads
    heads = stride_of((shape.n_heads + 2 * shape.n_key_heads) * shape.head_width)
    longest = max(shape.width, shape.inner_width, attended)
    return Scratch(
        hidden=aligned_zeros(n_rows * shape.width, np.float32),
        branch=aligned_zeros(n_rows * shape.width, np.float32),
        normed=aligned_zeros(n_rows * stride_of(shape.width), dtype),
        normed_twice=aligned_zeros(n_rows * stride_of(shape.width), dtype),
        inner=aligned_zeros(n_rows * stride_of(max(shape.inner_width, attended)), dtype),
        heads=aligned_zeros(n_rows * heads, np.float32),
        panels=aligned_zeros(n_threads * n_rows * 2 * PANEL, np.float32).reshape(n_threads, -1),
        queries=aligned_zeros(n_threads * n_rows * group * shape.head_width, _cache_type(model)).reshape(n_threads, -1),
        scores=aligned_zeros(n_threads * MIX_ROWS * capacity, np.float32).reshape(n_threads, -1),
        mixed=aligned_zeros(n_threads * MIX_ROWS * MIXED, np.float32).reshape(n_threads, -1),
        records=aligned_zeros(n_threads * (n_rows * record_stride(longest) if has_blocks else LINE), np.uint8).reshape(
            n_threads, -1
        ),
        kept_layers=np.array(model.kept_layers, np.int64),
        kept_states=aligned_zeros(n_rows * len(model.kept_layers) * shape.width, np.float32),
        barrier=new_shared(),
    )


def _cache_type(model: CpuModel) -> Any:
    """Return the type of keys and values: the bits of bfloat16, unless all weights are float32."""
    return np.float32 if model.weights.packed.dtype == np.float32 else np.uint16


def hidden_rows(model: CpuModel, scratch: Scratch, first: int, n_rows: int) -> NDArray[np.float32]:
    """Return the hidden states of rows of the last pass: of the kept layers, else the inputs of the output layer."""
    if n_kept := len(scratch.kept_layers):
        width = n_kept * model.shape.width
        return scratch.kept_states[first * width : (first + n_rows) * width].reshape(n_rows, width)
    width, stride = model.shape.width, stride_of(model.shape.width)
    rows = scratch.normed[first * stride : (first + n_rows) * stride].reshape(n_rows, stride)[:, :width]
    if rows.dtype == np.uint16:  # the bits of bfloat16
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows
