"""Muon with its iterations in float32, for processors that multiply bfloat16 slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Muon32(torch.optim.Muon):
    """`torch.optim.Muon`, whose Newton-Schulz iterations run in bfloat16, with these iterations in float32.

    Without bfloat16 instructions they take most of the time of a step. Options and state are those of the base class;
    the rate is that of ``adjust_lr_fn="match_rms_adamw"``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; `closure` is not supported."""
        if closure is not None:
            raise ValueError("closure is not supported")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[weight], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = orthogonalized(
            gradient.lerp(mean, momentum), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(update, alpha=-0.2 * group["lr"] * max(weight.shape) ** 0.5)


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], n_steps: int, epsilon: float) -> Tensor:
    """Move all singular values towards 1 by Newton-Schulz iterations (Jordan et al. 2024, "Muon")."""
    a, b, c = coefficients
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(n_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
