"""Weights of a draft head in one layout, and their folders: config.json and safetensors.

The layout is that of EAGLE-3 (Li et al. 2025): a product fuses the target's hidden states, one transformer layer reads them next to
the token embeddings, and an output layer scores a part of the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.documents import read_text
from etesian._shared.files import atomic_write
from etesian.decode.models.loading.weight_headers import check_weights
from etesian.errors import InputError

MODEL_TYPE = "etesian_head"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
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
_INVALID = (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError, OverflowError)
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
        Layers of the target whose inputs are read; None for the input of its output layer, or, for three, the layers of EAGLE-3.
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
    output : ndarray, shape (n_outputs, width)
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
    output: Floats
    output_tokens: NDArray[np.int64]
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


def is_head_folder(folder: Path) -> bool:
    """Return True if a folder holds a draft head of a known format."""
    from etesian.decode.drafters.head.formats import is_foreign

    if not (folder / CONFIG).is_file():
        return False
    config = read_json(folder / CONFIG)
    return config.get("model_type") == MODEL_TYPE or is_foreign(config)


def read_head(folder: Path) -> HeadWeights:
    """Read a head: one written by `write_head`, an EAGLE-3 head or a head in the format of speculators.

    Raises
    ------
    InputError
        If a file is missing or damaged, the format is unknown, or weights do not fit the configuration.
    """
    from etesian.decode.drafters.head.formats import from_foreign, is_foreign

    config, tensors = read_json(folder / CONFIG), read_tensors(folder)
    try:
        return (from_foreign if is_foreign(config) else _from_ours)(folder, config, tensors)
    except InputError:
        raise
    except _INVALID as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{str(folder / CONFIG)!r} does not describe the head ({reason}); copy or convert it again"
        ) from error


def _from_ours(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> HeadWeights:
    """Read a head that `write_head` wrote."""
    if config.get("model_type") != MODEL_TYPE:
        raise InputError(
            f"{str(folder)!r} holds a {config.get('model_type')!r}, not a draft head; heads of `etesian draft train`, EAGLE-3 and "
            "speculators are supported"
        )
    known = {field.name for field in fields(HeadConfig)}
    numbers = {name: value for name, value in config.items() if name in known}
    layers = numbers.pop("feature_layers", None)
    head = HeadConfig(**numbers, feature_layers=None if layers is None else tuple(int(each) for each in layers))
    return weights_of(folder, head, tensors)


def weights_of(folder: Path, config: HeadConfig, tensors: Mapping[str, Any]) -> HeadWeights:
    """Build the weights from arrays by name, and name the missing and unknown ones."""
    optional = {"residual", "query_norm", "key_norm", "embedding", "feature_norm"}
    known = {field.name for field in fields(HeadWeights)} - {"config"}
    missing, unknown = known - optional - set(tensors), set(tensors) - known
    if missing or unknown:
        problem = f"lacks {sorted(missing)[0]!r}" if missing else f"holds unknown weight {sorted(unknown)[0]!r}"
        raise InputError(f"the draft head in {str(folder)!r} {problem}; copy or convert it again")
    return HeadWeights(config=config, **tensors)


def write_head(folder: Path, weights: HeadWeights) -> None:
    """Write a head, its weights in half precision; each file appears whole or not at all."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {}
    for field in fields(HeadWeights):
        array = getattr(weights, field.name)
        if field.name == "config" or array is None:
            continue
        is_product = array.ndim == 2
        arrays[field.name] = array.astype(np.float16) if is_product else array
    with atomic_write(folder / WEIGHTS, make_parents=True) as file:
        file.write(save(arrays))
    with atomic_write(folder / CONFIG, "w") as file:
        json.dump({"model_type": MODEL_TYPE, **asdict(weights.config)}, file, indent=1)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise `InputError` if it is missing or damaged."""
    try:
        found = json.loads(read_text(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} must hold a JSON object; got a {type(found).__name__}")
    return found


def read_tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a folder: integers as int64, all others as float32; safetensors only."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{str(folder)!r} has no safetensors; convert the head's weights to this format")
    check_weights(files)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, NDArray[Any]] = {}
    for file in files:
        try:
            found = load_file(file)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{str(file)!r} is damaged: {error}; copy or download it again") from error
        for name, tensor in found.items():
            tensors[name] = tensor.float().numpy() if tensor.is_floating_point() else tensor.long().numpy()
    return tensors
