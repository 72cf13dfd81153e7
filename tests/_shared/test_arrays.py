"""Arrays are read bit for bit, and a hostile npz file is refused before memory is allocated for it."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etesian._shared.arrays import ArrayFileError, read_arrays
from etesian._shared.limits import raised_limits


def header(shape, kind="<f8", end="}"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, {end}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    content.seek(0)
    return content


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_bit_for_bit(save):
    arrays = {
        "matrix": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 5))),
        "scalar": np.array(7),
        "text": np.array(["a", "bcd"]),
        "bytes": np.array([b"csr"]),
        "none": np.empty((0, 4), np.uint8),
        "big_endian": np.arange(3, dtype=">i4"),
        "flags": np.array([True, False]),
    }
    content = io.BytesIO()
    save(content, **arrays)
    read = read_arrays(content)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
        assert read[name].flags.writeable


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header("(2, 2)", end="") + bytes(32), "damaged"),
        (header("(10000000000,)") + bytes(64), "does not match its 64 bytes"),
        (header("(9223372036854775807, 9223372036854775807)") + bytes(64), "does not match"),
        (header("(10000000000,)", kind="<U0"), "does not match"),
        (header("(-1,)") + bytes(8), "shape"),
        (header("(2,)") + bytes(15), "does not match"),
        (header("(2,)", kind="|O") + pickle.dumps([1, 2]), "pickled"),
        (header("(1,)", kind="<M8[s]") + bytes(8), None),
        (b"", "damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(64), "damaged"),
    ],
)
def test_damaged_members_are_refused_without_memory(data, reason):
    tracemalloc.start()
    try:
        if reason is None:
            assert read_arrays(archive(a=data))["a"].shape == (1,)
        else:
            with pytest.raises(ArrayFileError, match=reason):
                read_arrays(archive(a=data))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_small_archive_of_large_arrays_needs_a_raised_limit():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file, file.open("zeros.npy", "w") as member:
        member.write(header("(300000000,)", kind="|u1"))
        for _ in range(300):
            member.write(bytes(1_000_000))
    with pytest.raises(ArrayFileError, match="at most 268,435,456 are allowed"):
        read_arrays(content)
    with raised_limits(2):
        assert read_arrays(content)["zeros"].nbytes == 300_000_000


@given(st.data())
def test_any_changed_byte_is_refused_or_harmless(data):
    content = io.BytesIO()
    np.savez(content, a=np.arange(5.0), b=np.array("text"))
    good = content.getvalue()
    place = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        read = read_arrays(io.BytesIO(bytes(changed)))
    except ArrayFileError:
        return
    values = [array.tobytes() for array in read.values()]  # the change is in a name or in an unused field
    assert all(value in (np.arange(5.0).tobytes(), np.array("text").tobytes()) for value in values)


def test_text_with_invalid_code_points_is_refused():
    names = np.array(["first", "second"])
    names.view(np.uint32)[0] = 0x7FFF_FFFF
    content = io.BytesIO()
    np.savez(content, names=names)
    content.seek(0)
    with pytest.raises(ArrayFileError, match="array 'names' holds text with invalid characters"):
        read_arrays(content)
