"""Small random causal language models of each family, made on the spot: float32, seeded, nothing read from a disk."""

from __future__ import annotations

from typing import Any

VOCABULARY_SIZE = 300
LONGEST = 256

# Grouped queries wherever the family has them: two heads read each pair of keys and values.
_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LONGEST,
}
_OWN_SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": LONGEST},
    "llama": _SHAPE,
    "mistral": _SHAPE | {"sliding_window": None},
    "qwen2": _SHAPE,
    "qwen3": _SHAPE | {"head_dim": 16},
    "gemma": _SHAPE | {"head_dim": 16},
    "gemma2": _SHAPE | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 9},
    "gemma3_text": _SHAPE
    | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 9, "num_hidden_layers": 7, "layer_types": None},
    "smollm3": _SHAPE | {"num_hidden_layers": 5, "no_rope_layers": [1, 1, 1, 0, 1]},
    "granite": _SHAPE
    | {"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0, "attention_multiplier": 0.2},
    "olmo2": _SHAPE,
    "starcoder2": _SHAPE,
    "phi3": _SHAPE,
    "opt": {
        "hidden_size": 48,
        "ffn_dim": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 48,
        "max_position_embeddings": LONGEST,
    },
    "gpt_neox": {key: value for key, value in _SHAPE.items() if key != "num_key_value_heads"},
}
FAMILIES = tuple(_OWN_SHAPES)


def tiny_config(family: str, **changes: Any) -> Any:
    """The configuration of a small model; `changes` replace entries of it."""
    from transformers import AutoConfig

    shape = {"vocab_size": VOCABULARY_SIZE, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return AutoConfig.for_model(family, **(shape | _OWN_SHAPES.get(family, _SHAPE) | changes))


def tiny_model(family: str, *, seed: int = 0, **changes: Any) -> Any:
    """A model whose weights, biases and norms all differ from what they are at the start of a training."""
    import torch
    from transformers import AutoModelForCausalLM

    config = tiny_config(family, **changes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for parameter in model.parameters():
            # Far from zero, so that every term shows in the logits; columns of a product keep a spread of about 1.
            scale = 0.1 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.add_(scale * torch.randn_like(parameter))
    return model
