"""What is wrong with a model's folder, as far as the names of its files tell. Reads no weights and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from etesian.errors import InputError

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_NAME_PARTS = 2


def check_model_folder(name: str | Path) -> str:
    """Refuse a folder whose model cannot be loaded, as far as its files' names tell; the name or folder for transformers.

    Raises
    ------
    InputError
        Saying what is there instead, and what would work.
    """
    location = check_location(name)
    folder = Path(location)
    if not folder.is_dir():
        return location
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names:
        _refuse_without_config(location, names)
    if not any(file.endswith(".safetensors") for file in names):
        _refuse_without_safetensors(location, names)
    _check_shards(folder)
    return location


def check_location(name: str | Path) -> str:
    """The folder or hub name as transformers takes it; refuse a file, and a folder that is not there."""
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
            f"there is no folder {location!r}; give a folder with config.json and model.safetensors, or a hub name"
        )
    return location


def _refuse_without_config(location: str, names: list[str]) -> None:
    if "adapter_config.json" in names:
        raise InputError(
            f"folder {location!r} holds an adapter, not a model; merge it into its base model and save that"
        )
    if any(file.endswith(".gguf") for file in names):
        raise InputError(
            f"folder {location!r} holds GGUF files; give the model that they were made from, in safetensors"
        )
    raise InputError(f"folder {location!r} has no config.json; it holds {first_of(names)}")


def _refuse_without_safetensors(location: str, names: list[str]) -> None:
    pickles = [file for file in names if file.endswith(_PICKLES)]
    if pickles:
        raise InputError(
            f"the weights of {location!r} are pickled ({first_of(pickles)}), and opening a pickle can run code; where you trust "
            "it, load it with transformers and write safetensors with model.save_pretrained(folder)"
        )
    raise InputError(f"folder {location!r} has no weights (*.safetensors); it holds {first_of(names)}")


def _check_shards(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.exists() or (folder / "model.safetensors").exists():
        return
    try:
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{str(index)!r} is no index of weights ({type(error).__name__}: {error})") from error
    missing = [file for file in files if not (folder / file).exists()]
    if missing:
        raise InputError(f"folder {str(folder)!r} lacks {first_of(missing)}, which model.safetensors.index.json names")


def first_of(names: Iterable[str], count: int = 3) -> str:
    """The first few names, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return (", ".join(listed[:count]) or "nothing") + more
