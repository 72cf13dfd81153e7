"""`CpuModel`: a causal language model in the compiled engine, whose rows have the same bits in passes of any size.

It runs the families of `etesian.decode.models.cpu.architecture`; `HuggingFaceModel` runs the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.batching import ScoreRequest
from etesian.decode.models.cpu import forward, pass_arrays, together
from etesian.decode.models.cpu.architecture import FAMILIES, Network, read_network
from etesian.decode.models.cpu.context import CpuContext
from etesian.decode.models.cpu.packed_network import pack_network
from etesian.decode.models.cpu.pass_memory import LONGEST_PASS, hidden_rows, new_scratch, rotation_tables
from etesian.decode.models.cpu.products import BlockWeights, Weights
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.models.cpu.quantized.network import pack_block_network
from etesian.decode.models.cpu.quantized.rounding import quantized
from etesian.decode.models.cpu.threads import ThreadTeam, default_threads
from etesian.decode.models.language_model import ModelTraits, Scores
from etesian.decode.models.row_exactness import probe_rows

_PROBED_LENGTH, _PROBED_ROWS = 5, (3, 16)  # few: a large model would delay loading
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
        self.shape: pass_arrays.Shape
        self.weights: Weights | BlockWeights
        self.shape, self.weights = _packed(network)
        self._table = network.embedding if isinstance(network.embedding, BlockMatrix) else None
        self._kept_rows: dict[int, NDArray[np.float32]] = {}  # of the embedding table, by token
        self._rotations = [(network.rotation_speeds, network.rotation_scale)]
        if network.second_rotation_speeds is not None:
            self._rotations.append((network.second_rotation_speeds, network.second_rotation_scale))
        self.n_threads = n_threads or default_threads(self.weight_bytes)
        self.kept_layers: tuple[int, ...] = ()
        self._shared_scratch: tuple[int, pass_arrays.Scratch] | None = None
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
        width, start = self.shape.width, self.weights.vector_starts[self.shape.n_layers, pass_arrays.FINAL_NORM]
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

    def shared_scratch(self, capacity: int) -> pass_arrays.Scratch:
        """Return working memory for common passes over caches of at most `capacity` slots."""
        if self._shared_scratch is None or self._shared_scratch[0] < capacity:
            self._shared_scratch = capacity, new_scratch(self, capacity)
        return self._shared_scratch[1]

    def rotations(self, n_positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return cosines and sines by position, flat: (table, n_positions, rotary_width / 2)."""
        tables = [rotation_tables(speeds, scale, n_positions) for speeds, scale in self._rotations]
        return np.concatenate([table[0] for table in tables]), np.concatenate([table[1] for table in tables])

    def run(
        self,
        cache: pass_arrays.Cache | pass_arrays.Caches,
        scratch: pass_arrays.Scratch,
        rows: pass_arrays.Rows,
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


def _packed(network: Network) -> tuple[pass_arrays.Shape, Weights | BlockWeights]:
    if isinstance(network.output.weight, StackedBlocks):
        return pack_block_network(network, default_threads())
    return pack_network(network)
