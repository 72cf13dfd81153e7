"""Matrices and tables whose rows are GGML blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu.quantized.formats import FORMATS, STRIP, FloatFormat


@dataclass(frozen=True)
class BlockMatrix:
    """A matrix as stored in a GGUF file.

    Parameters
    ----------
    type_name
        A key of `FORMATS`.
    rows : ndarray of uint8, shape (n_out, bytes of a row)
    n_in
    """

    type_name: str
    rows: NDArray[np.uint8]
    n_in: int

    @property
    def n_out(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def is_quantized(self) -> bool:
        """Return True if its products read quantized activations."""
        return not isinstance(FORMATS[self.type_name], FloatFormat)

    def take(self, order: slice | NDArray[np.integer]) -> BlockMatrix:
        """Return some of the rows, in this order."""
        return BlockMatrix(self.type_name, self.rows[order], self.n_in)

    def floats(self, tokens: slice | NDArray[np.integer] = slice(None)) -> NDArray[np.float32]:
        """Return rows as float32, shape (n, n_in)."""
        return as_floats(self.type_name, self.rows[tokens])


@dataclass(frozen=True)
class StackedBlocks:
    """Matrices of the same width, one below the other; all but the last fill whole strips."""

    parts: tuple[BlockMatrix, ...]

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.parts[0].n_in

    @property
    def n_out(self) -> int:
        """Number of rows of all parts."""
        return sum(part.n_out for part in self.parts)

    def __len__(self) -> int:
        return self.n_out


def stack(parts: Sequence[BlockMatrix]) -> StackedBlocks:
    """Stack matrices; those of one type become one, and if types change inside a strip, all become float32."""
    types = {part.type_name for part in parts}
    if len(types) > 1 and any(part.n_out % STRIP for part in parts[:-1]):
        parts = [BlockMatrix("F32", part.floats().view(np.uint8), part.n_in) for part in parts]
        types = {"F32"}
    if len(types) == 1:
        rows = parts[0].rows if len(parts) == 1 else np.concatenate([part.rows for part in parts])
        parts = [BlockMatrix(types.pop(), rows, parts[0].n_in)]
    return StackedBlocks(tuple(parts))


def as_floats(type_name: str, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return rows of blocks as float32, shape (n_rows, n_in)."""
    if type_name in ("F32", "F16"):
        return np.ascontiguousarray(rows).view({"F32": "<f4", "F16": "<f2"}[type_name]).astype(np.float32)
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    floats: NDArray[np.float32] = dequantize(rows, GGMLQuantizationType[type_name])
    return floats
