"""The output layer's product in float32: logits of 16-bit weights that would otherwise tie outright. Knows no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Product = Callable[[torch.Tensor], torch.Tensor]


class Float32OutputLayer:
    """While it is `in_use`, a model's output layer answers in float32; at all other times the model is as it was.

    Parameters
    ----------
    layer
        What `model.get_output_embeddings()` returns. Only a plain `torch.nn.Linear` of 16-bit weights is changed: any other
        layer, a quantized one say, computes as it does, and its logits are cast.
    """

    def __init__(self, layer: Any) -> None:
        is_plain = type(layer) is torch.nn.Linear and "forward" not in vars(layer)
        self._layer = layer
        self._product = _float32_product(layer) if is_plain and layer.weight.dtype != torch.float32 else None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the layer answer in float32 meanwhile."""
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
    # A copy of twice the bytes: 16-bit products round their sums to 16 bits.
    weight = layer.weight.detach().float()
    bias = None if layer.bias is None else layer.bias.detach().float()
    return lambda hidden: torch.nn.functional.linear(hidden.float(), weight, bias)


def _mixed_product(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    rows = hidden.reshape(-1, hidden.shape[-1])
    logits = torch.mm(rows, weight.t(), out_dtype=torch.float32).reshape(*hidden.shape[:-1], -1)
    return logits if bias is None else logits + bias


def _sums_in_float32(weight: torch.Tensor) -> bool:
    """Whether this device multiplies 16-bit matrices into a float32 one."""
    if weight.device.type != "cuda":
        return False
    try:
        torch.mm(weight.new_ones(8, 8), weight.new_ones(8, 8), out_dtype=torch.float32)
    except (TypeError, RuntimeError):
        return False
    return True
