"""Rows that share no cache line, and their views."""

import numpy as np
import pytest

from etesian.sparse.problems.packed_rows import LINE_BYTES, rows_of, views_of, zero_rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 5, 8, 9, 15, 16, 17, 33, 52])
def test_rows_begin_at_a_cache_line_or_a_fraction_of_one(n_columns, dtype):
    rows = zero_rows(7, n_columns, dtype)
    row_bytes = rows.strides[0]
    assert rows.shape[0] == 7
    assert rows.shape[1] >= n_columns
    assert rows.flags.c_contiguous
    assert rows.ctypes.data % LINE_BYTES == 0
    assert row_bytes % LINE_BYTES == 0 if row_bytes > LINE_BYTES else LINE_BYTES % row_bytes == 0
    assert row_bytes < max(2 * n_columns * rows.itemsize, n_columns * rows.itemsize + LINE_BYTES)


def test_views_lead_back_to_their_rows():
    rows = zero_rows(5, 6, "float32")
    rows[...] = np.arange(rows.size).reshape(rows.shape)
    views = views_of(rows, 4, 6)
    assert [view.shape for view in views] == [(5, 4), (5,), (5,)]
    found = rows_of(views)
    assert found.ctypes.data == rows.ctypes.data
    assert np.array_equal(found, rows)
    found[2, 4] = -1
    assert views[1][2] == -1


def test_empty_arrays_do_not_count_as_columns():
    rows = zero_rows(5, 5, "float64")
    factors, variance = views_of(rows, 4, 5)
    assert rows_of((factors, np.zeros(0), variance)).ctypes.data == rows.ctypes.data


@pytest.mark.parametrize("n_factors", [1, 3, 4])
def test_arrays_of_their_own_are_copied(n_factors):
    factors, bias = np.arange(5.0 * n_factors).reshape(5, n_factors), -np.arange(5.0)
    found = rows_of((factors, bias))
    assert np.array_equal(found[:, :n_factors], factors)
    assert np.array_equal(found[:, n_factors], bias)
    assert not np.shares_memory(found, factors)


def test_views_of_two_tables_are_copied():
    one, other = (zero_rows(5, 6, "float32") for _ in range(2))
    other[...] = 7
    found = rows_of((views_of(one, 4, 6)[0], views_of(other, 4, 6)[1]))
    assert (found[:, 4] == 7).all()
    assert not np.shares_memory(found, one)
