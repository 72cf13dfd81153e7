"""Products with quantized weights: right, exact by row, and the same on every instruction set."""

from __future__ import annotations

import ctypes
from functools import cache, partial

import gguf_files
import numpy as np
import pytest
from llvmlite import binding, ir
from numba import njit

from etesian.decode.models.cpu.products import stride_of
from etesian.decode.models.cpu.quantized import activations, strips, tiles
from etesian.decode.models.cpu.quantized.blocks import SIMPLE
from etesian.decode.models.cpu.quantized.formats import FORMATS, FloatFormat
from etesian.decode.models.cpu.quantized.kernels import kernel_address
from etesian.decode.models.cpu.quantized.strips import pack_strips

N_IN, N_OUT, N_ROWS = 512, 80, 4


@njit
def quantized(x, n_rows, n_in, records):
    activations.quantize_rows(x, n_rows, n_in, stride_of(n_in), records)


def padded(x: np.ndarray) -> np.ndarray:
    rows = np.zeros((len(x), stride_of(x.shape[1])), np.float32)
    rows[:, : x.shape[1]] = x
    return rows


def strips_of(type_name: str, rows: np.ndarray, n_in: int) -> list[np.ndarray]:
    size, count = FORMATS[type_name].strip_bytes(n_in), -(-len(rows) // 32)
    packed = np.zeros(count * size + 8192, np.uint8)
    pack_strips(type_name, rows, n_in, packed, np.arange(count) * size)
    return [packed[i * size :] for i in range(count)]


def product(type_name: str, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows of x times all strips, by the compiled kernel."""
    kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(kernel_address(type_name))
    n_rows, n_in = x.shape
    floats = padded(x)
    data, stride, steps = floats, floats.strides[0], n_in
    if not isinstance(FORMATS[type_name], FloatFormat):
        stride, steps = activations.record_stride(n_in), n_in // 32
        data = np.zeros(n_rows * stride, np.uint8)
        quantized(floats.reshape(-1), n_rows, n_in, data)
    parts = []
    for strip in strips_of(type_name, rows, n_in):
        out = np.zeros((n_rows, 64), np.float32)
        kernel(n_rows, data.ctypes.data, stride, strip.ctypes.data, steps, strip.ctypes.data, 64, out.ctypes.data)
        parts.append(out[:, :32])
    return np.concatenate(parts, axis=1)[:, : len(rows)]


def rounded_rows(x: np.ndarray) -> np.ndarray:
    """Activations after rounding to 8 bits in blocks of 32."""
    blocks = x.reshape(len(x), -1, 32)
    scales = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    return (np.rint(blocks / scales) * scales.astype(np.float64)).reshape(x.shape)


@pytest.mark.parametrize("type_name", FORMATS)
def test_product_is_that_of_dequantized_weights_and_rounded_rows(type_name):
    rng = np.random.default_rng(0)
    rows = gguf_files.random_blocks(type_name, N_OUT, N_IN, rng, spread=1.0)
    x = rng.standard_normal((N_ROWS, N_IN)).astype(np.float32)
    weights = gguf_files.floats(type_name, rows).astype(np.float64)
    is_float = isinstance(FORMATS[type_name], FloatFormat)
    expected = (x.astype(np.float64) if is_float else rounded_rows(x)) @ weights.T
    assert np.abs(product(type_name, rows, x) - expected).max() < 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1"])
def test_levels_of_four_bits_are_packed_byte_by_byte(type_name, monkeypatch):
    rows = gguf_files.random_blocks(type_name, 48, 64, np.random.default_rng(4), spread=1.0)
    fast = strips_of(type_name, rows, 64)[0].copy()
    one_by_one = partial(strips._pack_simple, SIMPLE.index(type_name))
    monkeypatch.setattr(strips, "_pack_nibbles", one_by_one)
    np.testing.assert_array_equal(fast, strips_of(type_name, rows, 64)[0])


@pytest.mark.parametrize("type_name", FORMATS)
def test_row_has_the_same_bits_beside_any_number_of_other_rows(type_name):
    rng = np.random.default_rng(1)
    rows = gguf_files.random_blocks(type_name, 32, N_IN, rng, spread=1.0)
    x = rng.standard_normal((tiles.HOST.tile_rows, N_IN)).astype(np.float32)
    together = product(type_name, rows, x)
    for n_rows in range(1, len(x)):
        assert np.array_equal(product(type_name, rows, x[:n_rows]), together[:n_rows])
    assert np.array_equal(product(type_name, rows, x[::-1])[::-1], together)


FEATURES = {"vnni512": "avx512vnni", "vnni256": "avx512vnni", "maddubs": "avx2"}
LARGEST_LEVELS = {
    "Q8_0": (34, 2, 34, 0x7F),
    "Q4_1": (20, 4, 20, 0xFF),
    "Q5_0": (22, 2, 22, 0xFF),
    "Q6_K": (210, 0, 192, 0xFF),
}
"""Bytes of a block, the range of those that hold levels, and their value if all levels are the largest."""


@cache
def compiled_by(arithmetic: str, type_name: str):
    feature = FEATURES.get(arithmetic)
    if feature and not binding.get_host_cpu_features().get(feature, False):
        pytest.skip(f"this processor has no {feature}")
    multiply = tiles.strip_product(FORMATS[type_name], tiles.ARITHMETICS[arithmetic])

    @njit
    def compiled(n_rows, data, stride, strip, steps, out):
        multiply(n_rows, data, stride, strip, steps, strip, 64, out)

    return compiled


def product_by(arithmetic: str, type_name: str, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows of x times the first strip, by the arithmetic of an instruction set that this processor has."""
    compiled, n_in = compiled_by(arithmetic, type_name), x.shape[1]
    stride = activations.record_stride(n_in)
    data, out = np.zeros(len(x) * stride, np.uint8), np.zeros((len(x), 64), np.float32)
    quantized(padded(x).reshape(-1), len(x), n_in, data)
    strip = strips_of(type_name, rows, n_in)[0]
    compiled(len(x), data.ctypes.data, stride, strip.ctypes.data, n_in // 32, out.ctypes.data)
    return out[:, :32]


@pytest.mark.parametrize("arithmetic", tiles.ARITHMETICS)
@pytest.mark.parametrize("type_name", LARGEST_LEVELS)
def test_every_arithmetic_gives_the_same_bits(type_name, arithmetic):
    rng = np.random.default_rng(2)
    rows = gguf_files.random_blocks(type_name, 32, N_IN, rng, spread=1.0)
    x = rng.standard_normal((2, N_IN)).astype(np.float32)
    assert np.array_equal(product_by(arithmetic, type_name, rows, x), product(type_name, rows, x))


@pytest.mark.parametrize("arithmetic", tiles.ARITHMETICS)
@pytest.mark.parametrize("type_name", LARGEST_LEVELS)
def test_sums_of_the_largest_products_do_not_overflow(type_name, arithmetic):
    size, first, last, largest = LARGEST_LEVELS[type_name]
    rows = gguf_files.random_blocks(type_name, 32, N_IN, np.random.default_rng(3), spread=1.0)
    rows.reshape(32, -1, size)[:, :, first:last] = largest
    x = np.array([np.ones(N_IN), -np.ones(N_IN)], np.float32)
    expected = x.astype(np.float64) @ gguf_files.floats(type_name, rows).astype(np.float64).T
    assert np.abs(product_by(arithmetic, type_name, rows, x) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("arithmetic", "processor", "expected"), [
    ("vnni512", "cooperlake", "vpdpbusd"), ("vnni256", "alderlake", "vpdpbusd"), ("maddubs", "haswell", "vpmaddubsw"),
])  # fmt: skip
@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_1", "Q6_K"])
def test_kernel_uses_the_integer_instruction_of_each_processor(type_name, arithmetic, processor, expected):
    assembly = compiled_for(processor, type_name, arithmetic)
    assert [name for name in ("vpdpbusd", "vpmaddubsw") if name in assembly] == [expected]


def compiled_for(processor: str, type_name: str, arithmetic: str) -> str:
    """Assembly of a kernel for an x86 processor, whichever this one is."""
    module = ir.Module("kernel")
    form, choice = FORMATS[type_name], tiles.ARITHMETICS[arithmetic]
    for n_rows in (1, choice.tile_rows):
        tiles.tile_function(module, form, choice, n_rows).linkage = "external"
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple("x86_64-unknown-linux-gnu")
    parsed = binding.parse_assembly(str(module))
    return target.create_target_machine(cpu=processor, opt=3).emit_assembly(parsed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_with_nan_or_infinity_give_nan_and_not_numbers(value):
    rng = np.random.default_rng(3)
    rows = gguf_files.random_blocks("Q4_0", 32, N_IN, rng, spread=1.0)
    x = rng.standard_normal((2, N_IN)).astype(np.float32)
    x[1, 100] = value
    out = product("Q4_0", rows, x)
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[0]).all()


def test_rows_of_zeros_and_of_tiny_numbers_give_zeros():
    rows = gguf_files.random_blocks("Q4_1", 32, N_IN, np.random.default_rng(4), spread=1.0)
    x = np.zeros((2, N_IN), np.float32)
    x[1] = 1e-42
    assert not product("Q4_1", rows, x).any()


def test_half_precision_by_bits_is_that_of_numpy():
    @tiles.instruction
    def by_bits(typing_context, bits):
        from numba import types

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.IntType(16), 2)
            pair = builder.insert_element(ir.Constant(vector, [0, 0]), arguments[0], ir.IntType(32)(0))
            return builder.extract_element(tiles.halves_by_bits(builder, pair), ir.IntType(32)(0))

        return types.float32(types.uint16), generate

    @njit
    def convert(bits, out):
        for i in range(len(bits)):
            out[i] = by_bits(bits[i])

    bits = np.arange(2**16, dtype=np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    out = np.zeros(len(bits), np.float32)
    convert(bits, out)
    is_finite = np.isfinite(expected)
    assert np.array_equal(out[is_finite], expected[is_finite])
