"""Recognize the target of a draft head by a sample of its token embeddings, in any number type and file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etesian.decode.drafters.head.folder import CONFIG, is_head_folder, read_json
from etesian.decode.models.language_model import LanguageModel, TargetOfHeads

N_TOKENS, N_NUMBERS = 16, 16
"""Size of a sample: the first numbers of the embeddings of tokens that are evenly spaced over the vocabulary."""
HEADS = Path(__file__).parents[2] / "heads"
"""The heads of the package, in one folder each."""
LEAST_COSINE = 0.97
"""Rounding to 4 bits changes the cosine little; that of unrelated models is near 0."""


def embedding_sample(target: TargetOfHeads) -> list[list[float]]:
    """Return the sample of a target for `write_head`."""
    tokens = np.linspace(0, target.vocabulary_size - 1, N_TOKENS).astype(np.int64)
    return [[round(float(value), 4) for value in row] for row in target.embed(tokens)[:, :N_NUMBERS]]


def is_head_of(config: Mapping[str, Any], target: TargetOfHeads) -> bool:
    """Return True if a head with this configuration was trained on the target, or on its weights in another number type."""
    if (config.get("vocabulary_size"), config.get("feature_width")) != (target.vocabulary_size, target.width):
        return False
    try:
        known = np.array(config.get("target_sample"), np.float64).reshape(-1)
    except (TypeError, ValueError):
        return False
    sample = np.array(embedding_sample(target)).reshape(-1)
    lengths = np.linalg.norm(known) * np.linalg.norm(sample)
    return known.shape == sample.shape and bool(known @ sample >= LEAST_COSINE * lengths > 0)


def installed_head(target: LanguageModel) -> Path | None:
    """Return the folder of the head for this target that comes with the package; None if there is none."""
    if not isinstance(target, TargetOfHeads):
        return None
    for folder in sorted(HEADS.glob("*")):
        if is_head_folder(folder) and is_head_of(read_json(folder / CONFIG), target):
            return folder
    return None
