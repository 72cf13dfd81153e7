"""Check once, with a short timeout, whether the hub has a model; transformers itself would retry for half a minute."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from etesian.decode.models.loading.options import LoadOptions
from etesian.errors import InputError

TIMEOUT_SECONDS = 2.0


def resolve_model_source(location: str, options: LoadOptions) -> LoadOptions:
    """Return options with which a folder or hub name can be loaded: the local cache only if the hub does not answer.

    Raises
    ------
    InputError
        If the hub does not have the model or revision, or does not answer and the model is not in the local cache.
    """
    if options.local_files_only or Path(location).is_dir():
        return options
    return options if _is_on_hub(location, options.revision) else replace(options, local_files_only=True)


@cache  # a tokenizer and a model are loaded by each name
def _is_on_hub(name: str, revision: str | None) -> bool:
    """Return whether the hub has a model; False if the hub does not answer but the local cache has it."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    reason = "offline mode is set"
    try:
        if not constants.is_offline_mode():
            HfApi().model_info(name, revision=revision, timeout=TIMEOUT_SECONDS)
            return True
    except HFValidationError as error:
        raise InputError(f"{name!r} is neither a folder nor a hub name: {str(error).splitlines()[0]}") from error
    except RevisionNotFoundError as error:
        raise InputError(f"model {name!r} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name!r} is neither a folder nor an accessible model on the hub; check the name, or log in to the hub"
        ) from error
    except Exception as error:  # its class depends on the HTTP client of the hub library
        reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return False
    raise InputError(
        f"{name!r} is neither a folder nor in the local cache, and the hub cannot be reached ({reason[:100]}); give a folder, or "
        "go online"
    )
