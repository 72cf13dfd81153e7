"""Folders of draft heads: config.json and safetensors, in our format and in those of other projects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.documents import read_text
from etesian._shared.files import atomic_write
from etesian.decode.drafters.head.formats import from_foreign, is_foreign
from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights, weights_of
from etesian.decode.models.loading.weight_headers import check_weights
from etesian.errors import InputError

MODEL_TYPE = "etesian_head"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_INVALID = (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError, OverflowError)


def is_head_folder(folder: Path) -> bool:
    """Return True if a folder holds a draft head of a known format."""
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
    config = read_json(folder / CONFIG)
    foreign = is_foreign(config)
    tensors = read_tensors(folder, with_torch=foreign)
    try:
        return (from_foreign if foreign else _from_ours)(folder, config, tensors)
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


def write_head(folder: Path, weights: HeadWeights, target_sample: list[list[float]] | None = None) -> None:
    """Write a head, its weights in half precision; each file appears whole or not at all.

    `target_sample` comes from `embedding_sample`; without it, the head is not chosen automatically for its target.
    """
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
        sample = {} if target_sample is None else {"target_sample": target_sample}
        json.dump({"model_type": MODEL_TYPE, **asdict(weights.config), **sample}, file, indent=1)


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


def read_tensors(folder: Path, *, with_torch: bool = True) -> dict[str, NDArray[Any]]:
    """Read all tensors of a folder: integers as int64, all others as float32; safetensors only.

    Without torch, which takes a second to import, tensors in bfloat16 cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{str(folder)!r} has no safetensors; convert the head's weights to this format")
    check_weights(files)
    from safetensors import SafetensorError

    tensors: dict[str, NDArray[Any]] = {}
    for file in files:
        try:
            tensors |= (_read_with_torch if with_torch else _read_with_numpy)(file)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{str(file)!r} is damaged: {error}; copy or download it again") from error
    return tensors


def _read_with_torch(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors.torch import load_file

    return {
        name: tensor.float().numpy() if tensor.is_floating_point() else tensor.long().numpy()
        for name, tensor in load_file(file).items()
    }


def _read_with_numpy(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return {
        name: array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        for name, array in load_file(file).items()
    }
