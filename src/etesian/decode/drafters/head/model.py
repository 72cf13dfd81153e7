"""`HeadModel`: a draft head as a language model, whose context reads the target's hidden states where they are known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.barrier import new_shared
from etesian.decode.drafters.head import drafting, passes
from etesian.decode.drafters.head.weights import HeadWeights
from etesian.decode.models.cpu import pass_arrays
from etesian.decode.models.cpu.architecture import Linear
from etesian.decode.models.cpu.packing import aligned_zeros
from etesian.decode.models.cpu.products import stride_of
from etesian.decode.models.cpu.quantized.activations import record_stride
from etesian.decode.models.cpu.quantized.formats import BLOCK
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.models.cpu.quantized.network import StripPacker
from etesian.decode.models.cpu.threads import ThreadTeam, default_threads
from etesian.decode.models.cpu.tiles import PANEL
from etesian.decode.models.language_model import IntegerArray, ModelTraits, Scores

MOST_ROWS = 64
"""Rows per pass; more are split."""
FIRST_CAPACITY = 256
_COUNT, _LOWER_TRIANGLE = np.arange(MOST_ROWS), np.tri(MOST_ROWS, dtype=np.bool_)
Floats = NDArray[np.float32]
Embed = Callable[[NDArray[np.integer]], Floats]
"""Returns the target's token embeddings, float32 of shape (n_tokens, width)."""


class HeadModel:
    """A draft head, packed for compiled passes.

    Parameters
    ----------
    weights : HeadWeights
    embed : callable
        Returns the target's embeddings of an array of tokens, float32 of shape (n_tokens, width); used unless the head has
        its own.
    max_length : int or None
        Length of the longest text of the target.
    type_name : str
        Block format to which the products are rounded, such as ``"Q8_0"``, or ``"F32"``.
    n_threads : int, optional
        Default: as for `CpuModel`.
    """

    def __init__(
        self,
        weights: HeadWeights,
        embed: Embed,
        *,
        max_length: int | None = None,
        type_name: str = "Q8_0",
        n_threads: int | None = None,
    ) -> None:
        self.config = weights.config
        self.output_tokens = weights.output_tokens
        self.max_length = max_length
        table = weights.embedding
        self.embed: Embed = embed if table is None else table.__getitem__
        output = weights.output
        if output is None:
            output = np.asarray(embed(weights.output_tokens), np.float32)
        self.shape, self.packed, self.norms = _packed(weights, output, type_name)
        self.has_feature_norm = weights.feature_norm is not None
        self.team = ThreadTeam(n_threads or default_threads(self.packed.packed.nbytes))

    @property
    def vocabulary_size(self) -> int:
        """Size of the target's vocabulary. The rows of logits are shorter: they score `output_tokens` only."""
        return self.config.vocabulary_size

    @cached_property
    def traits(self) -> ModelTraits:
        """Properties that the model promises."""
        nbytes = self.packed.packed.nbytes
        return ModelTraits(weight_bytes=nbytes, fingerprint=f"head-{self.config!r}-{len(self.output_tokens)}-{nbytes}")

    @cached_property
    def output_embeddings(self) -> NDArray[np.uint16]:
        """Embeddings of the tokens that the head proposes, flat, in bfloat16 as its bits."""
        pieces = np.array_split(self.output_tokens, max(len(self.output_tokens) // MOST_ROWS, 1))
        return np.concatenate([_bfloat_bits(np.asarray(self.embed(piece), np.float32)).reshape(-1) for piece in pieces])

    def context(self) -> HeadContext:
        """Open an empty text."""
        return HeadContext(self)


class HeadContext:
    """One text of a `HeadModel`; see `Context`.

    The row of the token at position p reads that token's embedding and the state of the token before it. That state is fused from
    the target's hidden states if `supply` has provided them, else it is the head's own output for that token. Kept tokens
    whose hidden states were not provided are not read: later tokens attend to the others.
    """

    def __init__(self, model: HeadModel) -> None:
        self._model = model
        self.length = 0
        self._first, self._given = 0, np.empty((0, model.config.width), np.float32)  # states of the target by position
        self._kept = np.empty(0, np.int64)  # positions of the slots in use
        self._last_state: Floats | None = None  # of the last kept token
        self._parents: list[int] = []
        self._positions: list[int] = []
        self._is_seen = np.zeros((0, 0), np.bool_)
        self._states = np.empty((0, model.config.width), np.float32)
        self._cache, self._scratch = _new_cache(model, FIRST_CAPACITY), _new_scratch(model, FIRST_CAPACITY)
        self._draft: drafting.Draft | None = None

    @property
    def n_reusable(self) -> int:
        """Number of kept tokens: all of them can be reused."""
        return self.length

    def supply(self, first: int, features: Floats) -> None:
        """Provide the target's hidden states, shape (n, n_features * feature_width), of the tokens from position `first` on."""
        self._first, self._given = first, self._fused(features)

    def extend(self, tokens: IntegerArray) -> None:
        """Keep tokens, and read those whose preceding hidden states were provided; drops all nodes."""
        tokens = np.asarray(tokens, np.int64)
        self._drop_nodes()
        known = [place for place in range(len(tokens)) if self._has_state(self.length + place)]
        n_skipped = known[0] if known else len(tokens)
        self.length += n_skipped
        self._last_state = None if n_skipped else self._last_state
        for start in range(n_skipped, len(tokens), MOST_ROWS):
            piece = tokens[start : start + MOST_ROWS]
            self.score_last(piece, np.arange(-1, len(piece) - 1), 0)
            self.keep(np.arange(len(piece)))

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> Scores:
        """Read each token after its ancestors; tokens that follow others of the same call need one pass per level."""
        return self.score_last(tokens, parents, len(tokens))

    def score_last(self, tokens: IntegerArray, parents: IntegerArray, n_scored: int) -> Scores:
        """Read tokens like `score`, but compute only the logits of the last `n_scored`; the others' are undefined."""
        rows, first = np.asarray(tokens, np.int64), len(self._parents)
        self._add_nodes([int(parent) for parent in parents])
        logits = np.empty((len(rows), len(self._model.output_tokens)), np.float32)
        states, waiting = np.zeros((len(rows), self._model.config.width), np.float32), list(range(len(rows)))
        is_done = np.zeros(len(rows), bool)
        while waiting:
            ready = [row for row in waiting if self._set_state(states, row, first, is_done)][:MOST_ROWS]
            n_unscored = sum(row < len(rows) - n_scored for row in ready)
            self._run(rows, states, np.array(ready), first, logits, n_unscored)
            is_done[ready] = True
            waiting = [row for row in waiting if not is_done[row]]
        return Scores(logits, self._states[first:])

    def draft(
        self,
        tokens: NDArray[np.integer],
        features: Floats,
        limits: drafting.DraftLimits,
        rule: drafting.ChoiceRule,
        calibration: NDArray[np.float32],
        n_children: int,
    ) -> drafting.Draft:
        """Read and keep 1 to `MOST_ROWS` tokens, and grow a tree below them.

        `features` are the target's hidden states of the tokens before these. `n_missing` and `n_kept` of the limits are set here.
        The result is valid until the next call; see `Draft.numbers`.
        """
        self._drop_nodes()
        n, n_kept, model = len(tokens), len(self._kept), self._model
        draft = self._draft = _fitting(self._draft, model, limits, n_children)
        self._make_room(max(self.length, n_kept) + len(draft.slots) + 1)
        draft.embeddings[:n], draft.is_seen[:n, :n] = model.embed(tokens), _LOWER_TRIANGLE[:n, :n]
        draft.positions[:n], draft.slots[:n] = _COUNT[:n] + self.length, _COUNT[:n] + n_kept
        draft.counts[:] = 0, n, 0, 0
        self._on_all_threads(
            drafting.draft_tree, model.shape, model.packed, model.norms, model.has_feature_norm, self._cache,
            self._scratch, features, model.output_embeddings, model.output_tokens, draft,
            limits._replace(n_missing=n, n_kept=n_kept), rule, calibration,
        )  # fmt: skip
        self._kept = np.concatenate([self._kept, draft.positions[:n]])
        self._last_state = draft.outputs[n - 1].copy()
        self.length += n
        return draft

    def keep(self, nodes: IntegerArray) -> None:
        """Keep a path of nodes that starts at the kept text; drops all other nodes."""
        path = np.asarray(nodes, np.int64)
        source, target = len(self._kept) + path, len(self._kept) + np.arange(len(path))
        for part in (self._cache.keys, self._cache.values):
            part[:, target] = part[:, source]
        self._kept = np.append(self._kept, np.array(self._positions, np.int64)[path])
        if len(path):
            self._last_state = self._states[path[-1]].copy()
        self.length += len(path)
        self._drop_nodes()

    def truncate(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length must be between 0 and {self.length}, the tokens kept; got {length}")
        self._kept = self._kept[self._kept < length]
        self._last_state = self._last_state if length == self.length else None
        self.length = length
        self._drop_nodes()

    def _fused(self, features: Floats) -> Floats:
        model, states = self._model, np.empty((len(features), self._model.config.width), np.float32)
        features = np.ascontiguousarray(features, np.float32)
        norm, epsilon = model.norms[passes.FEATURE_NORM], model.shape.norm_epsilon
        for start in range(0, len(features), MOST_ROWS):
            rows = slice(start, start + MOST_ROWS)
            arguments = (
                model.packed, norm, epsilon, model.has_feature_norm, self._scratch, features[rows], states[rows]
            )  # fmt: skip
            self._on_all_threads(passes.fuse_features, *arguments)
        return states

    def _on_all_threads(self, compiled: Callable[..., None], *arguments: Any) -> None:
        team = self._model.team
        team.run(lambda worker: compiled(worker, team.n_threads, *arguments), self._scratch.barrier)

    def _has_state(self, position: int) -> bool:
        """Return True if the target's hidden state of the token before a position is known."""
        return self._first < position <= self._first + len(self._given)

    def _set_state(self, states: Floats, row: int, first: int, is_done: NDArray[np.bool_]) -> bool:
        """Set the state that a row reads; return False as long as its parent has not been computed."""
        node = first + row
        position, parent = self._positions[node], self._parents[node]
        if self._has_state(position):
            states[row] = self._given[position - 1 - self._first]
        elif parent >= first and not is_done[parent - first]:
            return False
        elif parent >= 0:
            states[row] = self._states[parent]
        elif self._last_state is not None:
            states[row] = self._last_state
        return True

    def _run(
        self,
        tokens: NDArray[np.int64],
        states: Floats,
        rows: NDArray[np.int64],
        first: int,
        logits: Floats,
        n_unscored: int,
    ) -> None:
        nodes, model = first + rows, self._model
        outputs = np.empty((len(rows), model.config.width), np.float32)
        scored = np.empty((len(rows) - n_unscored, logits.shape[1]), np.float32)
        head_rows = passes.HeadRows(
            embeddings=np.ascontiguousarray(model.embed(tokens[rows]), np.float32),
            states=states[rows],
            positions=np.array(self._positions, np.int64)[nodes],
            slots=len(self._kept) + nodes,
            n_kept=len(self._kept),
            is_seen=self._is_seen[nodes],
            first_scored=n_unscored,
        )
        self._on_all_threads(
            passes.run_head, model.shape, model.packed, model.norms, self._cache, self._scratch, head_rows, outputs,
            scored.reshape(-1),
        )  # fmt: skip
        self._states[nodes] = outputs
        logits[rows[n_unscored:]] = scored

    def _add_nodes(self, parents: list[int]) -> None:
        """Record depths and ancestors of new nodes."""
        n_old, n_new = len(self._parents), len(parents)
        is_seen = np.zeros((n_old + n_new, n_old + n_new), np.bool_)
        is_seen[:n_old, :n_old] = self._is_seen
        for node, parent in enumerate(parents, start=n_old):
            if not -1 <= parent < node:
                raise ValueError(f"parents must be -1 or an earlier node; node {node} has {parent}")
            if parent >= 0:
                is_seen[node] = is_seen[parent]
            is_seen[node, node] = True
            self._positions.append(self.length if parent < 0 else self._positions[parent] + 1)
            self._parents.append(parent)
        self._is_seen = is_seen
        self._states = np.concatenate([self._states, np.zeros((n_new, self._states.shape[1]), np.float32)])
        self._make_room(max(self.length, len(self._kept)) + len(self._parents) + 1)

    def _drop_nodes(self) -> None:
        self._parents, self._positions = [], []
        self._is_seen, self._states = np.zeros((0, 0), np.bool_), self._states[:0]

    def _make_room(self, n_slots: int) -> None:
        """Double the slots, or more."""
        old = self._cache
        n_old = old.keys.shape[1]
        if n_slots <= n_old:
            return
        self._cache, self._scratch = _new_cache(self._model, 2 * n_slots), _new_scratch(self._model, 2 * n_slots)
        self._cache.keys[:, :n_old], self._cache.values[:, :n_old] = old.keys, old.values


def _fitting(
    draft: drafting.Draft | None, model: HeadModel, limits: drafting.DraftLimits, n_children: int
) -> drafting.Draft:
    """Return working memory for drafts within some limits: the given one if it is large enough."""
    n_children, max_rows = min(n_children, len(model.output_tokens)), max(len(limits.pass_seconds) - 1, 1)
    if (
        draft is not None
        and len(draft.shares) >= limits.max_nodes
        and len(draft.logits) >= max_rows
        and draft.ranked.shape[1] == n_children
    ):
        return draft
    n_rows, width = 2 * MOST_ROWS + limits.max_nodes, model.config.width
    ranked, sources, children = np.zeros((3, n_rows, n_children), np.int32)
    embeddings, states, outputs = np.zeros((3, n_rows, width), np.float32)
    return drafting.Draft(
        positions=np.zeros(n_rows, np.int64),
        slots=np.zeros(n_rows, np.int64),
        is_seen=np.zeros((n_rows, n_rows), np.bool_),
        embeddings=embeddings,
        states=states,
        outputs=outputs,
        logits=np.zeros((max_rows, len(model.output_tokens)), np.float32),
        ranked=ranked,
        confidences=np.zeros((n_rows, n_children), np.float32),
        sources=sources,
        children=children,
        numbers=np.zeros((limits.max_nodes, 6), np.int32),
        shares=np.zeros((limits.max_nodes, 3), np.float32),
        counts=np.zeros(4, np.int64),
        rows_of_passes=np.zeros(drafting.MOST_PASSES, np.int64),
    )


def _bfloat_bits(values: Floats) -> NDArray[np.uint16]:
    """Round to bfloat16."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _new_cache(model: HeadModel, capacity: int) -> passes.HeadCache:
    config = model.config
    shape = config.n_key_heads, capacity, config.head_width
    speeds = config.rope_theta ** (-np.arange(0, config.head_width, 2) / config.head_width)
    angles = np.outer(np.arange(capacity), speeds)
    return passes.HeadCache(
        keys=np.zeros(shape, np.float32),
        values=np.zeros(shape, np.float32),
        cosines=np.cos(angles).astype(np.float32),
        sines=np.sin(angles).astype(np.float32),
    )


def _new_scratch(model: HeadModel, capacity: int) -> passes.HeadScratch:
    config, shape, n_threads = model.config, model.shape, model.team.n_threads
    attended = config.n_heads * config.head_width
    widest = max(2 * config.width, config.n_features * config.feature_width)
    longest = max(widest, shape.inner_width, attended)

    def per_thread(n: int, dtype: Any = np.float32) -> NDArray[Any]:
        return aligned_zeros(n_threads * n, dtype).reshape(n_threads, n)

    return passes.HeadScratch(
        wide=per_thread(MOST_ROWS * stride_of(widest)),
        records=per_thread(MOST_ROWS * record_stride(longest), np.uint8),
        panels=per_thread(MOST_ROWS * 2 * PANEL),
        scores=per_thread(capacity),
        heads=aligned_zeros(MOST_ROWS * (attended + 2 * config.n_key_heads * config.head_width + PANEL), np.float32),
        inner=aligned_zeros(MOST_ROWS * stride_of(max(shape.inner_width, attended)), np.float32),
        barrier=new_shared(),
    )


def _packed(weights: HeadWeights, output: Floats, type_name: str) -> tuple[passes.HeadShape, Any, Any]:
    config, packer = weights.config, StripPacker(1)
    heads = _in_panels(np.concatenate([weights.queries, weights.keys, weights.values]))
    attention_in = heads if weights.residual is None else np.concatenate([heads, weights.residual])
    gate, up, down = _in_panels(weights.gate), _in_panels(weights.up), _in_panels(weights.down.T).T
    gate_and_up = np.stack([each.reshape(-1, PANEL, config.width) for each in (gate, up)], axis=1)
    packer.add_matrix(0, pass_arrays.ATTENTION_IN, _linear(attention_in, type_name))
    packer.add_matrix(0, pass_arrays.ATTENTION_OUT, _linear(weights.attention_out, type_name))
    packer.add_matrix(0, pass_arrays.UP, _linear(gate_and_up.reshape(-1, config.width), type_name))
    packer.add_matrix(0, pass_arrays.DOWN, _linear(down, type_name))
    packer.add_matrix(1, passes.OUTPUT, _linear(output, type_name))
    packer.add_matrix(1, passes.FUSE, _linear(weights.fuse, type_name))
    absent = np.ones(1, np.float32)
    norms = (
        weights.embedding_norm, weights.state_norm, weights.inner_norm, weights.final_norm,
        *(absent if norm is None else norm for norm in (weights.query_norm, weights.key_norm, weights.feature_norm)),
    )  # fmt: skip
    shape = passes.HeadShape(
        width=config.width,
        n_heads=config.n_heads,
        n_key_heads=config.n_key_heads,
        head_width=config.head_width,
        inner_width=down.shape[1],
        n_outputs=len(weights.output_tokens),
        norm_epsilon=np.float32(config.norm_epsilon),
        norm_before_residual=config.norm_before_residual,
        has_head_norms=weights.query_norm is not None,
        has_residual=weights.residual is not None,
    )
    return shape, packer.packed_weights(), tuple(np.ascontiguousarray(norm, np.float32) for norm in norms)


def _in_panels(weight: Floats) -> Floats:
    """Add rows of zeros up to whole panels."""
    return np.pad(weight, ((0, -len(weight) % PANEL), (0, 0)))


def _linear(weight: Floats, type_name: str) -> Linear:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    weight = np.ascontiguousarray(weight, np.float32)
    name = "F32" if weight.shape[1] % BLOCK else type_name
    rows = weight if name == "F32" else quantize(weight, GGMLQuantizationType[name])
    return Linear(StackedBlocks((BlockMatrix(name, np.ascontiguousarray(rows).view(np.uint8), weight.shape[1]),)), None)
