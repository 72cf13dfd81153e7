"""Preallocated key-value cache of one text. Passes write in place, and accepted paths are moved behind the kept slots.

Layers of equal shape share one tensor, so that moving a path takes one copy for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

SMALLEST_CAPACITY = 256
"""Initial number of slots; it grows by doubling."""


class LayerShape(NamedTuple):
    """Shape of a layer's keys and values per token."""

    key_heads: int
    key_size: int
    value_heads: int
    value_size: int


@dataclass
class WritePlace:
    """Slots that the next pass writes, shared by all layers.

    Parameters
    ----------
    start : int
        First slot that is written.
    slots : tensor of int64, shape (n_rows,), or None
        The slots as a tensor, for recorded passes, which cannot read `start`.
    n_visible : int
        Number of slots that a recorded pass sees.
    """

    start: int = 0
    slots: torch.Tensor | None = None
    n_visible: int = 0


class PreallocatedLayer(CacheLayerMixin):
    """Keys and values of a layer, shape (1, n_heads, capacity, head_size), in memory owned by the cache."""

    is_sliding = False  # all keys stay; the mask implements windows
    is_compileable = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, place: WritePlace) -> None:
        super().__init__()
        self.place = place
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the cache is already allocated."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the rows of a pass, and return all keys and values so far."""
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
        """Return the number of keys that a pass of `query_length` rows sees, and the position of the first."""
        if self.place.slots is not None:
            return self.place.n_visible, 0
        return self.place.start + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens written so far."""
        return self.place.start

    def get_max_length(self) -> int:
        """Return -1, for no maximum."""
        return -1


class KeyValueCache(Cache):
    """Keys and values of one text, as a `Cache` of transformers.

    Parameters
    ----------
    shapes : sequence of LayerShape, one for each layer
    dtype : torch.dtype
        Number type of keys and values.
    device : torch.device
    capacity : int
        Initial number of slots.
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
        """Number of allocated slots."""
        return next(iter(self._stacks.values())).shape[2]

    def reserve(self, n_slots: int) -> None:
        """Allocate at least `n_slots` slots; the contents stay."""
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
        """Copy these slots, which must be ascending, to `start` and the following ones."""
        first = next((i for i, slot in enumerate(slots) if slot != start + i), len(slots))
        if first == len(slots):
            return
        for stack in self._stacks.values():
            source = torch.tensor(slots[first:], device=stack.device)
            stack[:, :, start + first : start + len(slots)] = stack.index_select(2, source)


def _homes_by_shape(shapes: Sequence[LayerShape]) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """Group keys and values, named by layer and role, by shape."""
    homes: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for layer, shape in enumerate(shapes):
        homes[shape.key_heads, shape.key_size].append((layer, "keys"))
        homes[shape.value_heads, shape.value_size].append((layer, "values"))
    return dict(homes)
