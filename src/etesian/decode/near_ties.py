"""How far a model's logits depend on what else is in the pass, for models whose rows are not exact.

There, a decision as close as rounding could turn is not taken from a pass of many rows: the walk breaks off before it, and the
next pass has one row, as plain decoding's has. What remains is that keys and values kept from passes of many rows may differ in
their last bits from plain decoding's; the tolerance, several times the largest difference seen, is there for that too.
"""

from __future__ import annotations

import numpy as np

from etesian.decode.models.language_model import LanguageModel

_ROWS = 16
_SAFETY = 4.0  # two logits are compared, each off by the error; and twice that, for a probe sees one text


def tolerance_of(model: LanguageModel) -> float | None:
    """Return how close two logits may be before a decision between them is made again; None where rows are exact."""
    if getattr(model, "rows_are_exact", True):
        return None
    tokens = np.random.default_rng(0).integers(0, model.vocabulary_size, _ROWS)
    together = model.context().score(tokens, np.arange(-1, _ROWS - 1)).copy()
    context, largest = model.context(), 0.0
    for token, row in zip(tokens.tolist(), together, strict=True):
        alone = context.score([token], [-1])[0]
        largest = max(largest, float(np.abs(alone - row).max()))
        context.keep([0])
    return _SAFETY * largest
