"""Convert the weights of a network: round its matrices to a block type, or convert all weights to bfloat16 or float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu.architecture import Layer, Linear, Network
from etesian.decode.models.cpu.quantized.formats import BLOCK
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks

if TYPE_CHECKING:
    import torch


def quantized(network: Network, type_name: str) -> Network:
    """Round all matrices except the embedding table to a block type.

    Parameters
    ----------
    network
    type_name
        A type with blocks of 32 inputs, such as ``"Q8_0"``. Matrices whose rows are not a multiple of 32 long become float32.
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


def dequantized(network: Network, dtype: torch.dtype) -> Network:
    """Convert all weights to one number type of torch.

    Parameters
    ----------
    network
        Network with matrices of GGML blocks, as read from a GGUF file.
    dtype
        ``torch.bfloat16`` or ``torch.float32``.
    """

    def convert(linear: Linear) -> Linear:
        bias = None if linear.bias is None else _tensor(linear.bias, dtype)
        return Linear(_tensor(linear.weight, dtype), bias)

    embedding = _tensor(network.embedding, dtype)
    return replace(
        network,
        embedding=embedding,
        positions=None if network.positions is None else _tensor(network.positions, dtype),
        final_norm=convert(network.final_norm),
        output=convert(network.output),
        read_layer=lambda index: _converted(network.read_layer(index), convert, convert),
    )


def bfloat16_bits(network: Network) -> Network:
    """Take matrices that are stored in bfloat16 out of their blocks, for the pass that multiplies in bfloat16.

    Parameters
    ----------
    network
        All its matrices are of type BF16. Norms, biases and rotary frequencies remain float32.
    """

    def same(norm: Linear) -> Linear:
        return norm

    def product(linear: Linear) -> Linear:
        return Linear(_bits(*linear.weight.parts), linear.bias)

    return replace(
        network,
        embedding=_bits(network.embedding),
        output=product(network.output),
        read_layer=lambda index: _converted(network.read_layer(index), same, product),
    )


def _bits(*parts: BlockMatrix) -> NDArray[np.uint16]:
    """Return matrices of type BF16 as one array of uint16."""
    rows = parts[0].rows if len(parts) == 1 else np.concatenate([part.rows for part in parts])
    return np.ascontiguousarray(rows).view(np.uint16)


def _layer(network: Network, type_name: str, index: int) -> Layer:
    return _converted(network.read_layer(index), _norm, partial(_rounded, type_name=type_name))


def _converted(layer: Layer, norm: Callable[[Linear], Linear], product: Callable[[Linear], Linear]) -> Layer:
    """Convert the norms and the products of a layer."""
    changed: dict[str, Any] = {}
    for field in fields(layer):
        part, convert = getattr(layer, field.name), norm if field.name.endswith("norm") else product
        changed[field.name] = None if part is None else convert(part)
    return Layer(**changed)


def _tensor(weight: Any, dtype: torch.dtype) -> torch.Tensor:
    import torch

    return torch.from_numpy(_floats(weight)).to(dtype)


def _rounded(linear: Linear, type_name: str) -> Linear:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    weight = _floats(linear.weight)
    name = "F32" if weight.shape[1] % BLOCK else type_name
    rows = weight if name == "F32" else quantize(weight, GGMLQuantizationType[name])
    matrix = BlockMatrix(name, np.ascontiguousarray(rows).view(np.uint8), weight.shape[1])
    return Linear(StackedBlocks((matrix,)), None if linear.bias is None else _floats(linear.bias))


def _table(embedding: Any) -> BlockMatrix:
    """Return the embedding table in its own type."""
    if isinstance(embedding, BlockMatrix):
        return embedding
    import torch

    name = "BF16" if embedding.dtype == torch.bfloat16 else "F32"
    rows = embedding.contiguous().view(torch.uint8).numpy() if name == "BF16" else _floats(embedding).view(np.uint8)
    return BlockMatrix(name, rows, embedding.shape[1])


def _norm(norm: Linear) -> Linear:
    return Linear(_floats(norm.weight), None if norm.bias is None else _floats(norm.bias))


def _floats(weight: Any) -> NDArray[np.float32]:
    """Return blocks, a tensor or an array as an array of float32."""
    if isinstance(weight, StackedBlocks):
        return np.concatenate([part.floats() for part in weight.parts])
    if isinstance(weight, BlockMatrix):
        return weight.floats()
    if isinstance(weight, np.ndarray):
        return np.asarray(weight, np.float32)
    floats: NDArray[np.float32] = weight.detach().float().contiguous().cpu().numpy()
    return floats
