"""A small language model of Python's documentation: time to a target loss of a plain training and five variants.

The text is read byte by byte. Part of it, whole topics, is kept for the target, and another for the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from etesian.bench import Suite, Target
from etesian.suite.trainings import Recipe, Training, require_torch

if TYPE_CHECKING:
    import torch

    from etesian.suite.trainings import Part

TARGET = Target("loss", 2.7, "at_most")
"""In nats per byte. A uniform guess has 5.5, byte frequencies have 3.3."""

CONTEXT = 32
EXAMPLES_PER_SLICE = 256
_SCORED = 256  # evaluation windows, spread over each held-out part
_SHARES = {"train": 0.8, "validation": 0.1, "fresh": 0.1}


def text() -> Suite:
    """Compare the times of the trainings to `TARGET` on the reference topics of `pydoc`."""
    require_torch()
    plain = Recipe(batch_size=16, learning_rate=0.004, optimizer="adam", epochs=1)
    entries = {
        "baseline": (TextTask(), plain),
        "large_batch": (TextTask(), dataclasses.replace(plain, batch_size=128, learning_rate=0.01)),
        "bfloat16": (TextTask(), dataclasses.replace(plain, precision="bfloat16")),
        "one_cycle": (TextTask(), dataclasses.replace(plain, learning_rate=0.01, schedule="one_cycle")),
        "short_context": (TextTask(context=CONTEXT // 4), plain),
        "early_stopping": (
            TextTask(),
            dataclasses.replace(plain, learning_rate=0.01, schedule="one_cycle", epochs=0.35),
        ),
    }
    workloads = [
        Training(name, task, recipe, examples_per_slice=EXAMPLES_PER_SLICE) for name, (task, recipe) in entries.items()
    ]
    return Suite("text", workloads, TARGET, budget_seconds=120)


class TextTask:
    """Learn to predict the next byte; the metric is `loss`, in nats per byte, always with `CONTEXT` bytes before.

    Parameters
    ----------
    context
        Number of bytes of a training example, which is drawn from a window of `CONTEXT` bytes.
    width
        Number of hidden units.
    """

    def __init__(self, *, context: int = CONTEXT, width: int = 64) -> None:
        if not 1 <= context <= CONTEXT:
            raise ValueError(f"context must be 1 to {CONTEXT}; got {context}")
        self.context = context
        self.width = width

    def load(self, device: torch.device) -> int:
        """Move the text to the device and return the number of training windows of `CONTEXT` bytes."""
        import torch

        self._parts = {name: torch.from_numpy(array.copy()).to(device) for name, array in read_parts().items()}
        return (len(self._parts["train"]) - 1) // CONTEXT

    def network(self, chance: torch.Generator) -> torch.nn.Module:
        """Return a gated recurrent network."""
        from etesian.suite.networks import NextByte

        return NextByte(self.width, chance)

    def loss(self, network: torch.nn.Module, rows: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        """Return the cross-entropy of every byte of some windows, given the preceding bytes of the window."""
        import torch

        latest = CONTEXT - self.context
        offsets = torch.randint(0, latest + 1, (len(rows),), generator=chance).to(rows.device) if latest else 0
        return _losses(network, self._parts["train"], rows * CONTEXT + offsets, self.context).mean()

    def score(self, network: torch.nn.Module, part: Part) -> Mapping[str, torch.Tensor]:
        """Return the mean loss of windows spread over a part."""
        import torch

        held_out = self._parts[part]
        starts = torch.linspace(
            0, len(held_out) - CONTEXT - 1, _SCORED, dtype=torch.float64, device=held_out.device
        ).long()
        return {"loss": _losses(network, held_out, starts, CONTEXT).mean(dim=1)}


def _losses(network: torch.nn.Module, source: torch.Tensor, starts: torch.Tensor, context: int) -> torch.Tensor:
    """Return the cross-entropy of all bytes except the first of each window, shape (windows, context)."""
    import torch

    windows = source[starts[:, None] + torch.arange(context + 1, device=source.device)].long()
    logits = network(windows[:, :-1]).float()
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), windows[:, 1:], reduction="none")


@cache
def read_parts() -> dict[str, np.ndarray]:
    """Return the bytes of the topics of `pydoc` in three disjoint parts, the same in every run."""
    from pydoc_data.topics import topics

    names = sorted(topics)
    np.random.default_rng(0).shuffle(names)
    encoded = [np.frombuffer(topics[name].encode(), dtype=np.uint8) for name in names]
    places = np.cumsum([len(each) for each in encoded]) / sum(len(each) for each in encoded)
    parts, start = {}, 0
    for name, end in zip(_SHARES, np.cumsum(list(_SHARES.values())), strict=True):
        stop = int(np.searchsorted(places, end - 1e-9)) + 1
        parts[name] = np.concatenate(encoded[start:stop])
        start = stop
    return parts
