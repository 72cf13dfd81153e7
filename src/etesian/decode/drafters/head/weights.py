"""Weights of a draft head in one layout.

The layout is that of EAGLE-3 (Li et al. 2025): a product fuses the target's hidden states, one transformer layer reads them next to
the token embeddings, and an output layer scores a part of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.errors import InputError

_SIZES = (
    "width",
    "n_heads",
    "n_key_heads",
    "head_width",
    "inner_width",
    "feature_width",
    "vocabulary_size",
    "n_features",
)
_LARGEST = float(np.finfo(np.float32).max)
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Hyperparameters of a head.

    Parameters
    ----------
    width, n_heads, n_key_heads, head_width, inner_width : int
        Widths of the residual stream, of the attention heads and of the feed-forward block.
    feature_width : int
        Width of the target's hidden states.
    n_features : int
        Number of hidden states per token, concatenated.
    feature_layers : tuple of int, length n_features, or None
        Layers of the target whose inputs are read; its number of layers stands for the input of the output layer. None for the
        input of the output layer alone, or, for three features, the layers of EAGLE-3.
    vocabulary_size : int
        Vocabulary of the target.
    rope_theta, norm_epsilon : float
        Base of the rotary frequencies, and the constant of the RMS norms.
    norm_before_residual : bool
        True if the residual stream starts from the normalized hidden states.
    """

    width: int
    n_heads: int
    n_key_heads: int
    head_width: int
    inner_width: int
    feature_width: int
    vocabulary_size: int
    n_features: int = 1
    feature_layers: tuple[int, ...] | None = None
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    norm_before_residual: bool = False

    def __post_init__(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r:.40}")
        for name in ("rope_theta", "norm_epsilon"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value <= _LARGEST):
                raise ValueError(f"{name} must be a positive number; got {value!r:.40}")
        if type(self.norm_before_residual) is not bool:
            raise ValueError(f"norm_before_residual must be true or false; got {self.norm_before_residual!r:.40}")
        if self.n_heads % self.n_key_heads or self.head_width % 2:
            raise ValueError("n_heads must be a multiple of n_key_heads, and head_width even")
        if self.feature_layers is not None and len(self.feature_layers) != self.n_features:
            raise ValueError(f"feature_layers must name {self.n_features} layers; got {len(self.feature_layers)}")

    def layers_of(self, n_layers: int) -> tuple[int, ...]:
        """Return the layers to read of a target with `n_layers` layers; empty for the input of its output layer alone.

        Without `feature_layers`, three features are those of EAGLE-3: inputs of the third, the middle and the third last layer.
        """
        if self.feature_layers is not None:
            return self.feature_layers
        if self.n_features == 1:
            return ()
        if self.n_features != len(eagle := (2, n_layers // 2, n_layers - 3)):
            raise ValueError(f"its configuration must name the {self.n_features} layers that it reads")
        return eagle


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """A head's weights, float32; products have shape (n_out, n_in).

    Parameters
    ----------
    fuse : ndarray, shape (width, n_features * feature_width)
    embedding_norm, state_norm, inner_norm, final_norm : ndarray, shape (width,)
        RMS norms of the embeddings, of the states, before the feed-forward block and before the output layer.
    queries, keys, values : ndarray, shape (n, 2 * width)
        They read the normalized embedding, then the normalized state.
    residual : ndarray, shape (width, 2 * width), or None
        Product of the same inputs that is added to the residual stream, which else starts from the state alone; None in EAGLE-3.
    attention_out, gate, up, down : ndarray
    output : ndarray, shape (n_outputs, width), or None
        None for the target's embeddings of the tokens, where the target's output layer consists of its embeddings.
    output_tokens : ndarray of int64, shape (n_outputs,)
        Token of the target that each output scores.
    query_norm, key_norm : ndarray, shape (head_width,), or None
    embedding : ndarray, shape (vocabulary_size, width), or None
        Token embeddings; None for the target's own.
    feature_norm : ndarray, shape (n_features * feature_width,), or None
    """

    config: HeadConfig
    fuse: Floats
    embedding_norm: Floats
    state_norm: Floats
    inner_norm: Floats
    final_norm: Floats
    queries: Floats
    keys: Floats
    values: Floats
    attention_out: Floats
    gate: Floats
    up: Floats
    down: Floats
    output_tokens: NDArray[np.int64]
    output: Floats | None = None
    residual: Floats | None = None
    query_norm: Floats | None = None
    key_norm: Floats | None = None
    embedding: Floats | None = None
    feature_norm: Floats | None = None

    def __post_init__(self) -> None:
        tokens = self.output_tokens
        if tokens.ndim != 1 or tokens.dtype.kind != "i":
            raise InputError(f"tokens of the head must be integers; got {tokens.dtype} of shape {tokens.shape}")
        for name, expected in _shapes(self.config, len(tokens)).items():
            array = getattr(self, name)
            if array is not None and (array.shape != expected or array.dtype.kind != "f"):
                raise InputError(
                    f"weight {name!r} of the head must be floats of shape {expected}; got {array.dtype} of shape {array.shape}"
                )
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < self.config.vocabulary_size:
            raise InputError(
                f"tokens of the head must be from 0 to {self.config.vocabulary_size - 1}; got {tokens.min()} to {tokens.max()}"
            )


def _shapes(config: HeadConfig, n_outputs: int) -> dict[str, tuple[int, ...]]:
    width, attended, keys = config.width, config.n_heads * config.head_width, config.n_key_heads * config.head_width
    features = config.n_features * config.feature_width
    return {
        "fuse": (width, features),
        "embedding_norm": (width,),
        "state_norm": (width,),
        "inner_norm": (width,),
        "final_norm": (width,),
        "queries": (attended, 2 * width),
        "keys": (keys, 2 * width),
        "values": (keys, 2 * width),
        "residual": (width, 2 * width),
        "attention_out": (width, attended),
        "gate": (config.inner_width, width),
        "up": (config.inner_width, width),
        "down": (width, config.inner_width),
        "output": (n_outputs, width),
        "query_norm": (config.head_width,),
        "key_norm": (config.head_width,),
        "embedding": (config.vocabulary_size, width),
        "feature_norm": (features,),
    }


def weights_of(folder: Path, config: HeadConfig, tensors: Mapping[str, Any]) -> HeadWeights:
    """Build the weights from arrays by name, and name the missing and unknown ones."""
    optional = {"output", "residual", "query_norm", "key_norm", "embedding", "feature_norm"}
    known = {field.name for field in fields(HeadWeights)} - {"config"}
    missing, unknown = known - optional - set(tensors), set(tensors) - known
    if missing or unknown:
        problem = f"lacks {sorted(missing)[0]!r}" if missing else f"holds unknown weight {sorted(unknown)[0]!r}"
        raise InputError(f"the draft head in {str(folder)!r} {problem}; copy or convert it again")
    return HeadWeights(config=config, **tensors)
