"""Layouts of the blocks of each GGML type in a strip of 32 columns."""

from __future__ import annotations

from dataclasses import dataclass

STRIP = 32
"""Columns (rows of the weight matrix) of a strip."""
BLOCK = 32
"""Inputs that share one scale of the activations."""
SUPERBLOCK = 256
"""Inputs that share the half-precision scales of a nested type."""
HALF = 2
"""Bytes of a half-precision number."""


@dataclass(frozen=True)
class BlockFormat:
    """A quantized type: a weight is ``scale * (level - offset) + minimum``.

    Parameters
    ----------
    name : str
        Name of the GGML type, such as ``"Q4_K"``.
    bits : {4, 6, 8}
        Bits per level. Levels are unsigned; narrower ones are stored in the next larger width.
    n_parts : {1, 2}
        Number of scales per block of 32 inputs.
    is_nested : bool
        True if scales and minimums are 8-bit multiples of half-precision values shared by 256 inputs.
    has_minimum : bool
        True if a block has a minimum.
    offset : int
        The level of a zero weight; 0 for types with a minimum.
    used_bits : int or None
        Bits that levels have, if fewer than are stored.
    """

    name: str
    bits: int
    n_parts: int = 1
    is_nested: bool = False
    has_minimum: bool = False
    offset: int = 0
    used_bits: int | None = None

    @property
    def largest(self) -> int:
        """The largest level."""
        return 2 ** (self.used_bits or self.bits) - 1

    @property
    def level_bytes(self) -> int:
        """Bytes of a block's levels in a strip."""
        return STRIP * BLOCK * self.bits // 8

    @property
    def block_bytes(self) -> int:
        """Bytes of a block in a strip: levels, then scales, then minimums."""
        numbers = self.n_parts * (1 + self.has_minimum)
        return self.level_bytes + numbers * STRIP * (1 if self.is_nested else HALF)

    @property
    def superblock_bytes(self) -> int:
        """Bytes of a superblock's half-precision scales in a strip; 0 where scales are not nested."""
        return (1 + self.has_minimum) * STRIP * HALF if self.is_nested else 0

    def strip_bytes(self, n_in: int) -> int:
        """Bytes of a whole strip: the scales of all superblocks, then all blocks."""
        return n_in // SUPERBLOCK * self.superblock_bytes + n_in // BLOCK * self.block_bytes


@dataclass(frozen=True)
class FloatFormat:
    """A type of plain numbers, multiplied with activations in float32.

    Parameters
    ----------
    name : str
        Name of the GGML type.
    item_bytes : int
        Bytes per weight.
    """

    name: str
    item_bytes: int

    def strip_bytes(self, n_in: int) -> int:
        """Bytes of a whole strip: all columns of the first input, then of the second."""
        return STRIP * self.item_bytes * n_in


StripFormat = BlockFormat | FloatFormat

FORMATS: dict[str, StripFormat] = {
    each.name: each
    for each in (
        FloatFormat("F32", 4),
        FloatFormat("F16", 2),
        FloatFormat("BF16", 2),
        BlockFormat("Q8_0", 8, offset=128),
        BlockFormat("Q4_0", 4, offset=8),
        BlockFormat("Q4_1", 4, has_minimum=True),
        BlockFormat("Q5_0", 6, offset=16, used_bits=5),
        BlockFormat("Q5_1", 6, has_minimum=True, used_bits=5),
        BlockFormat("IQ4_NL", 8, offset=128),
        BlockFormat("Q2_K", 4, n_parts=2, is_nested=True, has_minimum=True),
        BlockFormat("Q3_K", 4, n_parts=2, is_nested=True, offset=4),
        BlockFormat("Q4_K", 4, is_nested=True, has_minimum=True),
        BlockFormat("Q5_K", 6, is_nested=True, has_minimum=True, used_bits=5),
        BlockFormat("Q6_K", 6, n_parts=2, is_nested=True, offset=32),
    )
}
"""The types whose weights the compiled pass reads without conversion."""
