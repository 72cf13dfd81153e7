"""Load models and tokenizers of transformers, from safetensors only and without running code of a model unless asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from etesian.decode.models.loading.adapter import check_adapter, merge_adapter, without_adapter
from etesian.decode.models.loading.hub import resolve_model_source
from etesian.decode.models.loading.model_folder import check_files, check_location, check_model_folder, first_of
from etesian.decode.models.loading.options import NUMBER_TYPES, LoadOptions
from etesian.errors import InputError

Loaded = TypeVar("Loaded")

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "*.tiktoken")


def load_transformers_model(name: str | Path, options: LoadOptions | None = None) -> Any:
    """Load a causal language model of transformers onto its device. A LoRA adapter in its folder is merged into the weights.

    Parameters
    ----------
    name : str or Path
        A folder with ``config.json`` and safetensors, or a hub name.
    options : LoadOptions, optional
        Number type, device and source.

    Returns
    -------
    transformers.PreTrainedModel
        In evaluation mode.

    Raises
    ------
    InputError
        If the model does not exist, its weights are pickled, incomplete or damaged, or it needs code of its own.
    """
    options = options or LoadOptions()
    device = options.torch_device()
    location = check_model_folder(name)
    options = resolve_model_source(location, options)

    has_adapter = check_adapter(Path(location))

    def load(source: str) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            source,
            dtype=NUMBER_TYPES[options.dtype],
            use_safetensors=True,
            output_loading_info=True,
            **options.sources,
        )

    with without_adapter(Path(location)) if has_adapter else nullcontext(location) as source:
        model, report = _with_input_errors(partial(load, source), location)
    if report["missing_keys"]:
        raise InputError(
            f"the weights of {location!r} are incomplete: {first_of(report['missing_keys'])} missing; save the model again, whole"
        )
    if has_adapter:
        model = _with_input_errors(partial(merge_adapter, model, Path(location)), location)
    return model.to(device).eval()


def load_tokenizer(name: str | Path, options: LoadOptions | None = None) -> Any:
    """Load the tokenizer of a model.

    Parameters
    ----------
    name : str or Path
        A folder or a hub name.
    options : LoadOptions, optional
        Source of the model.

    Returns
    -------
    transformers.PreTrainedTokenizerBase

    Raises
    ------
    InputError
        If the tokenizer does not exist, or needs code of its own.
    """
    options = options or LoadOptions()
    location = check_location(name)
    folder = Path(location)
    if folder.is_dir() and not any(next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES):
        raise InputError(
            f"folder {location!r} has no tokenizer; save one there with tokenizer.save_pretrained({location!r})"
        )
    if folder.is_dir():
        check_files(folder)
    options = resolve_model_source(location, options)

    def load() -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(location, **options.sources)

    return _with_input_errors(load, location)


def _with_input_errors(load: Callable[[], Loaded], location: str) -> Loaded:
    """Call `load` without progress bars, and turn errors of transformers into one-line input errors."""
    import torch
    from safetensors import SafetensorError

    try:
        with _quiet_transformers():
            return load()
    except SafetensorError as error:
        raise InputError(f"the weights of {location!r} are damaged ({error}); copy or download them again") from error
    except torch.OutOfMemoryError:
        raise
    except InputError:
        raise
    except (
        Exception
    ) as error:  # the tokenizers library raises nothing more specific, and configurations fail in many ways
        raise InputError(_explained(location, error)) from error


def _explained(location: str, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if "trust_remote_code" in reason:
        return (
            f"model {location!r} brings code of its own, which does not run by default; review it, then pass "
            "trust_remote_code=True"
        )
    if "couldn't connect" in reason or "offline" in reason:
        return (
            f"{location!r} is neither a folder nor in the local cache, and the hub cannot be reached; give a folder, or go "
            "online"
        )
    if "not a valid model identifier" in reason or "not a local folder" in reason or "gated" in reason:
        return (
            f"{location!r} is neither a folder nor an accessible model on the hub; check the name, or log in to the hub"
        )
    if "safetensors" in reason and isinstance(error, OSError):
        return f"model {location!r} has no safetensors; if you trust it, load it with transformers and save it again"
    return f"model {location!r} could not be loaded: {reason[:300]}"


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Disable progress bars and reports; problems are raised."""
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
