"""Drafters by name: those of other packages register under the entry point group ``etesian.drafters``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from etesian.decode.drafters.drafter import Drafter
from etesian.decode.models.language_model import LanguageModel
from etesian.errors import InputError

GROUP = "etesian.drafters"

DrafterFactory = Callable[[LanguageModel, Drafter | None], Drafter]
"""Called with the target and the inner drafter, if there is one; returns a drafter."""


def drafter_names() -> list[str]:
    """Return the names of all registered drafters, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def drafter_factory(name: str) -> DrafterFactory | None:
    """Load the factory registered under a name; None if there is none.

    Raises
    ------
    InputError
        If several packages register the name, or the factory cannot be imported.
    """
    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not entries:
        return None
    if len(entries) > 1:
        raise InputError(
            f"drafter {name!r} is registered more than once: {', '.join(sorted(entries))}; remove a package"
        )
    (entry,) = entries.values()
    try:
        factory: DrafterFactory = entry.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"drafter {name!r} ({entry.value}) cannot be imported: {error}") from error
    return factory
