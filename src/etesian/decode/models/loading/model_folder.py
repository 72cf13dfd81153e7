"""Check the folder of a model by its file names, before any weights are opened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from etesian._shared.documents import check_regular, read_document
from etesian._shared.limits import RAISE_LIMITS, limit_of
from etesian.decode.models.loading.weight_headers import check_config, check_weights
from etesian.errors import InputError

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TEXTS = (".json", ".txt", ".jinja", ".model", ".tiktoken")
_HUB_NAME_PARTS = 2
LARGEST_TEXT = 1 << 27
"""Largest size of a configuration, tokenizer or chat template, in bytes."""


def check_model_folder(name: str | Path) -> str:
    """Return the folder or hub name of a model as transformers takes it; refuse a folder that cannot be loaded safely.

    Raises
    ------
    InputError
        If the folder lacks a configuration or safetensors, or its index names other files.
    """
    location = check_location(name)
    folder = Path(location)
    if not folder.is_dir():
        return location
    check_files(folder)
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names:
        _refuse_without_config(location, names)
    if not any(file.endswith(".safetensors") for file in names):
        _refuse_without_safetensors(location, names)
    check_config(folder / "config.json", check_weights(_weight_files(folder)))
    return location


def check_files(folder: Path) -> None:
    """Check that the files of a folder are regular, and that those which are read as a whole are not too large.

    Raises
    ------
    InputError
        If a file is a pipe, a socket or a device, or a text is too large.
    """
    limit = limit_of(LARGEST_TEXT)
    for path in sorted(folder.iterdir()):
        if path.is_dir() or not path.exists():
            continue
        check_regular(path)
        if path.suffix in _TEXTS and path.stat().st_size > limit:
            raise InputError(f"{path} is larger than {limit:,} bytes; {RAISE_LIMITS}")


def check_location(name: str | Path) -> str:
    """Return the folder or hub name as transformers takes it; refuse a file, and a folder that does not exist."""
    location = str(Path(name).expanduser()) if str(name).startswith("~") else str(name)
    if not location.strip():
        raise InputError(f"name must be a folder or a hub name; got {location!r}")
    path = Path(location)
    if path.is_file():
        raise InputError(f"{location!r} is a file; give the folder that holds config.json and model.safetensors")
    is_in_a_folder = "/" in location and path.parent.is_dir()
    looks_like_a_path = location.startswith((".", "/")) or location.count("/") >= _HUB_NAME_PARTS or is_in_a_folder
    if (looks_like_a_path or isinstance(name, Path)) and not path.exists():
        raise InputError(
            f"folder {location!r} does not exist; give a folder with config.json and model.safetensors, or a hub name"
        )
    return location


def _refuse_without_config(location: str, names: list[str]) -> None:
    if "adapter_config.json" in names:
        raise InputError(
            f"folder {location!r} holds a LoRA adapter without its model; merge it into the base model and save that"
        )
    if files := [file for file in names if file.endswith(".gguf")]:
        raise InputError(f"folder {location!r} holds GGUF files; give the path of one of them: {first_of(files)}")
    raise InputError(f"folder {location!r} has no config.json; it holds {first_of(names)}")


def _refuse_without_safetensors(location: str, names: list[str]) -> None:
    pickles = [file for file in names if file.endswith(_PICKLES)]
    if pickles:
        raise InputError(
            f"the weights of {location!r} are pickled ({first_of(pickles)}), and opening a pickle can run code; where you trust "
            "it, load it with transformers and write safetensors with model.save_pretrained(folder)"
        )
    raise InputError(f"folder {location!r} has no weights (*.safetensors); it holds {first_of(names)}")


def _weight_files(folder: Path) -> list[Path]:
    """Return the files of weights, those of the index if there is one; refuse an index that names other files."""
    index = folder / "model.safetensors.index.json"
    if not index.exists() or (folder / "model.safetensors").exists():
        return sorted(folder.glob("*.safetensors"))
    try:
        files = sorted(set(json.loads(read_document(index))["weight_map"].values()), key=str)
    except InputError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{str(index)!r} is not an index of weights ({type(error).__name__}: {error})") from error
    foreign = [str(file) for file in files if not _is_safetensors_name(file)]
    if foreign:
        raise InputError(
            f"{str(index)!r} may name only *.safetensors files in its own folder; got {first_of(foreign)}; save the model again"
        )
    missing = [file for file in files if not (folder / file).exists()]
    if missing:
        raise InputError(f"folder {str(folder)!r} lacks {first_of(missing)}, which model.safetensors.index.json names")
    return [folder / file for file in files]


def _is_safetensors_name(file: object) -> bool:
    is_plain = isinstance(file, str) and file == Path(file).name and "\\" not in file
    return is_plain and str(file).endswith(".safetensors")


def first_of(names: Iterable[str], count: int = 3) -> str:
    """Return the first few names and the number of the others."""
    listed = sorted(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return (", ".join(listed[:count]) or "nothing") + more
