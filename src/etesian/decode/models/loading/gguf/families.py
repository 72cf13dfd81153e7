"""Properties of GGUF architectures that the metadata of a file does not state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etesian.decode.models.cpu.architecture import Activation


@dataclass(frozen=True)
class Family:
    """An architecture that the compiled pass can run.

    Parameters
    ----------
    norm
        Layer norm, or norm by root mean square.
    activation
        Activation function of the feed-forward block.
    is_gated
        True if the activation of one product multiplies another.
    rotated_pairs
        Pairs of dimensions of a head that are rotated together: neighbors, which are reordered on loading, or the same places of
        both halves; None if positions are learned.
    scales_embedding
        True if embeddings are multiplied by the square root of the width.
    has_in_norms, has_out_norms
        True if the inputs, and the outputs, of attention and feed-forward are normalized.
    window_period
        If layers with a window alternate with others, every layer but the last of so many has a window. None if all layers are
        alike.
    window_base
        Base of the rotations of layers with a window, which are not scaled; ``"common"`` for that of all layers. None if layers
        with a window rotate as the others do.
    unrotated_period
        The last layer of so many has no rotary positions; None if all layers have them.
    caps_scores
        True if attention scores and logits have a cap.
    wide_head_layers
        Layer counts of the model sizes that scale attention by the width divided by the number of heads instead of the head width.
    """

    norm: Literal["layer", "rms"] = "rms"
    activation: Activation = "silu"
    is_gated: bool = True
    rotated_pairs: Literal["neighbors", "halves"] | None = "halves"
    scales_embedding: bool = False
    has_in_norms: bool = True
    has_out_norms: bool = False
    window_period: int | None = None
    window_base: float | Literal["common"] | None = None
    unrotated_period: int | None = None
    caps_scores: bool = False
    wide_head_layers: tuple[int, ...] = ()


FAMILIES = {
    "llama": Family(rotated_pairs="neighbors"),
    "smollm3": Family(rotated_pairs="neighbors", unrotated_period=4),
    "qwen2": Family(),
    "qwen3": Family(),
    "phi3": Family(),
    "gemma": Family(activation="gelu_tanh", scales_embedding=True),
    "gemma2": Family(
        activation="gelu_tanh",
        scales_embedding=True,
        has_out_norms=True,
        window_period=2,
        caps_scores=True,
        wide_head_layers=(46,),
    ),
    "gemma3": Family(
        activation="gelu_tanh",
        scales_embedding=True,
        has_out_norms=True,
        window_period=6,
        window_base=10_000.0,
        wide_head_layers=(62,),
    ),
    "olmo2": Family(has_in_norms=False, has_out_norms=True, window_period=4, window_base="common"),
    "granite": Family(rotated_pairs="neighbors"),
    "gpt2": Family(norm="layer", activation="gelu_tanh", is_gated=False, rotated_pairs=None),
    "starcoder2": Family(norm="layer", activation="gelu_tanh", is_gated=False),
}
"""By the value of ``general.architecture``."""
