"""A training as a workload: batches, learning rate and number types. Data and network come from a `Task`."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from etesian.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

Part = Literal["validation", "fresh"]


class Task(Protocol):
    """Data, network, loss and metrics of a training."""

    def load(self, device: torch.device) -> int:
        """Move the data to the device and return the number of training examples."""

    def network(self, chance: torch.Generator) -> torch.nn.Module:
        """Return an untrained network."""

    def loss(self, network: torch.nn.Module, rows: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        """Return the mean loss of the examples with these indices."""

    def score(self, network: torch.nn.Module, part: Part) -> Mapping[str, torch.Tensor]:
        """Return each metric for every example of a held-out part, shape (examples,)."""


@dataclass(frozen=True)
class Recipe:
    """The parameters of a training.

    Parameters
    ----------
    batch_size
        Number of examples per step.
    learning_rate
        Learning rate, or its maximum if the schedule changes it.
    schedule
        Learning rate schedule: ``"constant"``, or ``"one_cycle"``, which rises for the first 30% of all steps and then
        decays to 0 (Smith and Topin 2019, section 3).
    optimizer
        Optimizer: ``"sgd"`` with Nesterov momentum of 0.9, or ``"adam"``.
    precision
        Precision of matrix products. ``"bfloat16"`` keeps weights in float32.
    epochs
        Number of epochs, which is also the length of the one-cycle schedule.
    """

    batch_size: int = 32
    learning_rate: float = 0.05
    schedule: Literal["constant", "one_cycle"] = "constant"
    optimizer: Literal["sgd", "adam"] = "sgd"
    precision: Literal["float32", "bfloat16"] = "float32"
    epochs: float = 40

    def learning_rate_at(self, share: float) -> float:
        """Return the learning rate after a fraction of all steps, from 0 to 1.

        Source: Smith and Topin 2019, "Super-convergence", section 3; the ends are joined by cosines.
        """
        if self.schedule == "constant":
            return self.learning_rate
        rising, lowest = 0.3, 0.04
        if share < rising:
            low, place = lowest, 1 - share / rising
        else:
            low, place = 0.0, (share - rising) / (1 - rising)
        return self.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * place)) / 2)


class Training:
    """Train a task with a recipe. A slice has `examples_per_slice` examples for any batch size.

    The metrics are the task's, on validation data. Those on fresh data, with `fresh_` before the name, are measured
    once, when the run has ended. Uses a GPU where PyTorch finds one.

    Parameters
    ----------
    name
        Name of the workload.
    task
        Task to train on. It must be picklable.
    recipe
        Training recipe.
    examples_per_slice
        Number of examples per slice, a multiple of the batch size.
    """

    def __init__(self, name: str, task: Task, recipe: Recipe, *, examples_per_slice: int) -> None:
        if examples_per_slice < 1 or examples_per_slice % recipe.batch_size:
            raise ValueError(
                f"examples_per_slice must be a multiple of the batch size {recipe.batch_size}; got {examples_per_slice}"
            )
        self.name = name
        self.task = task
        self.recipe = recipe
        self.examples_per_slice = examples_per_slice
        self.units = {"examples": float(examples_per_slice)}

    def prepare(self, seed: int) -> None:
        """Load the data, build the network, and train a copy for one step to allocate memory and compile kernels."""
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._chance = torch.Generator().manual_seed(seed)  # on the CPU, for the same numbers on every device
        self._n_examples = self.task.load(self._device)
        self._steps, self._queue = 0, torch.empty(0, dtype=torch.int64)
        with torch.random.fork_rng(devices=[]):  # layers initialize from the global generator before the task does
            self._network = self.task.network(self._chance).to(self._device)
        self._optimizer = self._make_optimizer(self._network)
        self._warm_up()

    def _warm_up(self) -> None:
        network = copy.deepcopy(self._network)
        rows = self._rows(range(self.recipe.batch_size))
        self._train(network, self._make_optimizer(network), rows, self._chance.clone_state())
        self._score(network, "validation")

    def _make_optimizer(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        import torch

        if self.recipe.optimizer == "adam":
            return torch.optim.Adam(network.parameters(), lr=self.recipe.learning_rate)
        return torch.optim.SGD(network.parameters(), lr=self.recipe.learning_rate, momentum=0.9, nesterov=True)

    def advance(self) -> bool:
        """Train for the steps of one slice; return False after the last epoch."""
        if self._steps >= self._all_steps:
            return False
        for _ in range(self.examples_per_slice // self.recipe.batch_size):
            for group in self._optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate_at(min(1.0, self._steps / self._all_steps))
            self._train(self._network, self._optimizer, self._next_rows(), self._chance)
            self._steps += 1
        return True

    @property
    def _all_steps(self) -> int:
        return math.ceil(self.recipe.epochs * self._n_examples / self.recipe.batch_size)

    def _next_rows(self) -> torch.Tensor:
        """Draw without replacement. The rest of an epoch starts the next batch."""
        import torch

        while len(self._queue) < self.recipe.batch_size:
            self._queue = torch.cat([self._queue, torch.randperm(self._n_examples, generator=self._chance)])
        rows, self._queue = self._queue[: self.recipe.batch_size], self._queue[self.recipe.batch_size :]
        return rows.to(self._device)

    def _rows(self, numbers: range) -> torch.Tensor:
        import torch

        return torch.tensor(numbers, device=self._device) % self._n_examples

    def _train(
        self, network: torch.nn.Module, optimizer: torch.optim.Optimizer, rows: torch.Tensor, chance: torch.Generator
    ) -> None:
        optimizer.zero_grad()
        with self._numbers():
            loss = self.task.loss(network, rows, chance)
        loss.backward()
        optimizer.step()

    def _numbers(self) -> Any:
        import torch

        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")

    def _score(self, network: torch.nn.Module, part: Part) -> dict[str, torch.Tensor]:
        import torch

        with torch.no_grad(), self._numbers():
            return dict(self.task.score(network, part))

    def measure(self) -> Mapping[str, float]:
        """Return the mean metrics on the validation data."""
        return {
            name: values.double().mean().item() for name, values in self._score(self._network, "validation").items()
        }

    def conclude(self) -> Mapping[str, float | np.ndarray]:
        """Return the metrics on fresh data, with one value per example."""
        import torch

        return {
            f"fresh_{name}": values.cpu().numpy() if values.dtype == torch.bool else values.double().mean().item()
            for name, values in self._score(self._network, "fresh").items()
        }

    def synchronize(self) -> None:
        """Wait for the GPU if there is one."""
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def require_torch() -> None:
    """Raise an error with install instructions if PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("this suite trains with PyTorch, which is not installed: pip install 'etesian[suite]'")
