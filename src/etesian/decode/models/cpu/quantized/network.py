"""A network of block matrices laid out for the compiled pass: strips in the order in which a pass reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import forward
from etesian.decode.models.cpu.architecture import Linear, Network
from etesian.decode.models.cpu.packed_network import UNLIMITED, aligned_zeros, rotation_tables, shape_of, with_norms
from etesian.decode.models.cpu.products import BlockWeights
from etesian.decode.models.cpu.quantized.formats import FORMATS, STRIP
from etesian.decode.models.cpu.quantized.kernels import kernel_address
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.models.cpu.quantized.strips import pack_strips
from etesian.decode.models.cpu.tiles import LINE, PANEL

ROWS_AT_ONCE = 64 * STRIP
"""Rows that a thread repacks before it takes others."""
MARGIN = 8192
"""Bytes behind the last strip that kernels may ask memory for."""


def pack_block_network(network: Network, n_threads: int) -> tuple[forward.Shape, BlockWeights]:
    """Lay out all weights; see `etesian.decode.models.cpu.packed_network.pack_network`.

    Parameters
    ----------
    network
        Its products' weights are `StackedBlocks`, and its norms and biases arrays of float32.
    n_threads
        Threads that repack.
    """
    architecture = network.architecture
    shape = shape_of(architecture, 2, np.float32(architecture.embedding_scale))
    layout = BlockLayout(architecture.n_layers)
    for index in range(architecture.n_layers):
        layer = network.read_layer(index)
        layout.add_matrix(index, forward.ATTENTION_IN, layer.attention_in)
        layout.add_matrix(index, forward.ATTENTION_OUT, layer.attention_out)
        layout.add_matrix(index, forward.UP, *([layer.up] if layer.gate is None else [layer.gate, layer.up]))
        layout.add_matrix(index, forward.DOWN, layer.down)
        layout.add_norm(index, forward.FIRST_NORM, layer.first_norm)
        layout.add_norm(index, forward.SECOND_NORM, layer.second_norm)
        layout.add_norm(index, forward.QUERY_NORM, layer.query_norm)
        layout.add_norm(index, forward.KEY_NORM, layer.key_norm)
        layout.add_norm(index, forward.ATTENTION_OUT_NORM, layer.attention_out_norm)
        layout.add_norm(index, forward.DOWN_NORM, layer.down_norm)
        shape = with_norms(shape, layer)
    layout.add_matrix(architecture.n_layers, forward.OUTPUT, network.output)
    layout.add_norm(architecture.n_layers, forward.FINAL_NORM, network.final_norm)
    return shape, layout.finish(network, n_threads)


@dataclass
class BlockLayout:
    """Gives every strip its place, then repacks all matrices at once."""

    n_layers: int
    n_bytes: int = 0
    n_vectors: int = 0
    strips: list[tuple[int, int, int, int]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    jobs: list[Callable[[NDArray[np.uint8]], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix_starts = np.zeros((self.n_layers + 1, 4), np.int64)
        self.vector_starts = np.zeros((self.n_layers + 1, forward.N_VECTORS), np.int64)
        self.reads_levels = np.zeros((self.n_layers + 1, 4), np.uint8)

    def add_matrix(self, layer: int, kind: int, *linears: Linear) -> None:
        """Matrices of one product; the panels of several take turns."""
        self.matrix_starts[layer, kind] = len(self.strips)
        columns = [_strips_of(linear.weight) for linear in linears]
        starts: list[list[int]] = [[] for _ in linears]
        for panel in range(len(columns[0]) // 2):
            for turn, strips in enumerate(columns):
                starts[turn] += [self._place(strips[2 * panel + half]) for half in range(2)]
        for linear, places in zip(linears, starts, strict=True):
            self._add_jobs(linear.weight, places)
            self.reads_levels[layer, kind] |= any(part.is_quantized for part in linear.weight.parts)
        biases = np.stack([_padded_bias(linear).reshape(-1, PANEL) for linear in linears], axis=1)
        self._add_vector(layer, kind, biases.reshape(-1))

    def add_norm(self, layer: int, kind: int, norm: Linear | None) -> None:
        """Factors, then terms."""
        if norm is not None:
            terms = np.zeros_like(norm.weight) if norm.bias is None else norm.bias
            self._add_vector(layer, kind, np.concatenate([norm.weight, terms]))

    def finish(self, network: Network, n_threads: int) -> BlockWeights:
        """Repack, and add the tables that tokens, positions and layers look up."""
        return self.packed_weights(n_threads)._replace(
            positions=np.zeros(1, np.float32) if network.positions is None else network.positions,
            windows=np.array([window or UNLIMITED for window in network.architecture.windows], np.int64),
            rotations=rotation_tables(network),
        )

    def packed_weights(self, n_threads: int = 1) -> BlockWeights:
        """Repack all matrices; the tables that layers look up are empty."""
        packed = aligned_zeros(self.n_bytes + MARGIN, np.uint8)
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(lambda job: job(packed), self.jobs):
                pass
        return BlockWeights(
            packed=packed,
            vectors=np.concatenate(self.vectors),
            embedding=np.zeros(1, np.float32),  # rows are looked up for each pass
            positions=np.zeros(1, np.float32),
            matrix_starts=self.matrix_starts,
            vector_starts=self.vector_starts,
            windows=np.zeros(1, np.int64),
            rotations=np.zeros(1, np.int64),
            strips=np.array(self.strips, np.int64),
            reads_levels=self.reads_levels,
        )

    def _place(self, matrix: BlockMatrix) -> int:
        """Note a strip of a matrix; where it begins."""
        form, start = FORMATS[matrix.type_name], self.n_bytes
        steps = matrix.n_in // 32 if matrix.is_quantized else matrix.n_in
        self.strips.append((start, kernel_address(matrix.type_name), steps, matrix.is_quantized))
        self.n_bytes += -(-form.strip_bytes(matrix.n_in) // LINE) * LINE
        return start

    def _add_jobs(self, weight: StackedBlocks, places: Sequence[int]) -> None:
        """Repacking of each part, some rows at a time."""
        first = 0
        for part in weight.parts:
            for row in range(0, part.n_out, ROWS_AT_ONCE):
                rows = part.rows[row : row + ROWS_AT_ONCE]
                starts = np.array(places[first + row // STRIP :][: -(-len(rows) // STRIP)], np.int64)
                self.jobs.append(_job(part, rows, starts))
            first += -(-part.n_out // STRIP)

    def _add_vector(self, layer: int, kind: int, vector: NDArray[np.float32]) -> None:
        self.vector_starts[layer, kind] = self.n_vectors
        self.vectors.append(vector.astype(np.float32, copy=False))
        self.n_vectors += len(vector)


def _job(part: BlockMatrix, rows: NDArray[np.uint8], starts: NDArray[np.int64]) -> Callable[[NDArray[np.uint8]], None]:
    return lambda packed: pack_strips(part.type_name, np.ascontiguousarray(rows), part.n_in, packed, starts)


def _strips_of(weight: Any) -> list[BlockMatrix]:
    """The matrix of each strip; an odd number is rounded up to fill a panel."""
    strips = [part for part in weight.parts for _ in range(-(-part.n_out // STRIP))]
    return strips + strips[-1:] * (len(strips) % 2)


def _padded_bias(linear: Linear) -> NDArray[np.float32]:
    bias = np.zeros(-(-linear.weight.n_out // PANEL) * PANEL, np.float32)
    if linear.bias is not None:
        bias[: len(linear.bias)] = linear.bias
    return bias
