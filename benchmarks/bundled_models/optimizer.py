"""Muon for the matrices inside blocks, Adam for the rest, on float32 copies of bfloat16 weights.

Muon (Jordan et al. 2024) steps approximately along the orthogonal matrix nearest to the momentum, computed by a Newton-Schulz
iteration. It needs about half as many tokens as Adam at these sizes.
"""

from collections.abc import Sequence
from typing import Any

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Jordan et al. 2024. It forgives singular values a little above 1, as bfloat16 makes them. Polar Express (Amsel et al. 2025) does
not: on momenta of nearly one direction its first polynomial threw single matrices to 1e12, and the loss crept up."""
N_ITERATIONS = 5


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Approximate U V^T for each matrix U S V^T, with singular values from 0.7 to 1.2; shape (n, rows, columns)."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(N_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x if wide else x.mT).float()


class Muon:
    """Optimizer of matrices of the same shape; `master` has shape (n, rows, columns), float32."""

    def __init__(
        self, weights: Sequence[torch.nn.Parameter], *, step_size: float, momentum: float, decay: float
    ) -> None:
        self.weights = list(weights)
        self.master = torch.stack([weight.detach().float() for weight in weights])
        self.velocity = torch.zeros_like(self.master)
        rows, columns = self.master.shape[1:]
        self.step_size = step_size * max(1.0, rows / columns) ** 0.5
        self.momentum, self.decay = momentum, decay

    def step(self, factor: float) -> None:
        """Step along the orthogonalized Nesterov momentum, by `factor` times the step size."""
        gradient = torch.stack([weight.grad.float() for weight in self.weights])  # type: ignore[union-attr]
        self.velocity.lerp_(gradient, 1 - self.momentum)
        direction = orthogonalize(gradient.lerp_(self.velocity, self.momentum))
        self.master.mul_(1 - factor * self.step_size * self.decay).sub_(direction, alpha=factor * self.step_size)
        for weight, master in zip(self.weights, self.master, strict=True):
            weight.data.copy_(master)
            weight.grad = None


class Adam:
    """Optimizer of embeddings and gains, on float32 copies."""

    def __init__(self, weights: Sequence[torch.nn.Parameter], *, step_size: float) -> None:
        self.weights = list(weights)
        self.master = [torch.nn.Parameter(weight.detach().float()) for weight in weights]
        self.inner = torch.optim.AdamW(self.master, lr=step_size, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step_size = step_size

    def step(self, factor: float) -> None:
        """Step by `factor` of the step size."""
        for master, weight in zip(self.master, self.weights, strict=True):
            master.grad = weight.grad.float()  # type: ignore[union-attr]
        self.inner.param_groups[0]["lr"] = factor * self.step_size
        self.inner.step()
        for master, weight in zip(self.master, self.weights, strict=True):
            weight.data.copy_(master)
            weight.grad = None


def optimizers(
    model: Any, *, matrix_step: float = 0.01, embedding_step: float = 3e-3, gain_step: float = 3e-3
) -> list[Any]:
    """Return one optimizer for each kind of weight of a Llama."""
    by_shape: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
    gains, embeddings = [], []
    for name, weight in model.named_parameters():
        if "embed_tokens" in name:
            embeddings.append(weight)
        elif weight.ndim == 1:
            gains.append(weight)
        else:
            by_shape.setdefault(tuple(weight.shape), []).append(weight)
    matrices = [Muon(group, step_size=matrix_step, momentum=0.95, decay=0.05) for group in by_shape.values()]
    return [*matrices, Adam(embeddings, step_size=embedding_step), Adam(gains, step_size=gain_step)]
