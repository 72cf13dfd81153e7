"""Shapes of the bundled models, and their storage.

Heads are 64 wide and widths divide 1280, so that `benchmarks/widen.py` can widen both models to the shapes of the paper.
"""

from pathlib import Path
from typing import Any, Literal

Shape = Literal["target", "draft"]
LONGEST_TEXT = 1024
WRITERS = ("o_proj.weight", "down_proj.weight")  # output matrices of a layer
SIZES: dict[str, dict[str, int]] = {
    "target": {"hidden_size": 320, "intermediate_size": 832, "num_hidden_layers": 8, "num_attention_heads": 5},
    "draft": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2},
}


def new_model(shape: Shape, *, vocabulary_size: int, n_layers: int | None = None) -> Any:
    """Return an untrained float32 Llama whose blocks initially output zeros."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(SIZES[shape])
    sizes["num_hidden_layers"] = n_layers or sizes["num_hidden_layers"]
    config = LlamaConfig(
        **sizes,
        num_key_value_heads=sizes["num_attention_heads"],
        head_dim=64,
        vocab_size=vocabulary_size,
        max_position_embeddings=LONGEST_TEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.5 * sizes["hidden_size"] ** -0.5,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(WRITERS):
                weight.zero_()
            elif "embed_tokens" in name:
                weight.normal_(0, 0.02)
    return model


def deepen(model: Any, n_layers: int) -> Any:
    """Return a deeper model that computes the same function: each layer is followed by copies that initially output zeros."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    n_own = model.config.num_hidden_layers
    deeper = LlamaForCausalLM(LlamaConfig.from_dict({**model.config.to_dict(), "num_hidden_layers": n_layers}))
    own = model.state_dict()
    weights = {name: weight for name, weight in own.items() if not name.startswith("model.layers.")}
    for layer in range(n_layers):
        source, is_copy = (
            layer * n_own // n_layers,
            layer > 0 and (layer - 1) * n_own // n_layers == layer * n_own // n_layers,
        )
        for part in model.model.layers[source].state_dict():
            weight = own[f"model.layers.{source}.{part}"]
            writes_zeros = is_copy and part.endswith(WRITERS)
            weights[f"model.layers.{layer}.{part}"] = torch.zeros_like(weight) if writes_zeros else weight
    deeper.load_state_dict(weights)
    return deeper


def save(model: Any, folder: Path) -> None:
    """Write config.json and safetensors; the weights in bfloat16."""
    import copy

    import torch

    stored = copy.deepcopy(model).to(torch.bfloat16)
    stored.config.use_cache = True
    stored.save_pretrained(folder)
