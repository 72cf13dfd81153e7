"""A network of plain numbers, its matrices rounded to a quantized type as they are packed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from etesian.decode.models.cpu.architecture import Layer, Linear, Network
from etesian.decode.models.cpu.quantized.formats import BLOCK
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks


def quantized(network: Network, type_name: str) -> Network:
    """Round all matrices but the table of embeddings.

    Parameters
    ----------
    network
        With tensors of torch.
    type_name
        A type of blocks of 32 inputs, such as ``"Q8_0"``. Matrices whose rows are no multiple of 32 long stay float32.
    """
    return replace(
        network,
        embedding=_table(network.embedding),
        positions=None if network.positions is None else _floats(network.positions).reshape(-1),
        final_norm=_norm(network.final_norm),
        output=_rounded(network.output, type_name),
        rotation_speeds=None if network.rotation_speeds is None else _floats(network.rotation_speeds),
        second_rotation_speeds=None
        if network.second_rotation_speeds is None
        else _floats(network.second_rotation_speeds),
        read_layer=partial(_layer, network, type_name),
    )


def _layer(network: Network, type_name: str, index: int) -> Layer:
    layer = network.read_layer(index)
    changed: dict[str, Any] = {}
    for name in ("first_norm", "second_norm", "query_norm", "key_norm", "attention_out_norm", "down_norm"):
        norm = getattr(layer, name)
        changed[name] = None if norm is None else _norm(norm)
    for name in ("attention_in", "attention_out", "up", "gate", "down"):
        linear = getattr(layer, name)
        changed[name] = None if linear is None else _rounded(linear, type_name)
    return replace(layer, **changed)


def _rounded(linear: Linear, type_name: str) -> Linear:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    weight = _floats(linear.weight)
    name = "F32" if weight.shape[1] % BLOCK else type_name
    rows = weight if name == "F32" else quantize(weight, GGMLQuantizationType[name])
    matrix = BlockMatrix(name, np.ascontiguousarray(rows).view(np.uint8), weight.shape[1])
    return Linear(StackedBlocks((matrix,)), None if linear.bias is None else _floats(linear.bias))


def _table(embedding: Any) -> BlockMatrix:
    """The table as it is: bfloat16 bits, or float32."""
    import torch

    name = "BF16" if embedding.dtype == torch.bfloat16 else "F32"
    rows = embedding.contiguous().view(torch.uint8).numpy() if name == "BF16" else _floats(embedding).view(np.uint8)
    return BlockMatrix(name, rows, embedding.shape[1])


def _norm(norm: Linear) -> Linear:
    return Linear(_floats(norm.weight), None if norm.bias is None else _floats(norm.bias))


def _floats(tensor: Any) -> Any:
    return tensor.detach().float().contiguous().cpu().numpy()
