"""What the architectures of GGUF files compute, as far as their metadata does not say it."""

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
        Of the feed-forward block.
    is_gated
        Whether the activation of one product multiplies another.
    rotated_pairs
        Which numbers of a head are turned together: neighbors, which are brought apart on loading, or the same places of both
        halves; None where positions are learned.
    scales_embedding
        Whether embeddings are multiplied by the square root of the width.
    """

    norm: Literal["layer", "rms"] = "rms"
    activation: Activation = "silu"
    is_gated: bool = True
    rotated_pairs: Literal["neighbors", "halves"] | None = "halves"
    scales_embedding: bool = False


FAMILIES = {
    "llama": Family(rotated_pairs="neighbors"),
    "qwen2": Family(),
    "qwen3": Family(),
    "phi3": Family(),
    "gemma": Family(activation="gelu_tanh", scales_embedding=True),
    "gpt2": Family(norm="layer", activation="gelu_tanh", is_gated=False, rotated_pairs=None),
    "starcoder2": Family(norm="layer", activation="gelu_tanh", is_gated=False),
}
"""By the value of ``general.architecture``."""
