"""Attention on the CPU whose rows have the same bits wherever their keys lie and whatever other rows are in the pass.

The keys that a row sees are summed in ascending order of their slots, which is the order of positions, and hidden slots are
skipped. A row of a tree therefore has the bits of plain decoding. transformers calls it through its `AttentionInterface`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from transformers import AttentionInterface

from etesian.decode.models.cpu.instructions import exponential, read, write

NAME = "etesian_row_exact"
_FEW_PRODUCTS = 20_000  # below, a second thread costs more than it saves
_UNSUPPORTED = ("s_aux", "position_bias", "head_mask")


def row_exact_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to the visible slots in ascending order.

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer; unused.
    query : tensor, shape (1, n_heads, n_rows, head_size)
    key : tensor, shape (1, n_key_heads, n_slots, head_size)
    value : tensor, shape (1, n_key_heads, n_slots, value_size)
    attention_mask : tensor of bool, shape (1, 1, n_rows, n_slots)
        True for visible slots. Rows that see nothing become zero.
    scaling : float, optional
        Factor of the scores; by default 1 / sqrt(head_size).
    softcap : float, optional
        Scores become softcap * tanh(score / softcap).

    Returns
    -------
    output : tensor, shape (1, n_rows, n_heads, value_size)
    None
        In place of the attention weights.

    Raises
    ------
    NotImplementedError
        If the layer asks for a bias or sink that this function does not apply.
    """
    del module
    if unsupported := [name for name in _UNSUPPORTED if others.get(name) is not None]:
        raise NotImplementedError(f"row-exact attention does not support {', '.join(unsupported)}")
    if attention_mask is None or attention_mask.dtype != torch.bool or query.shape[0] != 1:
        raise NotImplementedError("row-exact attention needs one text and a mask of booleans")
    query = query.contiguous()
    n_heads, n_rows, head_size = query.shape[1:]
    output = torch.empty((1, n_rows, n_heads, value.shape[3]), dtype=query.dtype)
    scale = head_size**-0.5 if scaling is None else scaling
    keys, key_stride = _flat(key)
    values, value_stride = _flat(value)
    is_seen = attention_mask[0, 0].contiguous().view(torch.uint8).numpy()
    sizes = (n_heads, n_rows, head_size, value.shape[3], n_heads // key.shape[1], key_stride, value_stride)
    arrays = (_array(query), keys, values, is_seen, _array(output))
    numbers = (np.float32(scale), np.float32(softcap or 0.0))
    n_workers = torch.get_num_threads() if int(is_seen.sum()) * n_heads * head_size > _FEW_PRODUCTS else 1
    others_at_work = [
        _pool(n_workers).submit(_attend, worker, n_workers, sizes, numbers, *arrays) for worker in range(1, n_workers)
    ]
    _attend(0, n_workers, sizes, numbers, *arrays)
    for worker in others_at_work:
        worker.result()
    return output, None


AttentionInterface.register(NAME, row_exact_attention)


@contextmanager
def attention_in_use(config: Any) -> Iterator[None]:
    """Let models with this configuration use row-exact attention within the block."""
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@cache
def _pool(n_workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(n_workers - 1, 1), thread_name_prefix="etesian-attention")


def _flat(heads: torch.Tensor) -> tuple[NDArray[Any], int]:
    """Return keys or values as a flat array, and the distance between heads in it."""
    n_heads, n_slots, size = heads.shape[1:]
    if heads.stride(3) != 1 or heads.stride(2) != size:
        heads = heads.contiguous()
    stride = heads.stride(1) if n_heads > 1 else n_slots * size
    flat = heads.as_strided(((n_heads - 1) * stride + n_slots * size,), (1,))
    return _array(flat), stride


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a flat numpy view; bfloat16 as its bits."""
    flat = tensor.detach().reshape(-1) if tensor.ndim > 1 else tensor.detach()
    array: NDArray[Any] = flat.view(torch.uint16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy()
    return array


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _score(query: Any, row_start: Any, keys: Any, slot_start: Any, size: Any) -> Any:
    """Dot product; its order of sums depends on `size` alone."""
    total = np.float32(0)
    for i in range(size):
        total += read(query, row_start + i) * read(keys, slot_start + i)
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _attend(
    worker: Any, n_workers: Any, sizes: Any, numbers: Any, query: Any, keys: Any, values: Any, is_seen: Any, output: Any
) -> None:
    """Compute every `n_workers`-th pair of row and head, starting with `worker`."""
    n_heads, n_rows, head_size, value_size, group, key_stride, value_stride = sizes
    scale, softcap = numbers
    n_slots = is_seen.shape[1]
    scores, mixed = np.empty(n_slots, np.float32), np.empty(value_size, np.float32)
    for place in range(worker, n_rows * n_heads, n_workers):
        row, head = place // n_heads, place % n_heads
        highest = np.float32(-np.inf)
        for slot in range(n_slots):
            if is_seen[row, slot] == 0:
                continue
            start = head // group * key_stride + slot * head_size
            score = _score(query, (head * n_rows + row) * head_size, keys, start, head_size) * scale
            if softcap > 0:
                score = softcap * np.float32(math.tanh(score / softcap))
            scores[slot] = score
            highest = max(highest, score)
        total = np.float32(0)
        mixed[:] = np.float32(0)
        for slot in range(n_slots):
            if is_seen[row, slot] == 0:
                continue
            weight = exponential(scores[slot] - highest)
            total += weight
            start = head // group * value_stride + slot * value_size
            for i in range(value_size):
                mixed[i] += weight * read(values, start + i)
        share = np.float32(1) / total if total > 0 else np.float32(0)
        for i in range(value_size):
            write(output, place * value_size + i, mixed[i] * share)
