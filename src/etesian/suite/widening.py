"""A small trained model at the cost of a large one: wider and deeper, but the same function.

Measuring speculative decoding at scale needs a trained target model, since acceptance rates depend on training;
training a large model takes days. Repeating hidden units, dividing the weights of their consumers by the number of
copies, and adding layers with zero output gives a model with the logits of the small model and the cost of the large
shape.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etesian.errors import InputError

if TYPE_CHECKING:
    import torch

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
WIDTHS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
HEAD_NORMS = ("q_norm.weight", "k_norm.weight")  # of the width of a head, which does not change
WRITERS = ("o_proj", "down_proj")  # output projections of a layer


def widen(source: Path, out: Path, *, times: int, n_layers: int) -> None:
    """Write a model `times` as wide and with `n_layers` layers that computes the same function.

    Parameters
    ----------
    source : Path
        Folder of a Llama, Mistral, Qwen2 or Qwen3 model in the format of transformers, with one safetensors file. All
        four use RMS norms, which are invariant to repeated units.
    times : int
        Number of copies of each hidden unit, feed-forward unit and head. Division of weights is exact for powers of
        two.
    n_layers : int
        Number of layers of the result. Additional layers have zero output.

    Raises
    ------
    InputError
        If the model family is not supported, or the source has more layers.
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((source / "config.json").read_text())
    if config["model_type"] not in FAMILIES:
        raise InputError(f"source must be one of {', '.join(FAMILIES)}; {source} holds a {config['model_type']!r}")
    if n_layers < config["num_hidden_layers"]:
        raise InputError(f"n_layers must be at least the source's {config['num_hidden_layers']}; got {n_layers}")
    small = load_file(source / "model.safetensors")
    wide = {name: wider(name, weight, times) for name, weight in deeper(small, config["num_hidden_layers"], n_layers)}
    if config.get("tie_word_embeddings"):  # tied embeddings: scale the final norm instead
        wide["model.norm.weight"] = wide["model.norm.weight"] / times
    out.mkdir(parents=True, exist_ok=True)
    save_file(wide, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(wider_config(config, times, n_layers), indent=1))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, out / name)


def widen_all(source: Path, out: Path, *, times: int) -> None:
    """Write the ``target`` and ``draft`` of a folder, each `times` as wide, and its N-gram to `out`; see `widen`."""
    for name in ("target", "draft"):
        n_layers = json.loads((source / name / "config.json").read_text())["num_hidden_layers"]
        widen(source / name, out / name, times=times, n_layers=n_layers)
    shutil.copy(source / "ngram.npz", out / "ngram.npz")


def deeper(weights: Mapping[str, torch.Tensor], n_own: int, n_layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights, and for each additional layer a copy of an existing one that adds zero."""
    for name, weight in weights.items():
        yield name, weight
        prefix, _, rest = name.partition("layers.")
        if not rest:
            continue
        layer, _, part = rest.partition(".")
        writes = any(writer in part for writer in WRITERS)
        for copy in range(int(layer) + n_own, n_layers, n_own):
            yield f"{prefix}layers.{copy}.{part}", weight.new_zeros(weight.shape) if writes else weight


def wider(name: str, weight: torch.Tensor, times: int) -> torch.Tensor:
    """Repeat the outputs and inputs of a weight, and divide by the number of repeated inputs."""
    if name.endswith(HEAD_NORMS):
        return weight.clone()
    if "embed_tokens" in name:
        return weight.tile(1, times)  # (vocabulary, hidden): a lookup table
    if name.startswith("lm_head"):
        return weight.tile(1, times) / times
    if weight.ndim == 1:  # scales and biases
        return weight.tile(times)
    return weight.tile(times, times) / times


def wider_config(config: Mapping[str, Any], times: int, n_layers: int) -> dict[str, Any]:
    """Return the configuration of the wide model. The width of a head is unchanged."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    wide = {**config, "num_hidden_layers": n_layers, "head_dim": head_dim}
    wide |= {name: config[name] * times for name in WIDTHS if config.get(name)}
    if config.get("layer_types"):
        wide["layer_types"] = [config["layer_types"][0]] * n_layers
    return wide
