"""Output layers that compute in float32, because 16-bit logits of different tokens are often equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Product = Callable[[torch.Tensor], torch.Tensor]


class Float32OutputLayer:
    """Let a model's output layer compute in float32 while `in_use`; otherwise the model is unchanged.

    Parameters
    ----------
    layer : torch.nn.Module
        Result of `model.get_output_embeddings()`. Only a plain `torch.nn.Linear` with 16-bit weights is changed; the logits of
        other layers, such as quantized ones, are cast.
    """

    def __init__(self, layer: Any) -> None:
        is_plain = type(layer) is torch.nn.Linear and "forward" not in vars(layer)
        self._layer = layer
        self._product = _float32_product(layer) if is_plain and layer.weight.dtype != torch.float32 else None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Compute in float32 within the block."""
        if self._product is None:
            yield
            return
        self._layer.forward = self._product
        try:
            yield
        finally:
            del self._layer.forward


def _float32_product(layer: torch.nn.Linear) -> Product:
    if _sums_in_float32(layer.weight):
        return lambda hidden: _mixed_product(hidden, layer.weight, layer.bias)
    # 16-bit products round their sums to 16 bits, hence a copy with twice the bytes.
    weight = layer.weight.detach().float()
    bias = None if layer.bias is None else layer.bias.detach().float()
    return lambda hidden: torch.nn.functional.linear(hidden.float(), weight, bias)


def _mixed_product(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    rows = hidden.reshape(-1, hidden.shape[-1])
    logits = torch.mm(rows, weight.t(), out_dtype=torch.float32).reshape(*hidden.shape[:-1], -1)
    return logits if bias is None else logits + bias


def _sums_in_float32(weight: torch.Tensor) -> bool:
    """Return whether the device multiplies 16-bit matrices with a float32 result."""
    if weight.device.type != "cuda":
        return False
    try:
        torch.mm(weight.new_ones(8, 8), weight.new_ones(8, 8), out_dtype=torch.float32)
    except (TypeError, RuntimeError):
        return False
    return True
