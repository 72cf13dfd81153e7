"""Training penalty on greedy texts that fall into loops: sequence-level unlikelihood (Welleck et al. 2020).

The model continues the beginnings of some windows greedily. If a text repeats itself for about the third time, the penalty
lowers the probability of the token that continues the cycle. Normal repetition in code stays below this threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from samples import LONGEST_CYCLE

Loss = Callable[[Any, torch.Tensor], torch.Tensor]
FEWEST_REPEATED = 24  # consecutive tokens equal to those one cycle earlier


def goes_on_in_cycle(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark tokens of texts, shape (n, length), that end at least two further repetitions of a cycle and 24 tokens."""
    marked = np.zeros(ids.shape, bool)
    for period in range(1, LONGEST_CYCLE + 1):
        run = np.zeros(len(ids), np.int64)
        for place in range(period, ids.shape[1]):
            run = np.where(ids[:, place] == ids[:, place - period], run + 1, 0)
            marked[:, place] |= run >= max(FEWEST_REPEATED, 2 * period)
    return marked


@torch.no_grad()
def write_greedily(model: Any, beginnings: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """Return the beginnings, shape (n, length), with their greedy continuations."""
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=beginnings.shape[1] + n_tokens)
    texts = last = beginnings
    for _ in range(n_tokens):
        last = model(last, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(2)
        texts = torch.cat([texts, last], 1)
    return texts


def against_loops(loss: Loss, *, n_texts: int = 12, n_read: int = 64, n_tokens: int = 160) -> Loss:
    """Add -log(1 - p) to the loss for tokens with probability p that continue a cycle, averaged over all generated tokens.

    The weight of the penalty thus decreases with the number of loops. A mean over the marked tokens alone kept its full weight
    when few were left, and increased the held-out loss far more.
    """

    def with_penalty(model: Any, ids: torch.Tensor) -> torch.Tensor:
        texts = write_greedily(model, ids[:n_texts, :n_read], n_tokens)
        marked = torch.from_numpy(goes_on_in_cycle(texts.numpy()))
        marked[:, :n_read] = False
        logits = model(texts[:, :-1], use_cache=False).logits[marked[:, 1:]].float()
        wrong = texts[:, 1:][marked[:, 1:]]
        likely = logits.softmax(1).gather(1, wrong[:, None])
        penalty = -torch.log1p(-likely.clamp(max=1 - 1e-6)).sum() / (len(texts) * n_tokens)
        return loss(model, ids) + penalty

    return with_penalty
