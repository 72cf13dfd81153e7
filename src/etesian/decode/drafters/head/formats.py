"""Heads trained by other projects: EAGLE-3 (SafeAILab) and the speculators format (vLLM)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights, weights_of
from etesian.errors import InputError

_LAYER = {
    "input_layernorm": "embedding_norm",
    "hidden_norm": "state_norm",
    "post_attention_layernorm": "inner_norm",
    "self_attn.q_proj": "queries",
    "self_attn.k_proj": "keys",
    "self_attn.v_proj": "values",
    "self_attn.o_proj": "attention_out",
    "self_attn.q_norm": "query_norm",
    "self_attn.k_norm": "key_norm",
    "mlp.gate_proj": "gate",
    "mlp.up_proj": "up",
    "mlp.down_proj": "down",
}
_OTHERS = {
    "fc": "fuse",
    "norm": "final_norm",
    "lm_head": "output",
    "embed_tokens": "embedding",
    "input_norm": "feature_norm",
}
_UNUSED = ("t2d", "verifier_norm.weight", "verifier_lm_head.weight")


def is_foreign(config: Mapping[str, Any]) -> bool:
    """Return True for configurations of EAGLE-3 heads and of speculators."""
    return "speculators_model_type" in config or ("draft_vocab_size" in config and "hidden_size" in config)


def from_foreign(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> HeadWeights:
    """Read a head of another project.

    Both formats name the tensors alike: ``midlayer`` in EAGLE-3 is ``layers.0`` in speculators. ``d2t`` holds, for each output, the
    difference between its token and its index.

    Raises
    ------
    InputError
        For other algorithms than EAGLE-3, several layers, scaled rotations and biases, which are not supported.
    """
    kind = config.get("speculators_model_type", "eagle3")
    if kind != "eagle3":
        raise InputError(f"{str(folder)!r} holds a speculator of type {kind!r}; only 'eagle3' is supported")
    layer = config.get("transformer_layer_config", config)
    head = _config(folder, config, layer, tensors)
    named: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if name in _UNUSED:
            continue
        named[_renamed(folder, name)] = tensor
    if "output" not in named:
        raise InputError(f"the draft head in {str(folder)!r} lacks 'lm_head.weight'; copy or convert it again")
    n_outputs = len(named["output"])
    offsets = named.pop("d2t", np.zeros(n_outputs, np.int64))
    named["output_tokens"] = np.arange(len(offsets), dtype=np.int64) + offsets
    return weights_of(folder, head, named)


def _renamed(folder: Path, name: str) -> str:
    """Return our name of a tensor."""
    if name == "d2t":
        return name
    short = name.removesuffix(".weight")
    for prefix in ("midlayer.", "layers.0."):
        if short.startswith(prefix) and short.removeprefix(prefix) in _LAYER:
            return _LAYER[short.removeprefix(prefix)]
    if short in _OTHERS and short != name:
        return _OTHERS[short]
    raise InputError(
        f"the draft head in {str(folder)!r} holds tensor {name!r}, which heads of one layer without biases are not known to have"
    )


def _config(
    folder: Path, config: Mapping[str, Any], layer: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> HeadConfig:
    try:
        width, n_heads = int(layer["hidden_size"]), int(layer["num_attention_heads"])
        inner_width, vocabulary_size = int(layer["intermediate_size"]), int(layer["vocab_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the configuration of the draft head in {str(folder)!r} lacks {error}") from error
    scaling = layer.get("rope_scaling") or {}
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise InputError(f"the draft head in {str(folder)!r} scales its rotations, which is not supported")
    if layer.get("hidden_act", "silu") != "silu":
        raise InputError(f"the draft head in {str(folder)!r} uses {layer['hidden_act']!r}; only 'silu' is supported")
    parameters = layer.get("rope_parameters") or {}
    feature_width = int(config.get("target_hidden_size") or width)
    n_features = tensors["fc.weight"].shape[1] // feature_width if "fc.weight" in tensors else 3
    return HeadConfig(
        width=width,
        n_heads=n_heads,
        n_key_heads=int(layer.get("num_key_value_heads") or n_heads),
        head_width=int(layer.get("head_dim") or width // n_heads),
        inner_width=inner_width,
        feature_width=feature_width,
        vocabulary_size=vocabulary_size,
        n_features=n_features,
        feature_layers=_layers(config),
        rope_theta=float(parameters.get("rope_theta") or layer.get("rope_theta") or 10_000.0),
        norm_epsilon=float(layer.get("rms_norm_eps", 1e-6)),
        norm_before_residual=config.get("norm_before_residual", False),
    )


def _layers(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the layers whose inputs the head reads.

    In speculators, and in vLLM, a number names the layer that reads the states; in ``eagle_config``, which SGLang reads, the layer
    that returns them.
    """
    name = "eagle_aux_hidden_state_layer_ids"
    if read := config.get(name):
        return tuple(int(each) for each in read)
    returned = (config.get("eagle_config") or {}).get(name)
    return tuple(int(each) + 1 for each in returned) if returned else None
