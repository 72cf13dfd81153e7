"""Whether a name can be loaded from the hub, asked once and shortly: transformers itself tries again for half a minute."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from etesian.decode.models.loading.options import LoadOptions
from etesian.errors import InputError

PATIENCE = 2.0  # seconds for an answer


def resolve_model_source(location: str, options: LoadOptions) -> LoadOptions:
    """Options by which a folder or a hub name can be loaded: from the local cache alone where the hub gives no answer.

    Raises
    ------
    InputError
        If the hub has no such model or revision, or cannot be asked for one that is not in the local cache.
    """
    if options.local_files_only or Path(location).is_dir():
        return options
    return options if _is_on_hub(location, options.revision) else replace(options, local_files_only=True)


@cache  # a tokenizer and a model are loaded by each name
def _is_on_hub(name: str, revision: str | None) -> bool:
    """True if it is; False if that is not known, and it lies in the local cache."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    reason = "it is told to stay offline"
    try:
        if not constants.is_offline_mode():
            HfApi().model_info(name, revision=revision, timeout=PATIENCE)
            return True
    except HFValidationError as error:
        raise InputError(f"{name!r} is no folder, and no hub name: {str(error).splitlines()[0]}") from error
    except RevisionNotFoundError as error:
        raise InputError(f"model {name!r} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name!r} is neither a folder nor a model on the hub that may be read; check the name, or log in to the hub"
        ) from error
    except Exception as error:  # of which kind depends on the HTTP client that the hub's library happens to use
        reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return False
    raise InputError(
        f"{name!r} is no folder, not in the local cache, and the hub could not be asked ({reason[:100]}); give a folder, or "
        "go online"
    )
