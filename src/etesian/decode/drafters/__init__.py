"""Drafters: N-gram, lookup in the text itself, draft model, and combinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
from etesian._shared.lazy import lazy_names

if TYPE_CHECKING:
    from etesian.decode.drafters.combined import CombinedDrafter
    from etesian.decode.drafters.drafter import Drafter, DraftRequest
    from etesian.decode.drafters.forced import CallableDrafter
    from etesian.decode.drafters.head.drafter import HeadDrafter
    from etesian.decode.drafters.lookup import LookupDrafter
    from etesian.decode.drafters.model import ModelDrafter
    from etesian.decode.drafters.ngram import NgramDrafter, build_ngram

__all__ = [
    "CallableDrafter",
    "CombinedDrafter",
    "DraftRequest",
    "Drafter",
    "HeadDrafter",
    "LookupDrafter",
    "ModelDrafter",
    "NgramDrafter",
    "build_ngram",
]

# Imported at first use, because compiled functions are slow to import.
_HOMES = {
    "CallableDrafter": "forced",
    "HeadDrafter": "head.drafter",
    "CombinedDrafter": "combined",
    "DraftRequest": "drafter",
    "Drafter": "drafter",
    "LookupDrafter": "lookup",
    "ModelDrafter": "model",
    "NgramDrafter": "ngram",
    "build_ngram": "ngram",
}

__getattr__ = lazy_names(__name__, _HOMES)
