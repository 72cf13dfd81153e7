"""LoRA adapters next to the weights of a model: applied by peft and merged into the weights."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etesian._shared.documents import read_document
from etesian.errors import InputError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def check_adapter(folder: Path) -> bool:
    """Return True if a folder of weights also holds an adapter that can be merged.

    Raises
    ------
    InputError
        If the adapter is not LoRA, its weights are missing or pickled, or peft is not installed.
    """
    if not (folder / CONFIG).exists():
        return False
    remedy = "merge it into the model with peft (merge_and_unload) and save that, or remove the file"
    if find_spec("peft") is None:
        raise InputError(
            f"folder {str(folder)!r} holds a LoRA adapter ({CONFIG}), which needs peft: pip install peft; or {remedy}"
        )
    try:
        kind = json.loads(read_document(folder / CONFIG))["peft_type"]
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(folder / CONFIG)!r} does not configure an adapter ({type(error).__name__}: {error})"
        ) from error
    if kind != "LORA":
        raise InputError(f"folder {str(folder)!r} holds an adapter of type {kind!r}; only LORA is supported: {remedy}")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"folder {str(folder)!r} holds {CONFIG} but no {WEIGHTS}; copy the adapter again, or {remedy}")
    return True


@contextmanager
def without_adapter(folder: Path) -> Iterator[str]:
    """Yield a folder with links to all files of `folder` except its adapter, which transformers would load."""
    with tempfile.TemporaryDirectory(prefix="etesian-") as name:
        for path in folder.resolve().iterdir():
            if not path.name.startswith("adapter_"):
                (Path(name) / path.name).symlink_to(path)
        yield name


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return a transformers model with the LoRA adapter of a folder merged into its weights.

    Raises
    ------
    InputError
        If the adapter was made for another model.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    with _no_deprecation_warnings():
        wrapped = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    with safe_open(folder / WEIGHTS, "np") as file:
        differing = sorted(set(file.keys()) ^ get_peft_model_state_dict(wrapped).keys())
    if differing:
        raise InputError(
            f"the LoRA adapter in {str(folder)!r} does not fit the model: {differing[0]!r} has no counterpart "
            f"({len(differing)} such tensors); use the adapter with the model that it was trained for"
        )
    return wrapped.merge_and_unload(safe_merge=True)


@contextmanager
def _no_deprecation_warnings() -> Iterator[None]:
    """Hide warnings about functions of transformers that peft calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
