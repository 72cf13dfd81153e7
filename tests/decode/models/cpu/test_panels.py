"""Products of long rows with panels, cut into stretches and tiles: each row keeps the bits that it has alone."""

from __future__ import annotations

import numpy as np
import pytest

from etesian.decode.models.cpu.products import LONG_STRETCH, SHORT_STRETCH, _multiply_panel, stride_of
from etesian.decode.models.cpu.tiles import PANEL, TILE_ROWS

N_IN = 4 * LONG_STRETCH + 2
"""More than a long stretch of bfloat16, and not a whole number of stretches."""


def as_bits(x: np.ndarray, dtype: str) -> np.ndarray:
    """Float32 as it is, or the bits of bfloat16 (cut off, which is exact for what `numbers` gives)."""
    return x if dtype == "float32" else (x.view(np.uint32) >> 16).astype(np.uint16)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Float32 that bfloat16 holds exactly."""
    drawn = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return (drawn.view(np.uint32) & 0xFFFF0000).view(np.float32)


def product(rows: np.ndarray, columns: np.ndarray, dtype: str) -> np.ndarray:
    """Rows, shape (n, N_IN), times a panel, shape (N_IN, PANEL), by the compiled loop; `out` begins as what is not a number."""
    lanes = 1 if dtype == "float32" else 2
    packed = columns.reshape(N_IN // lanes, lanes, PANEL).transpose(0, 2, 1)
    padded = np.zeros((len(rows), stride_of(N_IN)), np.float32)
    padded[:, :N_IN] = rows
    out = np.full((len(rows), PANEL), np.nan, np.float32)
    x, w = (as_bits(np.ascontiguousarray(array).reshape(-1), dtype) for array in (padded, packed))
    _multiply_panel(x, len(rows), N_IN, lanes, w, 0, out.reshape(-1), 0)
    return out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_has_the_bits_that_it_has_alone(dtype):
    assert N_IN // 2 > LONG_STRETCH > SHORT_STRETCH
    rows, columns = numbers((4 * TILE_ROWS + 1, N_IN), 0), numbers((N_IN, PANEL), 1)
    alone = np.concatenate([product(rows[i : i + 1], columns, dtype) for i in range(len(rows))])
    for n_rows in range(1, len(rows) + 1):
        assert (product(rows[:n_rows], columns, dtype) == alone[:n_rows]).all(), f"{n_rows} rows"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_are_those_of_numpy(dtype):
    rows, columns = numbers((2 * TILE_ROWS + 3, N_IN), 2), numbers((N_IN, PANEL), 3)
    expected = rows.astype(np.float64) @ columns
    np.testing.assert_allclose(product(rows, columns, dtype), expected, atol=1e-3)
