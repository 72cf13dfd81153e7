"""Linear layers on the CPU whose rows have the same bits in a product of any number of rows.

Each layer uses oneDNN with packed weights where a trial on this machine finds its rows exact. Otherwise rows are padded to a fixed
number, since a product of fixed size computes each row independently of the others and of its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

FIXED_ROWS = 16
"""Rows of padded products."""
MOST_ROWS = 32
"""Rows up to which products are exact; larger passes are split."""
_TRIED_ROWS = (2, 5, 8, 15, 16, 17, 32)

Product = Callable[[torch.Tensor], torch.Tensor]


class RowExactLayers:
    """Row-exact products of all linear layers of a model, in place of its own while `in_use`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Model on the CPU. Its weights are not changed; packed weights are copies.
    """

    def __init__(self, model: Any) -> None:
        output = model.get_output_embeddings()
        self._products: list[tuple[Any, Product]] = []
        for module in model.modules():
            if isinstance(module, (torch.nn.Linear, Conv1D)) and "forward" not in vars(module):
                weight = module.weight.t() if isinstance(module, Conv1D) else module.weight
                # bfloat16 logits tie outright, so the output layer computes in float32.
                in_float32 = module is output and weight.dtype != torch.float32
                product = _row_exact_product(weight.detach(), module.bias, in_float32=in_float32)
                self._products.append((module, product))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the layers compute row-exact products within the block."""
        for module, product in self._products:
            module.forward = product
        try:
            yield
        finally:
            for module, _ in self._products:
                del module.forward


def _row_exact_product(weight: torch.Tensor, bias: torch.Tensor | None, *, in_float32: bool) -> Product:
    if in_float32:
        weight, bias = weight.float(), None if bias is None else bias.detach().float()
    packed = _packed_product(weight, bias)
    product = packed if packed is not None and _is_exact(packed, weight) else _padded_product(weight, bias)
    return (lambda rows: product(rows.float())) if in_float32 else product


def _packed_product(weight: torch.Tensor, bias: torch.Tensor | None) -> Product | None:
    """Return a product with weights packed for oneDNN; None if this machine does not support it."""
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), FIXED_ROWS)
        product: Product = lambda rows: torch.ops.mkldnn._linear_pointwise(  # noqa: E731
            rows, packed, bias, "none", [], ""
        )
        product(weight.new_zeros(1, weight.shape[1]))
    except (RuntimeError, NotImplementedError, AttributeError):
        return None
    return product


def _is_exact(product: Product, weight: torch.Tensor) -> bool:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(MOST_ROWS, weight.shape[1], generator=generator).to(weight.dtype)
    alone = torch.cat([product(row[None]) for row in rows])
    return all(torch.equal(product(rows[:count]), alone[:count]) for count in _TRIED_ROWS)


def _padded_product(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    def product(rows: torch.Tensor) -> torch.Tensor:
        flat = rows.reshape(-1, rows.shape[-1])
        padded = torch.nn.functional.pad(flat, (0, 0, 0, -len(flat) % FIXED_ROWS))
        parts = [torch.nn.functional.linear(part, weight, bias) for part in padded.split(FIXED_ROWS)]
        return torch.cat(parts)[: len(flat)].reshape(*rows.shape[:-1], weight.shape[0])

    return product
