"""Passes of few shapes: rows are padded to the next of `ROW_COUNTS`, and the text to a power of two.

All numbers are in tensors, so that a pass can be recorded once and replayed (see `cuda`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from etesian.decode.models.language_model import Scores
from etesian.decode.models.transformers.key_value_cache import SMALLEST_CAPACITY, KeyValueCache
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.tree_attention_mask import ScoredNodes

ROW_COUNTS = (1, 2, 4, 8, 16, 24, 32)


class PassShape(NamedTuple):
    """Shape of a pass that may be replayed.

    Parameters
    ----------
    n_rows : int
        Number of rows, including padding.
    n_visible : int
        Number of cache slots that attention reads, including hidden ones.
    mask_kinds : tuple of str
        Kinds of masks; one mask serves all layers if no window hides anything.
    """

    n_rows: int
    n_visible: int
    mask_kinds: tuple[str, ...]


@dataclass(frozen=True)
class PassInputs:
    """Input tensors of passes of one shape.

    Parameters
    ----------
    tokens, positions : tensor of int64, shape (1, n_rows)
    slots : tensor of int64, shape (n_rows,)
    masks : mapping of str to tensor, shape (1, 1, n_rows, n_visible)
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    masks: dict[str, torch.Tensor]

    @classmethod
    def empty(cls, shape: PassShape, *, dtype: torch.dtype, device: torch.device) -> PassInputs:
        """Allocate the tensors for passes of one shape."""

        def numbers(*sizes: int) -> torch.Tensor:
            return torch.zeros(sizes, dtype=torch.int64, device=device)

        masks = {
            kind: torch.zeros((1, 1, shape.n_rows, shape.n_visible), dtype=dtype, device=device)
            for kind in shape.mask_kinds
        }
        return cls(numbers(1, shape.n_rows), numbers(1, shape.n_rows), numbers(shape.n_rows), masks)


class PaddedPasses(EagerPasses):
    """Passes with padded rows and slots; padding does not affect the other rows."""

    def score(self, tokens: NDArray[np.int64], nodes: ScoredNodes, cache: KeyValueCache, length: int) -> Scores:
        """Read the last of `nodes`, which hold `tokens`, after a text of `length` tokens; without hidden states."""
        n_new = len(tokens)
        n_rows = next((count for count in ROW_COUNTS if count >= n_new), None)
        if n_rows is None or not self.takes_trees:
            return super().score(tokens, nodes, cache, length)
        start = length + len(nodes) - n_new
        masks = self.mask_arrays(nodes, n_new, length)
        shape = PassShape(n_rows, _power_of_two(start + n_rows), tuple(masks))
        cache.reserve(shape.n_visible)
        inputs = self._inputs(shape, cache)
        self._fill(inputs, shape, start, tokens, length + nodes.depths[-n_new:], masks)
        return Scores(self._to_host(self._run_padded(inputs, shape, cache)[:n_new]))

    def _inputs(self, shape: PassShape, cache: KeyValueCache) -> PassInputs:
        return PassInputs.empty(shape, dtype=self.dtype, device=self.device)

    def _fill(
        self,
        inputs: PassInputs,
        shape: PassShape,
        start: int,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        masks: dict[str, NDArray[np.float32]],
    ) -> None:
        """Fill the tensors. Padding rows hold token 0 at position 0 and see only themselves; later passes overwrite their slots."""
        n_new, n_padding = len(tokens), shape.n_rows - len(tokens)
        inputs.tokens.copy_(torch.from_numpy(np.pad(tokens, (0, n_padding)))[None])
        inputs.positions.copy_(torch.from_numpy(np.pad(positions, (0, n_padding)))[None])
        inputs.slots.copy_(torch.arange(start, start + shape.n_rows))
        padding = np.arange(n_new, shape.n_rows)
        for kind, mask in masks.items():
            padded = np.full((shape.n_rows, shape.n_visible), float(torch.finfo(self.dtype).min), np.float32)
            padded[:n_new, : mask.shape[1]] = mask
            padded[padding, start + padding] = 0.0
            inputs.masks[kind].copy_(torch.from_numpy(padded)[None, None])

    @torch.no_grad()
    def _run_padded(self, inputs: PassInputs, shape: PassShape, cache: KeyValueCache) -> torch.Tensor:
        """Return the float32 logits of all rows, including padding."""
        masks = inputs.masks if len(inputs.masks) > 1 else next(iter(inputs.masks.values()))
        cache.place.slots, cache.place.n_visible = inputs.slots, shape.n_visible
        try:
            return self.logits(inputs.tokens, cache, {"position_ids": inputs.positions, "attention_mask": masks})
        finally:
            cache.place.slots = None

    def _to_host(self, logits: torch.Tensor) -> NDArray[np.float32]:
        return logits.cpu().numpy()


def _power_of_two(n_slots: int) -> int:
    n_visible = SMALLEST_CAPACITY
    while n_visible < n_slots:
        n_visible *= 2
    return n_visible
