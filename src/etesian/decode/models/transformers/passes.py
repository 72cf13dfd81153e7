"""Forward passes of a transformers model over rows of tokens."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import DynamicCache

from etesian.decode.models.language_model import Scores
from etesian.decode.models.transformers.key_value_cache import KeyValueCache, LayerShape
from etesian.decode.models.transformers.model_limits import ModelLimits
from etesian.decode.models.transformers.output_layer import Float32OutputLayer
from etesian.decode.models.transformers.tree_attention_mask import ScoredNodes, tree_attention_mask

PREFILL_ROWS = 512
"""Rows of a pass that reads a long text: enough to be compute-bound, few enough for a small mask."""

Masks = torch.Tensor | dict[str, torch.Tensor]


class EagerPasses:
    """Passes that run the model's own operations.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model on one device.
    limits : ModelLimits

    Attributes
    ----------
    takes_positions : bool
        True if the model accepts positions.
    takes_trees : bool
        True if rows may branch; set by the self-check.
    """

    takes_trees = True

    def __init__(self, model: Any, limits: ModelLimits) -> None:
        self.model = model
        self.limits = limits
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.n_embeddings: int = model.get_input_embeddings().weight.shape[0]
        self.vocabulary_size: int = model.get_output_embeddings().weight.shape[0]
        self._output_layer = Float32OutputLayer(model.get_output_embeddings())
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._shapes = self._layer_shapes()

    def open_cache(self) -> KeyValueCache:
        """Allocate a cache for one text."""
        return KeyValueCache(self._shapes, dtype=self.dtype, device=self.device)

    def close_cache(self, cache: KeyValueCache) -> None:
        """Release a cache of `open_cache`."""

    @torch.no_grad()
    def read(self, tokens: NDArray[np.int64], cache: KeyValueCache, start: int) -> None:
        """Write the keys and values of tokens that follow `start` kept ones, without logits."""
        for first in range(0, len(tokens), PREFILL_ROWS):
            part = tokens[first : first + PREFILL_ROWS]
            cache.reserve(start + first + len(part))
            cache.place.start = start + first
            # The model without its output layer, with its own causal mask.
            self.model.base_model(input_ids=self._on_device(part), past_key_values=cache, use_cache=True)

    @torch.no_grad()
    def score(self, tokens: NDArray[np.int64], nodes: ScoredNodes, cache: KeyValueCache, length: int) -> Scores:
        """Read the last of `nodes`, which hold `tokens`, after a text of `length` tokens."""
        cache.place.start = length + len(nodes) - len(tokens)
        cache.reserve(length + len(nodes))
        arguments: dict[str, Any] = {}
        if not nodes.is_chain:
            positions = length + nodes.depths[len(nodes) - len(tokens) :]
            arguments = {
                "position_ids": self._on_device(positions),
                "attention_mask": self._masks(nodes, len(tokens), length),
            }
        return self.scores(self._on_device(tokens), cache, arguments)

    def scores(self, input_ids: torch.Tensor, cache: KeyValueCache | None, arguments: dict[str, Any]) -> Scores:
        """Run one forward pass."""
        with self._output_layer.in_use():
            return self._run(input_ids, cache, arguments)

    def logits(self, input_ids: torch.Tensor, cache: KeyValueCache | None, arguments: dict[str, Any]) -> torch.Tensor:
        """Run one forward pass; float32 logits on the device, shape (n_rows, vocabulary_size)."""
        with self._output_layer.in_use():
            return self._forward(input_ids, cache, arguments)

    @torch.no_grad()
    def _run(self, input_ids: torch.Tensor, cache: KeyValueCache | None, arguments: dict[str, Any]) -> Scores:
        """Run one forward pass and record the input of the output layer."""
        recorded: list[torch.Tensor] = []
        layer = self.model.get_output_embeddings()
        handle = layer.register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0]))
        try:
            logits = self._forward(input_ids, cache, arguments)
        finally:
            handle.remove()
        hidden_states = recorded[-1].reshape(-1, recorded[-1].shape[-1]).float() if recorded else None
        return Scores(logits.cpu().numpy(), None if hidden_states is None else hidden_states.cpu().numpy())

    def _forward(self, input_ids: torch.Tensor, cache: KeyValueCache | None, arguments: dict[str, Any]) -> torch.Tensor:
        if not self.takes_positions:
            arguments = {name: value for name, value in arguments.items() if name != "position_ids"}
        output = self.model(input_ids=input_ids, past_key_values=cache, use_cache=cache is not None, **arguments)
        logits: torch.Tensor = output.logits[0].float()
        return logits

    def mask_arrays(self, nodes: ScoredNodes, n_new: int, length: int) -> dict[str, NDArray[np.float32]]:
        """Return the mask of each kind of layer, by the name that transformers gives the kind."""
        hidden = float(torch.finfo(self.dtype).min)
        window = self.limits.window
        sees_all = window is None or length + len(nodes) <= window
        full = tree_attention_mask(nodes, n_new, length, hidden=hidden)
        if sees_all:
            return {"full_attention": full}
        near = tree_attention_mask(nodes, n_new, length, hidden=hidden, window=window)
        return (
            {"full_attention": full, "sliding_attention": near}
            if self.limits.mixes_layers
            else {"sliding_attention": near}
        )

    def _masks(self, nodes: ScoredNodes, n_new: int, length: int) -> Masks:
        masks = {
            kind: torch.from_numpy(mask)[None, None].to(self.device, self.dtype)
            for kind, mask in self.mask_arrays(nodes, n_new, length).items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))  # one mask serves layers of any kind

    def _on_device(self, numbers: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(numbers)[None].to(self.device)

    @torch.no_grad()
    def _layer_shapes(self) -> list[LayerShape]:
        """Find the shape of each layer's keys and values by writing one token."""
        cache = DynamicCache()
        self.model(
            input_ids=torch.zeros((1, 1), dtype=torch.int64, device=self.device), past_key_values=cache, use_cache=True
        )
        layers: list[Any] = cache.layers
        if not layers:
            raise ValueError("its layers keep no keys and values")
        return [
            LayerShape(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[1], layer.values.shape[3])
            for layer in layers
        ]
