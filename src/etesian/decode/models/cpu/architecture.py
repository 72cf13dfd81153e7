"""Architecture and weights of decoder-only transformers in one layout, read from a loaded transformers model.

Families differ in names and in a few switches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_LONGROPE = "longrope"
_STATIC_ROTATIONS = ("default", "linear", "llama3", "yarn", _LONGROPE)
"""Rotations whose frequencies are the same for all texts; those of LongRoPE are, up to the original context length."""


@dataclass(frozen=True)
class Architecture:
    """Hyperparameters of a network.

    Parameters
    ----------
    family : str
        `model_type` of transformers.
    head_width, width, inner_width : int
        Widths of a head, of the residual stream and of the feed-forward block.
    rotary_width : int or None
        Number of rotated dimensions per head; None for learned positions.
    is_gated : bool
        True if the activation of one product multiplies another, as in Llama.
    is_parallel : bool
        True if attention and feed-forward read the same input, as in GPT-NeoX.
    windows : tuple of int or None, length n_layers
        Number of tokens that each layer sees, including the row's own; None for all.
    residual_scale, logit_scale : float
        Factors of the outputs of attention and feed-forward, and of the logits.
    attention_cap, logit_cap : float or None
        Soft caps c of attention scores and logits x, which become c * tanh(x / c); None for no cap.
    second_rotation : tuple of bool, length n_layers, or None
        Layers that use the second table of rotary frequencies; None for the layers with a window, if there is a second table.
    """

    family: str
    vocabulary_size: int
    max_length: int
    n_layers: int
    n_heads: int
    n_key_heads: int
    head_width: int
    width: int
    inner_width: int
    norm: Literal["layer", "rms"]
    norm_epsilon: float
    activation: Activation
    is_gated: bool
    is_parallel: bool
    rotary_width: int | None
    attention_scale: float
    embedding_scale: float
    windows: tuple[int | None, ...]
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    attention_cap: float | None = None
    logit_cap: float | None = None
    second_rotation: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Linear:
    """A product's weight, shape (n_out, n_in), and bias, shape (n_out,).

    Tensors of torch; where a network's matrices are quantized, `StackedBlocks` and arrays of float32.
    """

    weight: Any
    bias: Any


@dataclass(frozen=True)
class Layer:
    """A block's weights: queries, keys and values as one product, gate and up as two.

    Norms are `Linear` in form only: a factor, shape (n,), and a term. Those of queries and keys are of one head, or of all at once.
    Some families normalize the inputs of attention and feed-forward, some their outputs, and some both.
    """

    first_norm: Linear | None
    second_norm: Linear | None
    query_norm: Linear | None
    key_norm: Linear | None
    attention_in: Linear
    attention_out: Linear
    up: Linear
    gate: Linear | None
    down: Linear
    attention_out_norm: Linear | None = None
    down_norm: Linear | None = None


@dataclass(frozen=True)
class Network:
    """A whole model; layers are read one at a time to avoid a second copy of all weights."""

    architecture: Architecture
    embedding: Any
    positions: Any
    final_norm: Linear
    output: Linear
    rotation_speeds: Any
    rotation_scale: float
    read_layer: Callable[[int], Layer]
    second_rotation_speeds: Any = None
    second_rotation_scale: float = 1.0


@dataclass(frozen=True)
class _Names:
    """Module names of a family."""

    body: str
    embedding: str = "embed_tokens"
    positions: str | None = None
    layers: str = "layers"
    final_norm: str = "norm"
    norms: tuple[str, str] | None = ("input_layernorm", "post_attention_layernorm")
    attention_in: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    attention_out: str = "self_attn.o_proj"
    up: str = "mlp.up_proj"
    gate: str | None = "mlp.gate_proj"
    down: str = "mlp.down_proj"
    out_norms: tuple[str, str] | None = None


_LLAMA = _Names("model")
_GEMMA = _Names(
    "model",
    norms=("input_layernorm", "pre_feedforward_layernorm"),
    out_norms=("post_attention_layernorm", "post_feedforward_layernorm"),
)
_FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "smollm3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "granite": _LLAMA,
    "olmo2": _Names("model", norms=None, out_norms=("post_attention_layernorm", "post_feedforward_layernorm")),
    "starcoder2": _Names("model", up="mlp.c_fc", gate=None, down="mlp.c_proj"),
    "phi3": _Names("model", attention_in=("self_attn.qkv_proj",), up="mlp.gate_up_proj", gate="mlp.gate_up_proj"),
    "gpt2": _Names(
        "transformer", "wte", "wpe", "h", "ln_f", ("ln_1", "ln_2"), ("attn.c_attn",), "attn.c_proj", "mlp.c_fc", None, "mlp.c_proj"
    ),
    "opt": _Names(
        "model.decoder",
        positions="embed_positions",
        final_norm="final_layer_norm",
        norms=("self_attn_layer_norm", "final_layer_norm"),
        attention_out="self_attn.out_proj",
        up="fc1",
        gate=None,
        down="fc2",
    ),
    "gpt_neox": _Names(
        "gpt_neox",
        "embed_in",
        final_norm="final_layer_norm",
        attention_in=("attention.query_key_value",),
        attention_out="attention.dense",
        up="mlp.dense_h_to_4h",
        gate=None,
        down="mlp.dense_4h_to_h",
    ),
}  # fmt: skip
FAMILIES = tuple(sorted(_FAMILIES))
"""Supported values of `model_type`."""


def read_network(model: Any) -> Network | None:
    """Return architecture and weights of a loaded transformers model; None if its family or a switch is not supported.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model. Weights are shared with it where layouts agree.
    """
    config = model.config
    names = _FAMILIES.get(config.model_type)
    if names is None or not _has_known_modules(model) or _has_unknown_switch(config):
        return None
    body = _get(model, names.body)
    rotary = getattr(body, "rotary_emb", None)
    architecture = _read_architecture(config, names, rotary)
    return Network(
        architecture=architecture,
        embedding=_get(body, names.embedding).weight.detach(),
        positions=_read_positions(body, names, architecture),
        final_norm=_read_norm(_get(body, names.final_norm), architecture),
        output=_read_linear(model.get_output_embeddings()),
        rotation_speeds=_first_speeds(rotary),
        rotation_scale=_scale(rotary, "full_attention"),
        second_rotation_speeds=_second_speeds(config, rotary),
        second_rotation_scale=1.0 if _unrotated_layers(config) else _scale(rotary, "sliding_attention"),
        read_layer=lambda layer: _read_layer(_get(body, names.layers)[layer], names, architecture),
    )


def _first_speeds(rotary: Any) -> Tensor | None:
    """Return the rotary frequencies of layers without a window; if all have one, those of these layers."""
    speeds = _speeds(rotary, "full_attention")
    return _speeds(rotary, "sliding_attention") if speeds is None else speeds


def _scale(rotary: Any, kind: str) -> float:
    """Return the factor of cosines and sines of all layers, or of one kind of layers where kinds differ."""
    scale: float = getattr(rotary, "attention_scaling", getattr(rotary, f"{kind}_attention_scaling", 1.0))
    return scale


def _speeds(rotary: Any, kind: str) -> Tensor | None:
    """Return the rotary frequencies of all layers, or of one kind of layers where kinds differ."""
    # A LongRoPE module replaces `inv_freq` after a long text.
    common = getattr(rotary, "original_inv_freq", getattr(rotary, "inv_freq", None))
    speeds: Tensor | None = getattr(rotary, f"{kind}_inv_freq", common)
    return speeds


def _second_speeds(config: Any, rotary: Any) -> Tensor | None:
    """Return the rotary frequencies of sliding layers, or zeros for layers without rotation; None without such layers."""
    if _unrotated_layers(config) is not None:
        speeds = _speeds(rotary, "full_attention")
        return None if speeds is None else speeds * 0
    return _speeds(rotary, "sliding_attention") if hasattr(rotary, "sliding_attention_inv_freq") else None


def _unrotated_layers(config: Any) -> tuple[bool, ...] | None:
    """Return the layers without rotary positions, as in SmolLM 3, whose `no_rope_layers` is 1 for layers that have them."""
    rotated = _first(config, "no_rope_layers")
    return None if rotated is None else tuple(not is_rotated for is_rotated in rotated)


def _get(module: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), module)


def _first(config: Any, *names: str, otherwise: Any = None) -> Any:
    """Return the first of these entries that is not None; entries that the class does not declare have no effect on a model."""
    declared = (getattr(config, name) for name in names if hasattr(type(config), name))
    return next((value for value in declared if value is not None), otherwise)


def _has_known_modules(model: Any) -> bool:
    """Return False if a part of the model is code that came with it, or was replaced, such as by an adapter."""
    classes = {type(module) for module in model.modules()}
    return all(each.__module__.startswith(("transformers.", "torch.nn.")) for each in classes)


def _has_unknown_switch(config: Any) -> bool:
    rotation = getattr(config, "rope_parameters", None) or {}
    kinds = [part for part in rotation.values() if isinstance(part, dict)] or [rotation]
    activation = _first(config, "hidden_activation", "activation_function", "hidden_act")
    return (
        activation not in _ACTIVATIONS
        or any(kind.get("rope_type", "default") not in _STATIC_ROTATIONS for kind in kinds)
        or getattr(config, "scale_attn_by_inverse_layer_idx", False)
        or not getattr(config, "scale_attn_weights", True)
        or not getattr(config, "do_layer_norm_before", True)
        or getattr(config, "_remove_final_layer_norm", False)
        or not getattr(config, "layer_norm_elementwise_affine", True)
        or getattr(config, "word_embed_proj_dim", config.hidden_size) != config.hidden_size
        or getattr(config, "add_cross_attention", False)
        or getattr(config, "use_bidirectional_attention", False)
    )


def _read_architecture(config: Any, names: _Names, rotary: Any) -> Architecture:
    n_heads = config.num_attention_heads
    # not `_first`, because models read it even where their configuration does not declare it
    head_width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    return Architecture(
        family=config.model_type,
        vocabulary_size=config.vocab_size,
        max_length=_read_max_length(config),
        n_layers=config.num_hidden_layers,
        n_heads=n_heads,
        n_key_heads=_first(config, "num_key_value_heads", otherwise=n_heads),
        head_width=head_width,
        width=config.hidden_size,
        inner_width=_first(config, "n_inner", "intermediate_size", "ffn_dim", otherwise=4 * config.hidden_size),
        norm="rms" if hasattr(type(config), "rms_norm_eps") else "layer",
        norm_epsilon=_first(
            config, "rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", otherwise=1e-5
        ),
        activation=_ACTIVATIONS[_first(config, "hidden_activation", "activation_function", "hidden_act")],
        is_gated=names.gate is not None,
        is_parallel=_first(config, "use_parallel_residual", otherwise=False),
        rotary_width=None if (speeds := _first_speeds(rotary)) is None else 2 * len(speeds),
        attention_scale=_read_attention_scale(config, head_width),
        embedding_scale=config.hidden_size**0.5
        if config.model_type.startswith("gemma")
        else _first(config, "embedding_multiplier", otherwise=1.0),
        windows=_read_windows(config),
        residual_scale=_first(config, "residual_multiplier", otherwise=1.0),
        logit_scale=1 / _first(config, "logits_scaling", otherwise=1.0),
        # Gemma 3 declares the cap, too, but does not apply it.
        attention_cap=_first(config, "attn_logit_softcapping") if config.model_type == "gemma2" else None,
        logit_cap=_first(config, "final_logit_softcapping"),
        second_rotation=_unrotated_layers(config),
    )


def _read_max_length(config: Any) -> int:
    """Return the longest text; with LongRoPE the original context length, beyond which frequencies change."""
    rotation = getattr(config, "rope_parameters", None) or {}
    longest: int = config.max_position_embeddings
    if rotation.get("rope_type") != _LONGROPE:
        return longest
    return min(longest, rotation.get("original_max_position_embeddings") or longest)


def _read_attention_scale(config: Any, head_width: int) -> float:
    width = _first(config, "query_pre_attn_scalar", otherwise=head_width)
    return float(_first(config, "attention_multiplier", otherwise=width**-0.5))


def _read_windows(config: Any) -> tuple[int | None, ...]:
    window, kinds = _first(config, "sliding_window"), _first(config, "layer_types")
    if kinds is None:
        return (window,) * config.num_hidden_layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _read_positions(body: Any, names: _Names, architecture: Architecture) -> Tensor | None:
    if names.positions is None:
        return None
    table = _get(body, names.positions)
    weights: Tensor = table.weight.detach()[getattr(table, "offset", 0) :]
    return weights[: architecture.max_length]


def _read_norm(module: Any, architecture: Architecture) -> Linear:
    weight = module.weight.detach().float()
    bias = getattr(module, "bias", None)
    is_offset = architecture.family.startswith("gemma")  # which stores differences from 1
    return Linear(weight + 1 if is_offset else weight, None if bias is None else bias.detach())


def _read_linear(module: Any) -> Linear:
    weight = module.weight.detach()
    bias = getattr(module, "bias", None)
    return Linear(weight.T if type(module).__name__ == "Conv1D" else weight, None if bias is None else bias.detach())


def _read_layer(module: Any, names: _Names, architecture: Architecture) -> Layer:
    first_norm, second_norm = _read_norms(module, names.norms, architecture)
    attention_out_norm, down_norm = _read_norms(module, names.out_norms, architecture)
    attention = module.self_attn if hasattr(module, "self_attn") else None
    query_norm, key_norm = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
    up = _read_linear(_get(module, names.up))
    gate = None if names.gate is None else _read_linear(_get(module, names.gate))
    if gate is not None and names.gate == names.up:  # one product: the gate's rows stand first
        gate, up = (Linear(weight, None) for weight in up.weight.chunk(2))
    return Layer(
        first_norm=first_norm,
        second_norm=second_norm,
        query_norm=None if query_norm is None else _read_norm(query_norm, architecture),
        key_norm=None if key_norm is None else _read_norm(key_norm, architecture),
        attention_in=_read_attention_in(module, names, architecture),
        attention_out=_read_linear(_get(module, names.attention_out)),
        up=up,
        gate=gate,
        down=_read_linear(_get(module, names.down)),
        attention_out_norm=attention_out_norm,
        down_norm=down_norm,
    )


def _read_norms(
    module: Any, names: tuple[str, str] | None, architecture: Architecture
) -> list[Linear] | tuple[None, None]:
    if names is None:
        return None, None
    return [_read_norm(_get(module, name), architecture) for name in names]


def _read_attention_in(module: Any, names: _Names, architecture: Architecture) -> Linear:
    """Return queries, keys and values of all heads as one product."""
    parts = [_read_linear(_get(module, name)) for name in names.attention_in]
    weight, bias = _stack([part.weight for part in parts]), _stack([part.bias for part in parts])
    if architecture.family == "gpt_neox":  # which stores them head by head
        weight, bias = (_heads_last(tensor, architecture) for tensor in (weight, bias))
    assert weight is not None
    return Linear(weight, bias)


def _stack(tensors: list[Any]) -> Tensor | None:
    import torch

    if tensors[0] is None:
        return None
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _heads_last(tensor: Tensor | None, architecture: Architecture) -> Tensor | None:
    if tensor is None:
        return None
    by_head = tensor.unflatten(0, (architecture.n_heads, 3, architecture.head_width))
    return by_head.transpose(0, 1).flatten(0, 2)
