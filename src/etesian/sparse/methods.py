"""Step sizes by epoch. The state of SVRG and SAGA belongs to the problems, see `problems.linear`."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SGD:
    """Step sizes of stochastic gradient descent: each update steps along the gradient of its own term.

    Parameters
    ----------
    step_size
        Step size of the first epoch, above 0.
    decay
        Factor of the step size from each epoch to the next, above 0 and at most 1.
    inverse_scaling
        Exponent of inverse scaling, 0 or more: epoch t, counted from 0, divides the step size by ``(t + 1) **
        inverse_scaling``.
    """

    step_size: float = 0.01
    decay: float = 1.0
    inverse_scaling: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise ValueError(f"step_size must be a finite number above 0; got {self.step_size!r}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1; got {self.decay!r}")
        if not 0 <= self.inverse_scaling < math.inf:
            raise ValueError(f"inverse_scaling must be a finite number, 0 or more; got {self.inverse_scaling!r}")

    def step_at(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0."""
        return self.step_size * self.decay**epoch / (epoch + 1) ** self.inverse_scaling
