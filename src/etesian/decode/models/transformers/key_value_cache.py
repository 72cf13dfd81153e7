"""Keys and values of one text in memory that is laid out once: a pass writes in place, a kept path is moved down.

Knows no trees: who calls says which slots a pass fills and which are kept. Layers of equal shape share one tensor, so that moving
a path takes one copy for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

SMALLEST_CAPACITY = 256
"""Slots that are laid out at first; more come by doubling."""


class LayerShape(NamedTuple):
    """What a layer keeps of each token."""

    key_heads: int
    key_size: int
    value_heads: int
    value_size: int


@dataclass
class WritePlace:
    """Where the next pass writes, and how far its rows may look; one for all layers.

    Parameters
    ----------
    start
        The first slot that is written.
    slots : tensor of int64, shape (n_rows,), or None
        The slots themselves, for passes that are recorded once and replayed: they read `start` from no Python number.
    n_visible
        How many slots such a pass is shown.
    """

    start: int = 0
    slots: torch.Tensor | None = None
    n_visible: int = 0


class PreallocatedLayer(CacheLayerMixin):
    """One layer's keys and values, each of shape (1, n_heads, capacity, head_size), in memory that the cache owns."""

    is_sliding = False  # every key stays: a window shorter than the text is the mask's business
    is_compileable = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, place: WritePlace) -> None:
        super().__init__()
        self.place = place
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing is left to do: the cache was laid out as a whole."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a pass's rows, and show them what was written so far."""
        if self.place.slots is not None:
            n_visible = self.place.n_visible
            self.keys.index_copy_(2, self.place.slots, key_states)
            self.values.index_copy_(2, self.place.slots, value_states)
            return self.keys[:, :, :n_visible], self.values[:, :, :n_visible]
        start = self.place.start
        stop = start + key_states.shape[-2]
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys a pass of `query_length` rows sees, and the position of the first."""
        if self.place.slots is not None:
            return self.place.n_visible, 0
        return self.place.start + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens written so far."""
        return self.place.start

    def get_max_length(self) -> int:
        """No maximum: -1, as transformers has it."""
        return -1


class KeyValueCache(Cache):
    """The keys and values of one text, as transformers' models read and write them.

    Parameters
    ----------
    shapes : sequence of LayerShape, one for each layer
    dtype, device
        Of keys and values.
    capacity
        Slots to lay out at first.
    """

    def __init__(
        self,
        shapes: Sequence[LayerShape],
        *,
        dtype: torch.dtype,
        device: torch.device,
        capacity: int = SMALLEST_CAPACITY,
    ) -> None:
        self.place = WritePlace()
        super().__init__(layers=[PreallocatedLayer(self.place) for _ in shapes])
        self._homes = _homes_by_shape(shapes)
        self._stacks = {
            shape: torch.zeros((len(homes), shape[0], 0, shape[1]), dtype=dtype, device=device)
            for shape, homes in self._homes.items()
        }
        self.reserve(capacity)

    @property
    def capacity(self) -> int:
        """Slots that are laid out."""
        return next(iter(self._stacks.values())).shape[2]

    def reserve(self, n_slots: int) -> None:
        """Lay out at least `n_slots`; what was written stays."""
        if n_slots <= self.capacity:
            return
        capacity = max(self.capacity, SMALLEST_CAPACITY)
        while capacity < n_slots:
            capacity *= 2
        for shape, homes in self._homes.items():
            old = self._stacks[shape]
            stack = old.new_zeros((len(homes), shape[0], capacity, shape[1]))
            stack[:, :, : old.shape[2]] = old
            self._stacks[shape] = stack
            for row, (layer, role) in enumerate(homes):
                setattr(self.layers[layer], role, stack[row : row + 1])

    def move(self, slots: Sequence[int], start: int) -> None:
        """Copy these slots, ascending, to `start` and on."""
        first = next((i for i, slot in enumerate(slots) if slot != start + i), len(slots))
        if first == len(slots):
            return
        for stack in self._stacks.values():
            source = torch.tensor(slots[first:], device=stack.device)
            stack[:, :, start + first : start + len(slots)] = stack.index_select(2, source)


def _homes_by_shape(shapes: Sequence[LayerShape]) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """Which keys and which values, named by layer and role, fit into one tensor."""
    homes: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for layer, shape in enumerate(shapes):
        homes[shape.key_heads, shape.key_size].append((layer, "keys"))
        homes[shape.value_heads, shape.value_size].append((layer, "values"))
    return dict(homes)
