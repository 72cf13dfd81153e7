"""Drafters by name: those of other packages register under the entry-point group ``etesian.drafters``."""

from __future__ import annotations

from collections.abc import Callable

from etesian._shared.entry_points import find_extension
from etesian.decode.drafters.drafter import Drafter
from etesian.decode.models.language_model import LanguageModel

GROUP = "etesian.drafters"

DrafterFactory = Callable[[LanguageModel, Drafter | None], Drafter]
"""Called with the target and the inner drafter, if there is one; returns a drafter."""


def drafter_factory(name: str) -> DrafterFactory | None:
    """Load the factory registered under a name; None if there is none.

    Raises
    ------
    InputError
        If several packages register the name, or the factory cannot be imported.
    """
    return find_extension(GROUP, "drafter", name)
