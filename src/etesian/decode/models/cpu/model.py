"""`CpuModel`: a causal language model in the compiled engine, whose rows have the same bits in passes of any size.

It runs the families of `etesian.decode.models.cpu.architecture`; `HuggingFaceModel` runs the others.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.barrier import new_shared
from etesian.decode.models.batching import KeyValueBlock, ScoreRequest
from etesian.decode.models.cpu import forward, together
from etesian.decode.models.cpu.architecture import FAMILIES, Network, read_network
from etesian.decode.models.cpu.packed_network import pack_network
from etesian.decode.models.cpu.packing import aligned_zeros
from etesian.decode.models.cpu.products import BlockWeights, Weights
from etesian.decode.models.cpu.quantized.activations import record_stride
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.models.cpu.quantized.network import pack_block_network
from etesian.decode.models.cpu.quantized.rounding import quantized
from etesian.decode.models.cpu.threads import ThreadTeam, default_threads
from etesian.decode.models.cpu.tiles import LINE, MIX_ROWS, PANEL
from etesian.decode.models.language_model import IntegerArray, ModelTraits, Scores
from etesian.decode.models.row_exactness import probe_rows

LONGEST_PASS = 64
"""Maximum rows per pass; longer texts are split, which does not change any bit."""
_PROBED_LENGTH, _PROBED_ROWS = 5, (3, 16)  # few: a large model would delay loading
MOST_PIECES = 512 // LONGEST_PASS
"""Last passes over a prompt whose hidden states are returned."""
KEPT_ROW_BYTES = 16_000_000
"""Size of the converted rows of the embedding table that are kept."""


class CpuModel:
    """A packed network and its threads. Rows have the same bits in passes of any size.

    Parameters
    ----------
    network
        Shape and weights, of bfloat16 or float32; see `etesian.decode.models.cpu.architecture.read_network`.
    n_threads : int, optional
        Default: the number of threads of torch, or one for small models. The result does not depend on it.

    Raises
    ------
    ValueError
        If the weights have another type, or a width is odd.
    """

    def __init__(self, network: Network, *, n_threads: int | None = None) -> None:
        if n_threads is not None and n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, or None for one per core; got {n_threads}")
        self.architecture = network.architecture
        self.shape: forward.Shape
        self.weights: Weights | BlockWeights
        self.shape, self.weights = _packed(network)
        self._table = network.embedding if isinstance(network.embedding, BlockMatrix) else None
        self._kept_rows: dict[int, NDArray[np.float32]] = {}  # of the embedding table, by token
        self._rotations = [(network.rotation_speeds, network.rotation_scale)]
        if network.second_rotation_speeds is not None:
            self._rotations.append((network.second_rotation_speeds, network.second_rotation_scale))
        self.n_threads = n_threads or default_threads(self.weight_bytes)
        self.kept_layers: tuple[int, ...] = ()
        self._shared_scratch: tuple[int, forward.Scratch] | None = None
        self._team = ThreadTeam(self.n_threads)

    @classmethod
    def from_transformers(cls, model: Any, *, n_threads: int | None = None, quantize: str | None = None) -> CpuModel:
        """Pack a loaded transformers model, which is no longer needed afterwards.

        Parameters
        ----------
        model : transformers.PreTrainedModel
        quantize : str, optional
            Block type of the matrices, such as ``"q8_0"``; see `LoadOptions`.
        n_threads : int, optional
            See the class.

        Raises
        ------
        ValueError
            If the family, a switch of its configuration or the number type is not supported; `HuggingFaceModel` takes every family.
        """
        network = read_network(model)
        if network is None:
            raise ValueError(
                f"models of type {model.config.model_type!r}, configured like this one, have no packed form; "
                f"known are {', '.join(FAMILIES)}. HuggingFaceModel runs any that transformers loads"
            )
        return cls(network if quantize is None else quantized(network, quantize.upper()), n_threads=n_threads)

    @property
    def vocabulary_size(self) -> int:
        """Number of logits per row."""
        return self.architecture.vocabulary_size

    @property
    def max_length(self) -> int | None:
        """Length of the longest text, in tokens."""
        return self.architecture.max_length

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a pass reads, without the embeddings of tokens."""
        return self.weights.packed.nbytes + self.weights.vectors.nbytes

    @cached_property
    def traits(self) -> ModelTraits:
        """Properties that the model promises; row exactness is probed on this machine."""
        text = np.random.default_rng(0).integers(0, self.vocabulary_size, _PROBED_LENGTH + 8)
        return ModelTraits(
            rows_are_exact=probe_rows(
                self, text=text, lengths=(_PROBED_LENGTH,), row_counts=_PROBED_ROWS, supports_trees=True
            ),
            supports_trees=True,
            weight_bytes=self.weight_bytes,
            fingerprint=self.fingerprint,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of the shape, the number type and a sample of the weights."""
        sample = np.ascontiguousarray(self.weights.packed[:: max(len(self.weights.packed) // 4_096, 1)])
        digest = hashlib.sha256(repr(self.architecture).encode())
        digest.update(sample.tobytes())
        return f"cpu-{self.weights.packed.dtype}-{self.n_threads}-{digest.hexdigest()[:16]}"

    def context(self) -> CpuContext:
        """Open an empty text."""
        return CpuContext(self)

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return self.shape.width

    def keep_layers(self, layers: Sequence[int]) -> None:
        """Let hidden states be those of some layers; see `TargetOfHeads`. Contexts that are open keep theirs."""
        wrong = [layer for layer in layers if not 0 <= layer <= self.shape.n_layers]
        if wrong:
            raise ValueError(f"layers must be from 0 to {self.shape.n_layers}; got {wrong[0]}")
        self.kept_layers, self._shared_scratch = tuple(layers), None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.shape.n_layers

    def embed(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the embeddings of tokens, float32 of the shape of `tokens` and (width,), unscaled."""
        if self._table is not None:
            return self._table_rows(self._table, tokens.reshape(-1)).reshape(*tokens.shape, self.shape.width)
        rows = self.weights.embedding.reshape(-1, self.shape.width)[tokens]
        return (rows.astype(np.uint32) << 16).view(np.float32) if rows.dtype == np.uint16 else rows

    def normalized(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the norm before the output layer to rows of the residual stream, up to rounding as a pass does."""
        width, start = self.shape.width, self.weights.vector_starts[self.shape.n_layers, forward.FINAL_NORM]
        factor, term = self.weights.vectors[start : start + 2 * width].reshape(2, width)
        centered = rows if self.shape.is_rms else rows - rows.mean(axis=1, keepdims=True)
        square = np.mean(centered * centered, axis=1, keepdims=True)
        return centered / np.sqrt(square + self.shape.norm_epsilon) * factor + term

    def score_together(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Score the rows of several contexts, in as few passes as their number allows; see `BatchedModel`."""
        scores: list[Scores] = []
        group: list[ScoreRequest] = []
        for request in requests:
            if group and sum(len(each.tokens) for each in group) + len(request.tokens) > LONGEST_PASS:
                scores += self._score_group(group)
                group = []
            group.append(request)
        return scores + (self._score_group(group) if group else [])

    def _score_group(self, group: Sequence[ScoreRequest]) -> list[Scores]:
        if len(group) == 1:  # which may be longer than a pass
            return [group[0].context.score(group[0].tokens, group[0].parents)]
        parts = []
        for request in group:
            assert isinstance(request.context, CpuContext)
            parts.append(request.context.open_pass(request.tokens, request.parents))
        counts = [len(part.rows.tokens) for part in parts]
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        logits = np.empty((starts[-1], self.vocabulary_size), np.float32)
        scratch = self.shared_scratch(max(part.cache.capacity for part in parts))
        caches, rows = together.joined(parts)
        self.run(caches, scratch, rows, logits.reshape(-1))
        return [
            Scores(logits[start : start + n], hidden_rows(self, scratch, start, n).copy())
            for start, n in zip(starts, counts, strict=False)
        ]

    def shared_scratch(self, capacity: int) -> forward.Scratch:
        """Return working memory for common passes over caches of at most `capacity` slots."""
        if self._shared_scratch is None or self._shared_scratch[0] < capacity:
            self._shared_scratch = capacity, new_scratch(self, capacity)
        return self._shared_scratch[1]

    def rotations(self, n_positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return cosines and sines by position, flat: (table, n_positions, rotary_width / 2)."""
        tables = [_rotations(speeds, scale, n_positions) for speeds, scale in self._rotations]
        return np.concatenate([table[0] for table in tables]), np.concatenate([table[1] for table in tables])

    def run(
        self,
        cache: forward.Cache | forward.Caches,
        scratch: forward.Scratch,
        rows: forward.Rows,
        logits: NDArray[np.float32],
    ) -> None:
        """Run one pass on all threads. Passes that several threads ask for run one after another."""
        weights = self.weights
        if self._table is not None:  # its rows are looked up here, in the order of the tokens
            weights = weights._replace(embedding=self._table_rows(self._table, rows.tokens))
            rows = rows._replace(tokens=np.arange(len(rows.tokens)))

        def work(worker: int) -> None:
            forward.run_pass(worker, self.n_threads, self.shape, weights, cache, scratch, rows, logits)

        self._team.run(work, scratch.barrier)

    def _table_rows(self, table: BlockMatrix, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return rows of the embedding table, flat; rows are kept, because converting them costs much of a small pass."""
        kept, wanted = self._kept_rows, tokens.tolist()
        missing = [token for token in dict.fromkeys(wanted) if token not in kept]
        if len(kept) + len(missing) > max(KEPT_ROW_BYTES // (4 * self.shape.width), len(missing)):
            kept = self._kept_rows = {}
            missing = list(dict.fromkeys(wanted))
        if missing:
            kept |= zip(missing, table.floats(np.array(missing)), strict=True)
        return np.concatenate([kept[token] for token in wanted])


class CpuContext:
    """One text of a `CpuModel`; see `etesian.decode.models.language_model.Context`."""

    def __init__(self, model: CpuModel) -> None:
        self._model = model
        self.length = 0
        self._parents: list[int] = []
        self._positions: list[int] = []
        self._is_seen = np.zeros((0, 0), np.uint8)  # of all nodes: (node, node)
        self._cache = _new_cache(model, 4 * PANEL)
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
            forward.move_slots(
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
        return together.Part(self._cache, forward.Rows(checked, positions, is_seen, self.length))

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
        rows = forward.Rows(tokens, positions, is_seen, self.length)
        self._model.run(self._cache, self._scratch, rows, logits)

    def _grow(self, n_slots: int) -> None:
        """Allocate twice as many slots, or more; kept tokens stay."""
        old, model = self._cache, self._model
        capacity = max(2 * old.capacity, -(-n_slots // PANEL) * PANEL)
        self._cache = _new_cache(model, capacity)
        n_heads = model.shape.n_layers * model.shape.n_key_heads
        for new_part, old_part in ((self._cache.keys, old.keys), (self._cache.values, old.values)):
            kept = old_part.reshape(n_heads, -1)
            new_part.reshape(n_heads, -1)[:, : kept.shape[1]] = kept
        self._scratch = new_scratch(model, capacity)


def hidden_rows(model: CpuModel, scratch: forward.Scratch, first: int, n_rows: int) -> NDArray[np.float32]:
    """Return the hidden states of rows of the last pass: of the kept layers, else the inputs of the output layer."""
    if n_kept := len(scratch.kept_layers):
        width = n_kept * model.shape.width
        return scratch.kept_states[first * width : (first + n_rows) * width].reshape(n_rows, width)
    width, stride = model.shape.width, forward.stride_of(model.shape.width)
    rows = scratch.normed[first * stride : (first + n_rows) * stride].reshape(n_rows, stride)[:, :width]
    if rows.dtype == np.uint16:  # the bits of bfloat16
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows


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


def _new_cache(model: CpuModel, capacity: int) -> forward.Cache:
    shape, dtype = model.shape, _cache_type(model)
    n_slots = shape.n_layers * shape.n_key_heads * capacity
    keys = aligned_zeros(n_slots * shape.head_width, dtype)
    values = aligned_zeros(n_slots * shape.value_width, dtype)
    n_positions = capacity + LONGEST_PASS
    return forward.Cache(keys, values, *model.rotations(n_positions), capacity, n_positions)


def _rotations(speeds: Any, scale: float, n_positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines and sines of one table, computed by torch if the frequencies are a tensor."""
    if speeds is None:
        return np.ones(1, np.float32), np.zeros(1, np.float32)
    if isinstance(speeds, np.ndarray):
        angles = np.outer(np.arange(n_positions, dtype=np.float32), speeds).reshape(-1)
        return np.cos(angles) * np.float32(scale), np.sin(angles) * np.float32(scale)
    import torch

    turns = torch.outer(torch.arange(n_positions).float(), speeds.float().cpu()).flatten()
    return (turns.cos() * scale).numpy(), (turns.sin() * scale).numpy()


def new_scratch(model: CpuModel, capacity: int) -> forward.Scratch:
    shape, n_rows, n_threads = model.shape, LONGEST_PASS, model.n_threads
    has_blocks = isinstance(model.weights, BlockWeights)
    dtype = np.float32 if has_blocks else model.weights.packed.dtype
    attended, group = shape.n_heads * shape.head_width, shape.n_heads // shape.n_key_heads
    heads = forward.stride_of((shape.n_heads + 2 * shape.n_key_heads) * shape.head_width)
    longest = max(shape.width, shape.inner_width, attended)
    return forward.Scratch(
        hidden=aligned_zeros(n_rows * shape.width, np.float32),
        branch=aligned_zeros(n_rows * shape.width, np.float32),
        normed=aligned_zeros(n_rows * forward.stride_of(shape.width), dtype),
        normed_twice=aligned_zeros(n_rows * forward.stride_of(shape.width), dtype),
        inner=aligned_zeros(n_rows * forward.stride_of(max(shape.inner_width, attended)), dtype),
        heads=aligned_zeros(n_rows * heads, np.float32),
        panels=aligned_zeros(n_threads * n_rows * 2 * PANEL, np.float32).reshape(n_threads, -1),
        queries=aligned_zeros(n_threads * n_rows * group * shape.head_width, _cache_type(model)).reshape(n_threads, -1),
        scores=aligned_zeros(n_threads * MIX_ROWS * capacity, np.float32).reshape(n_threads, -1),
        mixed=aligned_zeros(n_threads * MIX_ROWS * forward.MIXED, np.float32).reshape(n_threads, -1),
        records=aligned_zeros(n_threads * (n_rows * record_stride(longest) if has_blocks else LINE), np.uint8).reshape(
            n_threads, -1
        ),
        kept_layers=np.array(model.kept_layers, np.int64),
        kept_states=aligned_zeros(n_rows * len(model.kept_layers) * shape.width, np.float32),
        barrier=new_shared(),
    )


def _cache_type(model: CpuModel) -> Any:
    """Return the type of keys and values: the bits of bfloat16, unless all weights are float32."""
    return np.float32 if model.weights.packed.dtype == np.float32 else np.uint16


def _packed(network: Network) -> tuple[forward.Shape, Weights | BlockWeights]:
    if isinstance(network.output.weight, StackedBlocks):
        return pack_block_network(network, default_threads())
    return pack_network(network)
