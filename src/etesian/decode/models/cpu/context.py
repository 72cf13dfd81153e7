"""`CpuContext`: the key-value cache of one text of a `CpuModel`, with a tree of nodes that are not kept yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.batching import KeyValueBlock
from etesian.decode.models.cpu import attention, pass_arrays, together
from etesian.decode.models.cpu.pass_memory import LONGEST_PASS, hidden_rows, new_cache, new_scratch
from etesian.decode.models.cpu.tiles import PANEL
from etesian.decode.models.language_model import IntegerArray, Scores

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel

MOST_PIECES = 512 // LONGEST_PASS
"""Last passes over a prompt whose hidden states are returned."""


class CpuContext:
    """One text of a `CpuModel`; see `etesian.decode.models.language_model.Context`."""

    def __init__(self, model: CpuModel) -> None:
        self._model = model
        self.length = 0
        self._parents: list[int] = []
        self._positions: list[int] = []
        self._is_seen = np.zeros((0, 0), np.uint8)  # of all nodes: (node, node)
        self._cache = new_cache(model, 4 * PANEL)
        self._scratch = new_scratch(model, self._cache.capacity)

    @property
    def n_reusable(self) -> int:
        """Number of kept tokens: all of them can be reused."""
        return self.length

    def extend(self, tokens: IntegerArray) -> NDArray[np.float32]:
        """Read and keep tokens without computing logits; drops all nodes. Returns the last hidden states, at most 512."""
        tokens, hidden_states = self._checked(tokens), deque[NDArray[np.float32]](maxlen=MOST_PIECES)
        self._check_room(self.length + len(tokens))
        self._drop_nodes()
        for first in range(0, len(tokens), LONGEST_PASS):
            piece = tokens[first : first + LONGEST_PASS]
            positions = np.arange(self.length, self.length + len(piece))
            is_seen = np.tri(len(piece), dtype=np.uint8)
            self._run(piece, positions, is_seen, np.empty(0, np.float32))
            hidden_states.append(self._last_rows(len(piece)))
            self.length += len(piece)
        rows = np.concatenate(hidden_states) if hidden_states else self._last_rows(0)
        return rows if len(self._scratch.kept_layers) else self._model.normalized(rows)

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> Scores:
        """Read each token after its ancestors and the kept text, in one pass."""
        tokens = self._checked(tokens)
        first = len(self._parents)
        self._add_nodes(np.asarray(parents, np.int64), len(tokens))
        logits = np.empty((len(tokens), self._model.vocabulary_size), np.float32)
        n_kept = max(len(self._scratch.kept_layers), 1)
        hidden_states = np.empty((len(tokens), n_kept * self._model.shape.width), np.float32)
        for start in range(0, len(tokens), LONGEST_PASS):
            stop = min(start + LONGEST_PASS, len(tokens))
            positions = np.array(self._positions[: first + stop], np.int64)
            is_seen = np.ascontiguousarray(self._is_seen[first + start : first + stop, : first + stop])
            self._run(tokens[start:stop], positions, is_seen, logits[start:stop].reshape(-1))
            hidden_states[start:stop] = hidden_rows(self._model, self._scratch, 0, stop - start)
        return Scores(logits, hidden_states)

    def keep(self, nodes: IntegerArray) -> None:
        """Keep a path of nodes that starts at the kept text; drops all other nodes."""
        nodes = np.asarray(nodes, np.int64)
        parent = -1
        for node in nodes.tolist():
            if not 0 <= node < len(self._parents) or self._parents[node] != parent:
                raise ValueError(f"nodes must be a path from the kept text down; got {nodes.tolist()}")
            parent = node
        moved = np.flatnonzero(nodes != np.arange(len(nodes)))  # the first tokens of the deepest branch are in place
        if len(moved):
            attention.move_slots(
                self._model.shape, self._cache, self.length + nodes[moved], self.length + moved, len(moved)
            )
        self.length += len(nodes)
        self._drop_nodes()

    def truncate(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length must be between 0 and {self.length}, the tokens kept; got {length}")
        self.length = length
        self._drop_nodes()

    def _last_rows(self, n_rows: int) -> NDArray[np.float32]:
        """Return a copy of the kept layers' states in the last pass, or of its residual stream after the last layer."""
        if len(self._scratch.kept_layers):
            return hidden_rows(self._model, self._scratch, 0, n_rows).copy()
        width = self._model.shape.width
        return self._scratch.hidden[: n_rows * width].reshape(n_rows, width).copy()

    def copy_block(self, start: int, stop: int) -> KeyValueBlock:
        """Copy the keys and values of the kept tokens from `start` to `stop`; see `CopiesBlocks`."""
        keys, values = self._slots()
        return KeyValueBlock(
            tuple(
                np.concatenate([part[index] for index in _pieces(start, stop, is_keys)], axis=2 if is_keys else 1)
                for part, is_keys in ((keys, True), (values, False))
            )
        )

    def append_block(self, tokens: IntegerArray, block: KeyValueBlock) -> None:
        """Keep tokens whose keys and values were copied from a text with the same beginning; see `CopiesBlocks`."""
        start, stop = self.length, self.length + len(tokens)
        self._check_room(stop)
        self._drop_nodes()
        if stop > self._cache.capacity:
            self._grow(stop)
        for part, copied, is_keys in zip(self._slots(), block.arrays, (True, False), strict=True):
            done = 0
            for index in _pieces(start, stop, is_keys):
                n = part[index].shape[2 if is_keys else 1]
                part[index] = copied[:, :, done : done + n] if is_keys else copied[:, done : done + n]
                done += n
        self.length = stop

    def open_pass(self, tokens: IntegerArray, parents: IntegerArray) -> together.Part:
        """Add nodes and make room for them; return their part of a common pass, of at most `LONGEST_PASS` rows."""
        checked, first = self._checked(tokens), len(self._parents)
        self._add_nodes(np.asarray(parents, np.int64), len(checked))
        n_slots = self.length + len(self._positions)
        if n_slots > self._cache.capacity:
            self._grow(n_slots)
        positions, is_seen = np.array(self._positions, np.int64), np.ascontiguousarray(self._is_seen[first:])
        return together.Part(self._cache, pass_arrays.Rows(checked, positions, is_seen, self.length))

    def _slots(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Keys as (head, panel, step, slot, lane) and values as (head, slot, column)."""
        shape, capacity = self._model.shape, self._cache.capacity
        n_heads = shape.n_layers * shape.n_key_heads
        n_steps = shape.head_width // shape.lanes
        return (
            self._cache.keys.reshape(n_heads, capacity // PANEL, n_steps, PANEL, shape.lanes),
            self._cache.values.reshape(n_heads, capacity, shape.value_width),
        )

    def _checked(self, tokens: IntegerArray) -> NDArray[np.int64]:
        checked: NDArray[np.int64] = np.asarray(tokens, np.int64)
        n = self._model.vocabulary_size
        if len(checked) and not 0 <= checked.min() <= checked.max() < n:
            raise ValueError(f"tokens must be between 0 and {n - 1}; got {checked.min()} to {checked.max()}")
        return checked

    def _add_nodes(self, parents: NDArray[np.int64], n_new: int) -> None:
        """Record depths and ancestors of new nodes; refuse parents that do not come before them."""
        n_old = len(self._parents)
        if len(parents) != n_new:
            raise ValueError(f"parents must have one entry for each of the {n_new} tokens; got {len(parents)}")
        is_seen = np.zeros((n_old + n_new, n_old + n_new), np.uint8)
        is_seen[:n_old, :n_old] = self._is_seen
        positions = list(self._positions)
        for node, parent in enumerate(parents.tolist(), start=n_old):
            if not -1 <= parent < node:
                raise ValueError(f"parents must be -1 or an earlier node; node {node} has {parent}")
            if parent >= 0:
                is_seen[node] = is_seen[parent]
            is_seen[node, node] = 1
            positions.append(self.length if parent < 0 else positions[parent] + 1)
        self._check_room(max(positions, default=-1) + 1)
        self._parents += parents.tolist()
        self._positions, self._is_seen = positions, is_seen

    def _drop_nodes(self) -> None:
        self._parents, self._positions, self._is_seen = [], [], np.zeros((0, 0), np.uint8)

    def _check_room(self, length: int) -> None:
        longest = self._model.max_length
        if longest is not None and length > longest:
            raise ValueError(f"the model reads at most {longest} tokens; got {length}")

    def _run(
        self,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        is_seen: NDArray[np.uint8],
        logits: NDArray[np.float32],
    ) -> None:
        if len(tokens) == 0:
            return
        n_slots = self.length + len(positions)
        if n_slots > self._cache.capacity:
            self._grow(n_slots)
        rows = pass_arrays.Rows(tokens, positions, is_seen, self.length)
        self._model.run(self._cache, self._scratch, rows, logits)

    def _grow(self, n_slots: int) -> None:
        """Allocate twice as many slots, or more; kept tokens stay."""
        old, model = self._cache, self._model
        capacity = max(2 * old.capacity, -(-n_slots // PANEL) * PANEL)
        self._cache = new_cache(model, capacity)
        n_heads = model.shape.n_layers * model.shape.n_key_heads
        for new_part, old_part in ((self._cache.keys, old.keys), (self._cache.values, old.values)):
            kept = old_part.reshape(n_heads, -1)
            new_part.reshape(n_heads, -1)[:, : kept.shape[1]] = kept
        self._scratch = new_scratch(model, capacity)


def _pieces(start: int, stop: int, is_keys: bool) -> list[tuple[Any, ...]]:
    """Return the indices of slots in the arrays of `CpuContext._slots`; those of keys are cut at panels."""
    if not is_keys:
        return [(slice(None), slice(start, stop))]
    pieces: list[tuple[Any, ...]] = []
    while start < stop:
        panel, first = divmod(start, PANEL)
        last = min(PANEL, first + stop - start)
        pieces.append((slice(None), panel, slice(None), slice(first, last)))
        start += last - first
    return pieces
