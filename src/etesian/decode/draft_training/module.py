"""The head as a torch module, unrolled over several draft tokens as it will run (training-time test, Li et al. 2025)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights

KeysAndValues = tuple[Tensor, Tensor]


class HeadModule(nn.Module):
    """One transformer layer over token embeddings and states; its parameters have the names of `HeadWeights`.

    Parameters
    ----------
    config : HeadConfig
    output : ndarray, shape (n_outputs, width)
        Rows of the target's output layer, which are not trained.
    feature_scales : ndarray, shape (n_features * feature_width,)
        Root mean square of each number of the target's hidden states. The head continues those of the last layer that it reads.
    """

    def __init__(self, config: HeadConfig, output: NDArray[np.float32], feature_scales: NDArray[np.float32]) -> None:
        super().__init__()
        self.config = config
        attended, keys = config.n_heads * config.head_width, config.n_key_heads * config.head_width
        width, features = config.width, config.n_features * config.feature_width
        last = feature_scales[-config.feature_width :]
        scale = max(float(np.sqrt(np.mean(np.square(last)))), 1e-6)
        self.fuse = nn.Parameter(torch.zeros(width, features))
        self.embedding_norm, self.state_norm, self.inner_norm = (nn.Parameter(torch.ones(width)) for _ in range(3))
        self.final_norm = nn.Parameter(torch.full((width,), scale))
        self.residual = nn.Parameter(torch.zeros(width, 2 * width))
        self.queries, self.keys, self.values = (_product(n, 2 * width) for n in (attended, keys, keys))
        self.attention_out = nn.Parameter(torch.zeros(width, attended))
        self.gate, self.up = _product(config.inner_width, width), _product(config.inner_width, width)
        self.down = nn.Parameter(torch.zeros(width, config.inner_width))
        self.register_buffer("output", torch.from_numpy(output))
        # Layers differ in scale by orders of magnitude; the last one keeps the proportions of its numbers.
        scales = np.concatenate(
            [np.maximum(feature_scales[: features - len(last)], 1e-3 * scale), np.full_like(last, scale)]
        )
        self.register_buffer("feature_scales", torch.from_numpy(scales.astype(np.float32)))
        with torch.no_grad():
            self.fuse[:, features - len(last) :].copy_(torch.eye(width, len(last)))

    def states(self, features: Tensor) -> Tensor:
        """Fuse the target's hidden states, shape (batch, length, features)."""
        scales: Any = self.feature_scales
        return ((features / scales) @ self.fuse.T).to(
            features.dtype
        )  # the residual stream stays float32 under autocast

    def inputs(self, embeddings: Tensor, states: Tensor) -> Tensor:
        """Return what the layer's first products read: the normalized embeddings, then the normalized states."""
        return torch.cat([self._norm(embeddings, self.embedding_norm), self._norm(states, self.state_norm)], -1)

    def forward(self, embeddings: Tensor, states: Tensor, earlier: list[KeysAndValues]) -> Tensor:
        """Run the layer, and add its keys and values to `earlier`.

        `states` and the result have shape (batch, length, width). `earlier` holds keys and values of the k previous draft steps;
        step 0 reads the target's own states. The token at place t sees step 0 at all places up to t - k, and step j at t - (k - j).
        """
        config = self.config
        x = self.inputs(embeddings, states)
        query, key, value = (self._heads(x @ weight.T) for weight in (self.queries, self.keys, self.values))
        query, key = _rotated(query, config.rope_theta), _rotated(key, config.rope_theta)
        group = config.n_heads // config.n_key_heads
        earlier.append((key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)))
        h = states + x @ self.residual.T
        h = h + self._attend(query, earlier).transpose(1, 2).flatten(2) @ self.attention_out.T
        y = self._norm(h, self.inner_norm)
        return h + (functional.silu(y @ self.gate.T) * (y @ self.up.T)) @ self.down.T

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of the outputs."""
        output: Any = self.output
        return self._norm(states, self.final_norm) @ output.T

    def weights(self, output_tokens: NDArray[np.int64]) -> HeadWeights:
        """Return the weights as arrays."""
        arrays = {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in self.state_dict().items()}
        arrays["fuse"] /= arrays["feature_scales"]
        known = {field.name for field in fields(HeadWeights)}
        kept = {name: array for name, array in arrays.items() if name in known}
        return HeadWeights(config=self.config, output_tokens=output_tokens, **kept)

    def _norm(self, x: Tensor, factors: Tensor) -> Tensor:
        return functional.rms_norm(x, factors.shape, factors, self.config.norm_epsilon)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.config.head_width)).transpose(1, 2)

    def _attend(self, query: Tensor, steps: list[KeysAndValues]) -> Tensor:
        n_earlier, length = len(steps) - 1, query.shape[2]
        scale = self.config.head_width**-0.5
        sees = torch.ones(length, length, dtype=torch.bool, device=query.device).tril(-n_earlier)
        scores = [(query @ steps[0][0].transpose(2, 3) * scale).masked_fill(~sees, -torch.inf)]
        shifted = []
        for step in range(1, len(steps)):
            key, value = (part.roll(n_earlier - step, 2) for part in steps[step])
            scores.append((query * key).sum(-1, keepdim=True) * scale)
            shifted.append(value)
        weights = torch.cat(scores, -1).softmax(-1)
        mixed = weights[..., :length] @ steps[0][1]
        for place, value in enumerate(shifted):
            mixed = mixed + weights[..., length + place, None] * value
        return mixed


def _product(n_out: int, n_in: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(n_out, n_in) * n_in**-0.5)


def _rotated(x: Tensor, theta: float) -> Tensor:
    length, width = x.shape[2:]
    speeds = theta ** (-torch.arange(0, width, 2, device=x.device) / width)
    angles = torch.outer(torch.arange(length, device=x.device).float(), torch.cat([speeds, speeds]))
    turned = torch.cat([-x[..., width // 2 :], x[..., : width // 2]], -1)
    return x * angles.cos() + turned * angles.sin()
