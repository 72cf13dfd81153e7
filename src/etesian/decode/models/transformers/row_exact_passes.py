"""Passes on the CPU whose rows are exact by construction: row-exact products and attention, and texts read in fixed pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etesian.decode.models.language_model import Scores
from etesian.decode.models.transformers.key_value_cache import KeyValueCache
from etesian.decode.models.transformers.model_limits import ModelLimits
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.row_exact_attention import attention_in_use
from etesian.decode.models.transformers.row_exact_linear import MOST_ROWS, RowExactLayers
from etesian.decode.models.transformers.tree_attention_mask import ScoredNodes, tree_attention_mask

READ_ROWS = 64
"""Rows of every pass that reads a text; the last one is padded, so that keys and values do not depend on where pieces begin."""


class RowExactPasses(EagerPasses):
    """Passes in which a row has the bits of a pass of its own, as verified by `probe_rows`."""

    def __init__(self, model: Any, limits: ModelLimits) -> None:
        super().__init__(model, limits)
        self._layers = RowExactLayers(model)

    @torch.no_grad()
    def read(self, tokens: NDArray[np.int64], cache: KeyValueCache, start: int) -> None:
        """Write the keys and values of tokens that follow `start` kept ones, without logits."""
        for first in range(0, len(tokens), READ_ROWS):
            part = tokens[first : first + READ_ROWS]
            begin, n_padding = start + first, READ_ROWS - len(part)
            cache.place.start = begin
            cache.reserve(begin + READ_ROWS)
            positions = np.minimum(np.arange(begin, begin + READ_ROWS), begin + len(part) - 1)
            causal = np.tri(READ_ROWS, begin + READ_ROWS, begin, dtype=bool)
            arguments = self._arguments(positions, self._visible(causal, positions))
            with self._layers.in_use(), attention_in_use(self.model.config):
                self.model.base_model(
                    input_ids=self._on_device(np.pad(part, (0, n_padding))),
                    past_key_values=cache,
                    use_cache=True,
                    **arguments,
                )

    def score(self, tokens: NDArray[np.int64], nodes: ScoredNodes, cache: KeyValueCache, length: int) -> Scores:
        """Read the last of `nodes`, which hold `tokens`, after a text of `length` tokens."""
        first, parts = len(nodes) - len(tokens), []
        for start in range(0, len(tokens), MOST_ROWS):
            stop = min(start + MOST_ROWS, len(tokens))
            parts.append(self._score_rows(tokens[start:stop], nodes.first(first + stop), cache, length))
        if len(parts) == 1:
            return parts[0]
        hidden_states = [part.hidden_states for part in parts if part.hidden_states is not None]
        return Scores(
            np.concatenate([part.logits for part in parts]),
            np.concatenate(hidden_states) if hidden_states else None,
        )

    def _score_rows(self, tokens: NDArray[np.int64], nodes: ScoredNodes, cache: KeyValueCache, length: int) -> Scores:
        n_new, first = len(tokens), len(nodes) - len(tokens)
        cache.place.start = length + first
        cache.reserve(length + len(nodes))
        positions = length + nodes.depths[first:]
        seen = tree_attention_mask(nodes, n_new, length, hidden=-1.0) == 0
        slots = np.concatenate([np.arange(length), length + nodes.depths])
        arguments = self._arguments(positions, self._visible(seen, positions, slots))
        return self.scores(self._on_device(tokens), cache, arguments)

    def scores(self, input_ids: torch.Tensor, cache: KeyValueCache | None, arguments: dict[str, Any]) -> Scores:
        """Run one forward pass."""
        if cache is None:  # the reference of the self-check
            return super().scores(input_ids, cache, arguments)
        with self._layers.in_use(), attention_in_use(self.model.config):
            return self._run(input_ids, cache, arguments)

    def _arguments(self, positions: NDArray[np.int64], masks: dict[str, torch.Tensor]) -> dict[str, Any]:
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        arguments: dict[str, Any] = {"attention_mask": mask}
        return arguments | ({"position_ids": self._on_device(positions)} if self.takes_positions else {})

    def _visible(
        self, seen: NDArray[np.bool_], positions: NDArray[np.int64], slots: NDArray[np.int64] | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the mask of each kind of layer: True for slots that a row sees."""
        window = self.limits.window
        full = torch.from_numpy(seen)[None, None]
        if window is None:
            return {"full_attention": full}
        slots = np.arange(seen.shape[1]) if slots is None else slots
        near = torch.from_numpy(seen & (slots > positions[:, None] - window))[None, None]
        return (
            {"full_attention": full, "sliding_attention": near}
            if self.limits.mixes_layers
            else {"sliding_attention": near}
        )
