"""Pack a network of block matrices for the compiled pass: strips in the order in which a pass reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import pass_arrays
from etesian.decode.models.cpu.architecture import Linear, Network
from etesian.decode.models.cpu.packing import Packer, aligned_zeros, shape_of
from etesian.decode.models.cpu.products import BlockWeights
from etesian.decode.models.cpu.quantized.formats import FORMATS, STRIP
from etesian.decode.models.cpu.quantized.kernels import kernel_address
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.models.cpu.quantized.strips import pack_strips
from etesian.decode.models.cpu.tiles import LINE

ROWS_AT_ONCE = 64 * STRIP
"""Rows that a thread repacks before it takes others."""
MARGIN = 8192
"""Bytes behind the last strip that kernels may ask memory for."""


def pack_block_network(network: Network, n_threads: int) -> tuple[pass_arrays.Shape, BlockWeights]:
    """Pack all weights; see `etesian.decode.models.cpu.packed_network.pack_network`.

    Parameters
    ----------
    network : Network
        Network whose products have weights of type `StackedBlocks`, and whose norms and biases are arrays of float32.
    n_threads
        Number of threads that repack.
    """
    architecture = network.architecture
    shape = shape_of(architecture, 2, np.float32(architecture.embedding_scale))
    packer = StripPacker(architecture.n_layers)
    return packer.add_network(network, shape), packer.finish(network, n_threads)


class StripPacker(Packer):
    """Assigns a place to every strip, then repacks all matrices at once."""

    def __init__(self, n_layers: int) -> None:
        super().__init__(n_layers)
        self._n_bytes = 0
        self._strips: list[tuple[int, int, int, int, int]] = []
        self._jobs: list[Callable[[NDArray[np.uint8]], None]] = []
        self._reads_levels = np.zeros((n_layers + 1, 4), np.uint8)

    def add_matrix(self, layer: int, kind: int, *parts: Linear) -> None:
        """See `Packer`."""
        self.matrix_starts[layer, kind] = len(self._strips)
        columns = [_strips_of(linear.weight) for linear in parts]
        starts: list[list[int]] = [[] for _ in parts]
        for panel in range(len(columns[0]) // 2):
            for turn, strips in enumerate(columns):
                starts[turn] += [self._place(strips[2 * panel + half]) for half in range(2)]
        for linear, places in zip(parts, starts, strict=True):
            self._add_jobs(linear.weight, places)
            self._reads_levels[layer, kind] |= any(part.is_quantized for part in linear.weight.parts)
        self.add_biases(layer, kind, *parts)

    def finish(self, network: Network, n_threads: int) -> BlockWeights:
        """Repack, and add the tables of tokens, positions and layers."""
        positions = np.zeros(1, np.float32) if network.positions is None else network.positions
        return self.packed_weights(n_threads)._replace(positions=positions, **self.tables(network))

    def packed_weights(self, n_threads: int = 1) -> BlockWeights:
        """Repack all matrices; the tables of positions and layers are empty."""
        packed = aligned_zeros(self._n_bytes + MARGIN, np.uint8)
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(lambda job: job(packed), self._jobs):
                pass
        return BlockWeights(
            packed=packed,
            embedding=np.zeros(1, np.float32),  # rows are looked up for each pass
            positions=np.zeros(1, np.float32),
            strips=np.array(self._strips, np.int64),
            reads_levels=self._reads_levels,
            vectors=np.concatenate(self._vectors),
            matrix_starts=self.matrix_starts,
            vector_starts=self.vector_starts,
            windows=np.zeros(1, np.int64),
            rotations=np.zeros(1, np.int64),
        )

    def _place(self, matrix: BlockMatrix) -> int:
        """Record a strip of a matrix; return where it begins."""
        form, start = FORMATS[matrix.type_name], self._n_bytes
        steps = matrix.n_in // 32 if matrix.is_quantized else matrix.n_in
        n_bytes = -(-form.strip_bytes(matrix.n_in) // LINE) * LINE
        self._strips.append((start, kernel_address(matrix.type_name), steps, matrix.is_quantized, n_bytes))
        self._n_bytes += n_bytes
        return start

    def _add_jobs(self, weight: StackedBlocks, places: Sequence[int]) -> None:
        """Add the repacking of each part, some rows at a time."""
        first = 0
        for part in weight.parts:
            for row in range(0, part.n_out, ROWS_AT_ONCE):
                rows = part.rows[row : row + ROWS_AT_ONCE]
                starts = np.array(places[first + row // STRIP :][: -(-len(rows) // STRIP)], np.int64)
                self._jobs.append(_job(part, rows, starts))
            first += -(-part.n_out // STRIP)


def _job(part: BlockMatrix, rows: NDArray[np.uint8], starts: NDArray[np.int64]) -> Callable[[NDArray[np.uint8]], None]:
    return lambda packed: pack_strips(part.type_name, np.ascontiguousarray(rows), part.n_in, packed, starts)


def _strips_of(weight: Any) -> list[BlockMatrix]:
    """Return the matrix of each strip; an odd number is rounded up to fill a panel."""
    strips = [part for part in weight.parts for _ in range(-(-part.n_out // STRIP))]
    return strips + strips[-1:] * (len(strips) % 2)
