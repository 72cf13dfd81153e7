"""PyTorch networks of the suites, with weights drawn from a given generator."""

from __future__ import annotations

import torch
from torch import nn


class ConvolutionalNetwork(nn.Module):
    """Convolutional network of two halves with two convolutions each, and an optional early exit between them.

    Parameters
    ----------
    n_channels, n_classes
        Number of channels of the images, and of classes.
    widths
        Number of channels of the two halves.
    exit_confidence
        Probability at which an example takes the early exit; None disables the exit.
    chance
        Generator of the weights.
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        widths: tuple[int, int],
        exit_confidence: float | None,
        chance: torch.Generator,
    ) -> None:
        super().__init__()
        self.exit_confidence = exit_confidence
        self.first, self.second = _half(n_channels, widths[0]), _half(widths[0], widths[1])
        self.head = _head(widths[1], n_classes)
        self.exit = None if exit_confidence is None else _head(widths[0], n_classes)
        draw_weights(self, chance)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """Return the logits of the exit, a mask of the examples that continue, and the final logits of these examples."""
        features = self.first(images)
        if self.exit is None:
            is_hard = torch.ones(len(images), dtype=torch.bool, device=images.device)
            return None, is_hard, self.head(self.second(features))
        early = self.exit(features)
        is_hard = early.detach().float().softmax(dim=1).amax(dim=1) < self.exit_confidence
        return early, is_hard, self.head(self.second(features[is_hard]))


def _half(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def _head(n_in: int, n_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(4 * n_in, n_classes))


def draw_weights(network: nn.Module, chance: torch.Generator) -> None:
    """Initialize matrices as in He et al. (2015, section 2.2) and biases with 0, without the global generator."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=chance)
        else:
            nn.init.zeros_(parameter)


class NextByte(nn.Module):
    """Predicts the next byte with a gated recurrent unit (Cho et al. 2014, section 2.3).

    Parameters
    ----------
    width
        Number of hidden units.
    chance
        Generator of the weights.
    """

    def __init__(self, width: int, chance: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.unit = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 256)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=chance)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Return the logits of each next byte: (windows, bytes) to (windows, bytes, 256)."""
        states, _ = self.unit(self.embedding(read))
        logits: torch.Tensor = self.head(states)
        return logits
