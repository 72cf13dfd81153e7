"""Staged speculative decoding: several tokens per pass of the target, and the same text as plain decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etesian._shared.lazy import lazy_names

if TYPE_CHECKING:
    from etesian.decode.custom_generate import speculative
    from etesian.decode.decoder import Decoder, Stream
    from etesian.decode.drafters.combined import CombinedDrafter
    from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork
    from etesian.decode.drafters.forced import CallableDrafter
    from etesian.decode.drafters.head.drafter import HeadDrafter
    from etesian.decode.drafters.head.model import HeadModel
    from etesian.decode.drafters.lookup import LookupDrafter
    from etesian.decode.drafters.model import ModelDrafter
    from etesian.decode.drafters.ngram import NgramDrafter, build_ngram
    from etesian.decode.generation import Generation, Piece
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.language_model import Context, LanguageModel, ModelTraits, Scores
    from etesian.decode.models.loading import LoadOptions
    from etesian.decode.models.row_exactness import probe_rows
    from etesian.decode.models.table import TableModel
    from etesian.decode.models.transformers.model import HuggingFaceModel, load_huggingface
    from etesian.decode.output_text import Tokenizer
    from etesian.decode.sampling import GREEDY, Choice, Chooser, Grammar, Sampling
    from etesian.decode.speculation.adaptive import Speculation
    from etesian.decode.speculation.policy import DraftBudget, FixedPolicy, Policy
    from etesian.decode.statistics import StageStatistics, Statistics
    from etesian.decode.tree import ROOT, TokenTree

# Imported at first use: compiled loops are slow to import, and torch and transformers much slower.
_HOMES = {
    "CallableDrafter": "drafters.forced",
    "HeadDrafter": "drafters.head.drafter",
    "HeadModel": "drafters.head.model",
    "Choice": "sampling",
    "Chooser": "sampling",
    "CombinedDrafter": "drafters.combined",
    "Context": "models.language_model",
    "CpuModel": "models.cpu.model",
    "Decoder": "decoder",
    "DraftBudget": "speculation.policy",
    "DraftRequest": "drafters.drafter",
    "Drafter": "drafters.drafter",
    "FixedPolicy": "speculation.policy",
    "GREEDY": "sampling",
    "Generation": "generation",
    "Grammar": "sampling",
    "HuggingFaceModel": "models.transformers.model",
    "LanguageModel": "models.language_model",
    "LoadOptions": "models.loading",
    "LookupDrafter": "drafters.lookup",
    "ModelDrafter": "drafters.model",
    "ModelTraits": "models.language_model",
    "NgramDrafter": "drafters.ngram",
    "Piece": "generation",
    "Policy": "speculation.policy",
    "ROOT": "tree",
    "Sampling": "sampling",
    "Scores": "models.language_model",
    "Speculation": "speculation",
    "StageStatistics": "statistics",
    "StageWork": "drafters.drafter",
    "Statistics": "statistics",
    "Stream": "decoder",
    "TableModel": "models.table",
    "TokenTree": "tree",
    "Tokenizer": "output_text",
    "build_ngram": "drafters.ngram",
    "load_huggingface": "models.transformers.model",
    "probe_rows": "models.row_exactness",
    "speculative": "custom_generate",
}

__all__ = [
    "GREEDY",
    "ROOT",
    "CallableDrafter",
    "Choice",
    "Chooser",
    "CombinedDrafter",
    "Context",
    "CpuModel",
    "Decoder",
    "DraftBudget",
    "DraftRequest",
    "Drafter",
    "FixedPolicy",
    "Generation",
    "Grammar",
    "HeadDrafter",
    "HeadModel",
    "HuggingFaceModel",
    "LanguageModel",
    "LoadOptions",
    "LookupDrafter",
    "ModelDrafter",
    "ModelTraits",
    "NgramDrafter",
    "Piece",
    "Policy",
    "Sampling",
    "Scores",
    "Speculation",
    "StageStatistics",
    "StageWork",
    "Statistics",
    "Stream",
    "TableModel",
    "TokenTree",
    "Tokenizer",
    "build_ngram",
    "load_huggingface",
    "probe_rows",
    "speculative",
]

__getattr__ = lazy_names(__name__, _HOMES)
