"""Pipes, sockets and devices where a file is expected are refused by name: reading them may block or never end."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from families import write_model_folder

from etesian._shared.documents import check_regular, read_document, read_text
from etesian._shared.limits import raised_limits
from etesian.bench import Store, read_jsonl
from etesian.bench.io import read_csv, read_parquet
from etesian.bench.io.benchmark_files import read_benchmark_file
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.errors import InputError
from etesian.sparse.io import load_model, read_file

has_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def read_api_keys(path: Path) -> object:
    from etesian.decode.serve.http.options import read_api_keys

    return read_api_keys(path)


def open_gguf(path: Path) -> object:
    from etesian.decode.models.loading.gguf.directory import open_gguf

    return open_gguf(path)


READERS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": read_jsonl,
    "a.csv": lambda path: list(read_csv(path)),
    "a.parquet": lambda path: list(read_parquet(path)),
    "a.json": read_benchmark_file,
    "a.db": lambda path: Store(path, create=False),
    "a.svm": read_file,
    "model.npz": load_model,
    "ngram.npz": NgramTable.load,
    "keys": read_api_keys,
    "m.gguf": open_gguf,
}


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        bound.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", READERS)
def test_special_file_is_refused_by_its_name(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    if name == "keys":
        pytest.importorskip("starlette")
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}.* regular file|no store at .*{name}"):
        READERS[name](tmp_path / name)


FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "adapter_config.json",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
)


@has_torch
@pytest.mark.parametrize("name", FILES)
def test_special_file_in_the_folder_of_a_model_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    from etesian.decode.load import _load_model

    write_model_folder(tmp_path, shards=2)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}.* is not a regular file"):
        _load_model(tmp_path, None)


@has_torch
def test_special_file_in_the_folder_of_a_head_is_refused_by_its_name(tmp_path: Path) -> None:
    from families import draft_heads

    from etesian.decode.drafters.head.folder import read_head

    sample = next(draft_heads())
    for name in ("config.json", "model.safetensors"):
        (folder := tmp_path / name).mkdir()
        sample.write(folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(InputError, match=rf"{name} is not a regular file"):
            read_head(folder)


def test_link_to_a_file_is_followed_and_a_large_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").symlink_to("a")
    assert read_document(tmp_path / "b", most_bytes=100) == b"x" * 100
    with pytest.raises(InputError, match=r"b is larger than 99 bytes; .*raised_limits"):
        read_document(tmp_path / "b", most_bytes=99)
    with raised_limits(2):
        assert len(read_document(tmp_path / "b", most_bytes=99)) == 100


def test_missing_file_folder_and_other_encodings_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin cannot be read: it must be UTF-8 text; byte 4 is invalid"):
        read_text(tmp_path / "latin")
    with pytest.raises(InputError, match=r"none cannot be read: No such file or directory"):
        check_regular(tmp_path / "none")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=r"loop cannot be read: Too many levels"):
        check_regular(tmp_path / "loop")
    with pytest.raises(InputError, match=r" is not a regular file"):
        check_regular(tmp_path)


@has_torch
def test_shapes_whose_product_has_millions_of_digits_are_refused_at_once(tmp_path: Path) -> None:
    import json
    import struct

    from etesian.decode.models.loading.weight_headers import check_weights

    entry = {"dtype": "F32", "shape": [2**62] * 200_000, "data_offsets": [0, 4]}
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"0000")
    with pytest.raises(InputError, match=r"m.safetensors.* is damaged: tensor 'a' does not fit the file"):
        check_weights([path])
