"""Damaged weights and configurations are refused by name before anything is allocated."""

from __future__ import annotations

import json
import struct

import pytest

from etesian.decode.models.loading.model_folder import check_model_folder
from etesian.errors import InputError


def write(folder, *, header=None, config=None, length=None):
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    text = json.dumps({"__metadata__": {"format": "pt"}, "w": entry} if header is None else header).encode()
    data = struct.pack("<Q", len(text) if length is None else length) + text + bytes(24)
    (folder / "model.safetensors").write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 3, "num_hidden_layers": 1} | (config or {})))


def test_weights_that_fit_are_accepted(tmp_path):
    write(tmp_path)
    assert check_model_folder(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"length": 2**63}, "model.safetensors' is damaged: its header claims"),
        ({"length": 20}, "its header is not JSON"),
        ({"header": []}, "not a JSON object"),
        ({"header": {"w": 3}}, "the entry of tensor 'w' is not valid"),
        ({"header": {"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 24]}}}, "'w' does not fit"),
        ({"header": {"w": {"dtype": "F32", "shape": [6], "data_offsets": [8, 32]}}}, "'w' does not fit"),
        ({"header": {"w": {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]}}}, "'w' does not fit"),
        ({"config": {"num_hidden_layers": 10**6}}, "config.json' states num_hidden_layers 1e"),
        ({"config": {"text_config": {"vocab_size": 10**400}}}, "states vocab_size inf"),
        ({"config": {"intermediate_size": -(10**9)}}, "states intermediate_size -1e"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, changes, reason):
    write(tmp_path, **changes)
    with pytest.raises(InputError, match=reason):
        check_model_folder(tmp_path)
