"""Models and tokenizers from a folder or by their hub name: safetensors alone, no code from a model's folder unless asked for.

Whatever is wrong is told in plain words; `model_folder` tells what can be seen before weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from etesian.decode.models.loading.hub import resolve_model_source
from etesian.decode.models.loading.model_folder import check_location, check_model_folder, first_of
from etesian.decode.models.loading.options import NUMBER_TYPES, LoadOptions
from etesian.errors import InputError

Loaded = TypeVar("Loaded")

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.tiktoken")


def load_transformers_model(name: str | Path, options: LoadOptions | None = None) -> Any:
    """A causal language model as transformers knows it, ready on its device.

    Parameters
    ----------
    name
        A folder with ``config.json`` and safetensors, or a name on the hub.
    options
        Number type, device and where to look; the defaults of `LoadOptions` if None.

    Raises
    ------
    InputError
        If there is no such model, its weights are pickled, incomplete or damaged, or it brings code that nobody asked to run.
    """
    options = options or LoadOptions()
    device = options.torch_device()
    location = check_model_folder(name)
    options = resolve_model_source(location, options)

    def load() -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            location,
            dtype=NUMBER_TYPES[options.dtype],
            use_safetensors=True,
            output_loading_info=True,
            **options.sources,
        )

    model, report = _in_plain_words(load, location)
    if report["missing_keys"]:
        raise InputError(
            f"the weights of {location!r} are incomplete: {first_of(report['missing_keys'])} missing; save the model again, whole"
        )
    return model.to(device).eval()


def load_tokenizer(name: str | Path, options: LoadOptions | None = None) -> Any:
    """The tokenizer beside a model, as transformers knows it.

    Raises
    ------
    InputError
        If there is none, or it brings code that nobody asked to run.
    """
    options = options or LoadOptions()
    location = check_location(name)
    folder = Path(location)
    if folder.is_dir() and not any(next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES):
        raise InputError(
            f"folder {location!r} has no tokenizer; save one there with tokenizer.save_pretrained({location!r})"
        )
    options = resolve_model_source(location, options)

    def load() -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(location, **options.sources)

    return _in_plain_words(load, location)


def _in_plain_words(load: Callable[[], Loaded], location: str) -> Loaded:
    """Carry out `load`, quietly; what transformers raises over a damaged or unknown model becomes one line."""
    import torch
    from safetensors import SafetensorError

    try:
        with _quiet_transformers():
            return load()
    except SafetensorError as error:
        raise InputError(f"the weights of {location!r} are damaged ({error}); copy or download them again") from error
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(_explained(location, error)) from error


def _explained(location: str, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if "trust_remote_code" in reason:
        return (
            f"model {location!r} brings code of its own, which runs only if asked for; read it, then give "
            "trust_remote_code=True"
        )
    if "couldn't connect" in reason or "offline" in reason:
        return f"{location!r} is no folder, not in the local cache, and the hub could not be asked; give a folder, or go online"
    if "not a valid model identifier" in reason or "not a local folder" in reason or "gated" in reason:
        return f"{location!r} is neither a folder nor a model on the hub that may be read; check the name, or log in to the hub"
    if "safetensors" in reason and isinstance(error, OSError):
        return f"model {location!r} has no safetensors; convert it: load it with transformers where you trust it, and save it again"
    return f"model {location!r} could not be loaded: {reason[:300]}"


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and no reports: what is wrong is raised."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
