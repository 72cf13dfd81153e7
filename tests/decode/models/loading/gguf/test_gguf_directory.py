"""Damaged GGUF files give one-line errors that name the place; counts that lie cost no memory."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import gguf_files
import numpy as np
import pytest
import tiny_models

from etesian.decode.models.loading.gguf import load_gguf
from etesian.decode.models.loading.gguf.directory import open_gguf
from etesian.errors import InputError

HUGE = 2**62


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    gguf_files.write_tiny_gguf(path, tiny_models.tiny_model("llama", num_hidden_layers=1, vocab_size=40))
    return path.read_bytes()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def header(n_tensors: int = 0, n_entries: int = 0, *, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_entries)


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return struct.pack("<Q", len(name)) + name.encode() + dimensions + struct.pack("<IQ", kind, offset)


DAMAGED = {
    "empty": (b"", "is empty"),
    "another format": (b"PK\x03\x04" + bytes(60), "not a GGUF file"),
    "version 1": (header(version=1), "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "cut header": (b"GGUF\x03\x00", "needs 4 bytes"),
    "too many tensors": (header(HUGE) + bytes(100), "claims 4611686018427387904 tensors"),
    "too many entries": (header(0, HUGE) + bytes(100), "metadata entries"),
    "long key": (header(0, 1) + struct.pack("<Q", HUGE) + bytes(20), "at most 65535"),
    "long string": (header(0, 1) + entry("a", 8, struct.pack("<Q", HUGE)) + bytes(9), "'a' needs"),
    "long array": (header(0, 1) + entry("a", 9, struct.pack("<IQ", 4, HUGE)) + bytes(9), "items of metadata entry 'a'"),
    "long array of strings": (header(0, 1) + entry("a", 9, struct.pack("<IQ", 8, HUGE)) + bytes(9), "cannot fit"),
    "string past the end": (header(0, 1) + entry("a", 9, struct.pack("<IQQ", 8, 1, HUGE)), "item 0"),
    "deep arrays": (header(0, 1) + entry("a", 9, struct.pack("<IQ", 9, 1) * 50) + bytes(50), "deep"),
    "unknown type": (header(0, 1) + entry("a", 77, bytes(8)), "unknown type 77"),
    "key that is not UTF-8": (header(0, 1) + struct.pack("<Q", 2) + b"\xff\xfe" + bytes(12), "not UTF-8"),
    "entry twice": (header(0, 2) + entry("a", 0, b"\x01") * 2 + bytes(20), "'a' occurs twice"),
    "odd alignment": (header(0, 1) + entry("general.alignment", 4, struct.pack("<I", 0)), "general.alignment"),
    "array for a number": (
        header(0, 1) + entry("split.tensors.count", 9, struct.pack("<IQII", 4, 2, 1, 1)),
        "'split.tensors.count'",
    ),
    "tensor twice": (header(2) + tensor("t", (1,)) * 2 + bytes(64), "'t' occurs twice"),
    "no dimensions": (header(1) + tensor("t", ()) + bytes(64), "0 dimensions"),
    "many dimensions": (header(1) + tensor("t", (1,) * 9) + bytes(64), "9 dimensions"),
    "empty dimension": (header(1) + tensor("t", (0, 4)) + bytes(64), "cannot have the shape"),
    "overflowing shape": (header(1) + tensor("t", (2**33, 2**33)) + bytes(64), "past the end"),
    "part of a block": (header(1) + tensor("t", (33,), kind=8) + bytes(64), "cannot have the shape"),
    "unknown tensor type": (header(1) + tensor("t", (32,), kind=99) + bytes(64), "unknown type 99"),
    "misaligned offset": (header(1) + tensor("t", (4,), offset=40) + bytes(128), "not a multiple of the alignment 32"),
    "same offset": (header(2) + tensor("t", (4,)) + tensor("u", (4,)) + bytes(128), "'t' and 'u' overlap"),
    "overlap": (header(2) + tensor("t", (4,), offset=32) + tensor("u", (9,)) + bytes(128), "'u' and 't' overlap"),
    "offset past the end": (header(1) + tensor("t", (4,), offset=HUGE) + bytes(64), "past the end"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_refused_in_one_line_and_without_memory(name, tmp_path):
    content, part = DAMAGED[name]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError) as raised:
        open_gguf(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part in str(raised.value)
    assert "damaged.gguf" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert peak < 1_000_000


def test_file_cut_anywhere_is_refused(whole, tmp_path):
    path = tmp_path / "cut.gguf"
    for length in np.linspace(0, len(whole) - 1, 150).astype(int).tolist():
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            open_gguf(path)


def test_file_with_changed_bytes_is_read_or_refused(whole, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "changed.gguf"
    n_head, n_refused = len(whole) - open_size(whole, tmp_path), 0
    for _ in range(150):
        changed = bytearray(whole)
        changed[int(rng.integers(0, n_head))] = int(rng.integers(0, 256))
        path.write_bytes(changed)
        try:
            load_gguf(path, n_threads=1)
        except InputError:
            n_refused += 1
    assert 0 < n_refused < 150


def open_size(whole: bytes, folder) -> int:
    """Bytes of all tensors."""
    (folder / "whole.gguf").write_bytes(whole)
    return sum(tensor.rows.nbytes for tensor in open_gguf(folder / "whole.gguf").tensors.values())


def test_gaps_between_aligned_tensors_in_any_order_are_accepted(tmp_path):
    path = tmp_path / "gaps.gguf"
    content = header(2, 1) + entry("general.alignment", 4, struct.pack("<I", 8))
    content += tensor("t", (2,), offset=64) + tensor("u", (2,), offset=8)
    content += bytes(-len(content) % 8)
    path.write_bytes(content + bytes(8) + b"u" * 8 + bytes(48) + b"t" * 8 + bytes(40))
    assert {name: each.rows.tobytes() for name, each in open_gguf(path).tensors.items()} == {
        "t": b"t" * 8,
        "u": b"u" * 8,
    }


def test_arrays_of_arrays_take_no_memory(tmp_path):
    path, n_arrays = tmp_path / "nested.gguf", 20_000
    arrays = struct.pack("<IQ", 9, n_arrays) + struct.pack("<IQ", 0, 0) * n_arrays
    path.write_bytes(header(0, 1) + entry("a", 9, arrays))
    tracemalloc.start()
    open_gguf(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.gguf cannot be read: No such file"):
        open_gguf(tmp_path / "nothing.gguf")


def write_parts(folder, model, second: dict[str, Any] | None = None) -> None:
    """Write a model as two files; `second` changes metadata of the second one, and removes an entry by None."""
    from gguf import GGUFWriter

    tensors = gguf_files.gguf_tensors(model)
    for number in range(2):
        changes = {"general.architecture": "llama", "split.no": number, "split.count": 2} | (
            (second or {}) if number else {}
        )
        changes = {"split.tensors.count": len(tensors)} | changes
        writer = GGUFWriter(folder / f"m-{number + 1:05}-of-00002.gguf", changes.pop("general.architecture"))
        if number == 0:
            gguf_files._write_metadata(writer, model.config, {})
        for key, value in changes.items():
            if value is not None:
                add = {int: writer.add_uint16, str: writer.add_string}.get(type(value), writer.add_array)
                add(key, value)
        for name, weight in list(tensors.items())[number::2]:
            writer.add_tensor(name, weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def test_split_model_is_read_from_all_its_files(tmp_path):
    model = tiny_models.tiny_model("llama", num_hidden_layers=2)
    gguf_files.write_tiny_gguf(tmp_path / "whole.gguf", model)
    write_parts(tmp_path, model)
    whole, _ = load_gguf(tmp_path / "whole.gguf")
    for number in (1, 2):
        split, _ = load_gguf(tmp_path / f"m-{number:05}-of-00002.gguf")
        tokens, parents = [3, 4, 5], [-1, 0, 1]
        assert np.array_equal(
            split.context().score(tokens, parents).logits, whole.context().score(tokens, parents).logits
        )
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(InputError, match=r"next to it m-00002-of-00002\.gguf must be there"):
        load_gguf(tmp_path / "m-00001-of-00002.gguf")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"split.no": 0}, "must be part 2 of 2; its metadata says part 1 of 2"),
        ({"split.count": 9}, "must be part 2 of 2; its metadata says part 2 of 9"),
        ({"split.no": None}, "'split.no' .* is missing"),
        ({"split.count": [2, 2]}, "'split.count' .* must be an integer"),
        ({"split.tensors.count": 99}, "'split.tensors.count' .* must be that of the first file"),
        ({"general.architecture": "qwen2"}, "'general.architecture' .* must be that of the first file"),
        ({"tokenizer.ggml.model": "llama"}, "'tokenizer.ggml.model' .* must be that of the first file"),
    ],
)
def test_part_of_another_model_is_named(second, reason, tmp_path):
    write_parts(tmp_path, tiny_models.tiny_model("llama", num_hidden_layers=1, vocab_size=40), second)
    with pytest.raises(InputError, match=reason) as raised:
        open_gguf(tmp_path / "m-00001-of-00002.gguf")
    assert "m-00002-of-00002.gguf" in str(raised.value)


def test_first_file_that_is_another_part_is_named(tmp_path):
    write_parts(tmp_path, tiny_models.tiny_model("llama", num_hidden_layers=1, vocab_size=40))
    (tmp_path / "m-00001-of-00002.gguf").write_bytes((tmp_path / "m-00002-of-00002.gguf").read_bytes())
    with pytest.raises(InputError, match=r"m-00001-of-00002\.gguf' must be part 1 of 2; its metadata says part 2 of 2"):
        open_gguf(tmp_path / "m-00001-of-00002.gguf")
