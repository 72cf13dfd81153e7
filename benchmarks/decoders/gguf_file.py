"""Convert a Llama with a byte-level BPE tokenizer to a GGUF file for llama.cpp and OpenVINO GenAI. Requires the package gguf.

Supports only the family of the bundled models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    TensorNameMap,
    TokenType,
    get_tensor_name_map,
    quants,
)

TYPES = {
    "F16": GGMLQuantizationType.F16,
    "BF16": GGMLQuantizationType.BF16,
    "Q8_0": GGMLQuantizationType.Q8_0,
    "Q4_0": GGMLQuantizationType.Q4_0,
}


FILE_TYPES = {
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
}


def write_gguf(source: Path, out: Path, kind: str) -> None:
    """Write the model in folder `source` with matrices of a type in `TYPES`; vectors are not quantized."""
    config = json.loads((source / "config.json").read_text())
    writer = GGUFWriter(out, "llama")
    writer.add_file_type(FILE_TYPES[kind])
    _add_shape(writer, config)
    _add_tokenizer(writer, json.loads((source / "tokenizer.json").read_text()))
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weight in _read_weights(source / "model.safetensors"):
        _add_weight(writer, names, name, _for_llama_cpp(name, weight, config), TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_weights(path: Path) -> Iterator[tuple[str, Any]]:
    """Return names and float32 arrays of a safetensors file in float32 or bfloat16, which NumPy does not support."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            file.seek(start + first)
            raw = np.frombuffer(file.read(last - first), np.uint16 if entry["dtype"] == "BF16" else np.float32)
            values = (raw.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else raw
            yield name, values.reshape(entry["shape"])


def _add_shape(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: GGUFWriter, tokenizer: dict[str, Any]) -> None:
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def _for_llama_cpp(name: str, weight: Any, config: dict[str, Any]) -> Any:
    """Permute queries and keys to the order of llama.cpp, in which rotated pairs are adjacent."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for part, n_heads in heads.items():
        if part in name:
            halves = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1])
            return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight


def _add_weight(writer: GGUFWriter, names: TensorNameMap, name: str, weight: Any, kind: Any) -> None:
    new_name = names.get_name(name, try_suffixes=(".weight",))
    if weight.ndim == 1:
        writer.add_tensor(new_name, weight.astype(np.float32))
    else:
        writer.add_tensor(new_name, quants.quantize(np.ascontiguousarray(weight), kind), raw_dtype=kind)
