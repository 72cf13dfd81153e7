"""GGUF files made on the spot: tiny models of transformers in the names and the order of GGUF, and blocks with random contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize

HALVES = {
    "Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "IQ4_NL": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}  # fmt: skip
"""Where the half-precision numbers of a block stand."""
FLOATS = ("F32", "F16", "BF16")
TYPES = (*FLOATS, *HALVES)

_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
}
_OUT_NORMED = ("gemma2", "gemma3_text", "olmo2")
_OTHER_NAMES = {
    "embed_tokens": "token_embd",
    "wte": "token_embd",
    "wpe": "position_embd",
    "norm": "output_norm",
    "ln_f": "output_norm",
    "lm_head": "output",
}

Rounded = Callable[[str, np.ndarray], tuple[np.ndarray, str]]


def random_blocks(type_name: str, n_out: int, n_in: int, rng: np.random.Generator, *, spread: float) -> np.ndarray:
    """Blocks with random levels and scales, whose weights have about the standard deviation `spread`; (n_out, bytes of a row)."""
    if type_name in FLOATS:
        weights = (spread * rng.standard_normal((n_out, n_in))).astype(np.float32)
        return quantize(weights, GGMLQuantizationType[type_name]).view(np.uint8).reshape(n_out, -1)
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]]
    blocks = rng.integers(0, 256, (n_out, n_in // block, size), dtype=np.uint8)

    def set_halves(scale: float) -> None:
        for place in HALVES[type_name]:
            halves = (scale * rng.uniform(0.5, 1.5, (n_out, n_in // block, 1))).astype(np.float16)
            blocks[:, :, place : place + 2] = halves.view(np.uint8)

    set_halves(1.0)
    set_halves(spread / np.std(floats(type_name, blocks.reshape(n_out, -1))))
    return blocks.reshape(n_out, -1)


def floats(type_name: str, rows: np.ndarray) -> np.ndarray:
    """Rows of blocks as float32, by the `gguf` package."""
    if type_name in ("F32", "F16"):
        return np.ascontiguousarray(rows).view({"F32": np.float32, "F16": np.float16}[type_name]).astype(np.float32)
    return dequantize(rows, GGMLQuantizationType[type_name])


def gguf_tensors(model: Any) -> dict[str, np.ndarray]:
    """Weights of a tiny model by their names in GGUF, as float32."""
    config, tensors = model.config, {}
    for name, parameter in model.state_dict().items():
        weight = parameter.float().numpy()
        path, _, kind = name.removeprefix("model.").removeprefix("transformer.").rpartition(".")
        if config.model_type == "gpt2" and weight.ndim == 2 and path not in ("wte", "wpe", "lm_head"):
            weight = weight.T  # `Conv1D` holds its weights the other way round
        parts = path.split(".", 2)
        own = f"blk.{parts[1]}.{_LAYER_NAMES[parts[2]]}" if len(parts) == 3 else _OTHER_NAMES[path]
        if config.model_type in _OUT_NORMED:
            own = own.replace("ffn_norm", "post_attention_norm") if "post_attention" in path else own
        if config.model_type in ("llama", "granite", "smollm3") and own.endswith(("attn_q", "attn_k")):
            n_heads = config.num_attention_heads if own.endswith("q") else config.num_key_value_heads
            weight = weight.reshape(n_heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)
        if config.model_type.startswith("gemma") and "norm" in own:
            weight = weight + 1
        tensors[f"{own}.{kind}"] = np.ascontiguousarray(weight)
    return tensors


def write_tiny_gguf(
    path: Path, model: Any, *, rounded: Rounded | None = None, metadata: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Write a tiny model of transformers as GGUF; the weights that the file holds, as float32.

    `rounded` takes a matrix's name and weights, and returns what the file is to hold, with its type; by default float32.
    """
    writer, config = GGUFWriter(path, model.config.model_type.removesuffix("_text")), model.config
    tied = config.tie_word_embeddings
    held: dict[str, np.ndarray] = {}
    for name, weight in gguf_tensors(model).items():
        if tied and name == "output.weight":
            continue
        if rounded is None or weight.ndim == 1:
            writer.add_tensor(name, weight)
            held[name] = weight
            continue
        rows, type_name = rounded(name, weight)
        held[name] = floats(type_name, rows)
        if type_name == "F32":
            writer.add_tensor(name, held[name])
        else:
            writer.add_tensor(name, rows, raw_shape=rows.shape, raw_dtype=GGMLQuantizationType[type_name])
    _write_metadata(writer, config, metadata or {})
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def _write_metadata(writer: GGUFWriter, config: Any, metadata: Mapping[str, Any]) -> None:
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", config.num_attention_heads))
    writer.add_key_length(head_width)
    writer.add_value_length(head_width)
    writer.add_vocab_size(config.vocab_size)
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(getattr(config, "layer_norm_epsilon", None) or config.norm_epsilon)
    if config.model_type != "gpt2":
        rotation = config.rope_parameters
        writer.add_rope_freq_base(rotation.get("full_attention", rotation)["rope_theta"])
        writer.add_rope_dimension_count(head_width)
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type == "granite":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
        writer.add_attention_scale(config.attention_multiplier)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens(config.vocab_size))
    writer.add_token_types([1] * config.vocab_size)
    writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key, value in metadata.items():
        add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32, bool: writer.add_bool}
        add.get(type(value), writer.add_array)(key, value)


def tokens(n: int) -> list[str]:
    """A vocabulary whose tokens are numbers, and one that a merge makes."""
    return [*(f"t{i}" if i else "t0" for i in range(n - 2)), "t", "0"]


def write_random_gguf(path: Path, type_name: str, *, seed: int = 0, **changes: Any) -> Any:
    """A tiny Llama whose matrices hold random blocks of a type; the model of transformers with the same weights."""
    import torch

    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = tiny_models.tiny_model("llama", seed=seed, **(shape | changes))
    rng = np.random.default_rng(seed)

    def rounded(name: str, weight: np.ndarray) -> tuple[np.ndarray, str]:
        n_out, n_in = weight.shape
        return random_blocks(type_name, n_out, n_in, rng, spread=n_in**-0.5), type_name

    held = write_tiny_gguf(path, model, rounded=rounded)
    state = model.state_dict()
    with torch.no_grad():
        for name in state:
            state[name].copy_(torch.from_numpy(_as_transformers(name, held, model.config).copy()))
    return model


def _as_transformers(name: str, held: Mapping[str, np.ndarray], config: Any) -> np.ndarray:
    path, _, kind = name.removeprefix("model.").rpartition(".")
    parts = path.split(".", 2)
    own = f"blk.{parts[1]}.{_LAYER_NAMES[parts[2]]}" if len(parts) == 3 else _OTHER_NAMES[path]
    weight = held[f"{own}.{kind}"]
    if own.endswith(("attn_q", "attn_k")):
        n_heads = config.num_attention_heads if own.endswith("q") else config.num_key_value_heads
        weight = weight.reshape(n_heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)
    return weight
