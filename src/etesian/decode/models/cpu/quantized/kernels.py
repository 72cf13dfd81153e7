"""Compiled products of rows with one strip, one for each type. A pass calls them by address.

They are compiled at first use and cached on disk, so a model waits only for the types that it has.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cfunc, types

from etesian.decode.models.cpu.quantized.formats import FORMATS
from etesian.decode.models.cpu.quantized.tiles import strip_product

_SIGNATURE = types.void(*[types.int64] * 8)
_F32, _F16, _BF16 = (strip_product(FORMATS[name]) for name in ("F32", "F16", "BF16"))
_Q8_0, _Q4_0, _Q4_1 = (strip_product(FORMATS[name]) for name in ("Q8_0", "Q4_0", "Q4_1"))
_Q5_0, _Q5_1, _IQ4_NL = (strip_product(FORMATS[name]) for name in ("Q5_0", "Q5_1", "IQ4_NL"))
_Q2_K, _Q3_K, _Q4_K = (strip_product(FORMATS[name]) for name in ("Q2_K", "Q3_K", "Q4_K"))
_Q5_K, _Q6_K = (strip_product(FORMATS[name]) for name in ("Q5_K", "Q6_K"))


def f32(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _F32(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def f16(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _F16(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def bf16(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _BF16(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q8_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q8_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q4_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q4_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q4_1(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q4_1(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q5_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q5_0(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q5_1(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q5_1(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def iq4_nl(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _IQ4_NL(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q2_k(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q2_K(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q3_k(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q3_K(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q4_k(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q4_K(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q5_k(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q5_K(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


def q6_k(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    _Q6_K(n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out)


_ENTRIES = {
    each.__name__.upper(): each
    for each in (f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k)
}


@cache
def _compiled(type_name: str) -> Any:
    """Return the compiled function and keep a reference, because its address is valid only while it exists."""
    return cfunc(_SIGNATURE, cache=True)(_ENTRIES[type_name])


def kernel_address(type_name: str) -> int:
    """Return the address of the compiled product of a type, for `call_kernel`."""
    return int(_compiled(type_name).address)
