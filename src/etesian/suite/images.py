"""Image classification: the data, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from etesian.suite.networks import ConvolutionalNetwork
    from etesian.suite.trainings import Part


@dataclass(frozen=True, eq=False)
class Labeled:
    """Images and their classes.

    Parameters
    ----------
    images : ndarray of shape (examples, channels, height, width)
        Pixels, float32, with a mean of about 0 and a standard deviation of about 1.
    labels : ndarray of shape (examples,)
        Classes, int64, from 0.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Images:
    """Three disjoint sets: training, validation, and a fresh set that is evaluated once, at the end."""

    train: Labeled
    validation: Labeled
    fresh: Labeled


class ImageTask:
    """Learn to classify images; the metric is `accuracy`.

    Parameters
    ----------
    load_images
        Function that returns the data. It must be picklable.
    widths
        Number of channels of the first and the second half of the network.
    shift
        Maximum random shift of training images in each direction, in pixels.
    exit_confidence
        Confidence at which an example exits after the first half, in training as well; None disables the early exit.
        (BranchyNet, Teerapittayanon et al. 2016, section III, where the second half sees all training examples.)
    """

    def __init__(
        self,
        load_images: Callable[[], Images],
        *,
        widths: tuple[int, int] = (16, 32),
        shift: int = 0,
        exit_confidence: float | None = None,
    ) -> None:
        self.load_images = load_images
        self.widths = widths
        self.shift = shift
        self.exit_confidence = exit_confidence

    def load(self, device: torch.device) -> int:
        """Move all images to the device and return the number of training images."""
        import torch

        data = self.load_images()
        self._parts = {
            name: (torch.from_numpy(part.images).to(device), torch.from_numpy(part.labels).to(device))
            for name, part in (("train", data.train), ("validation", data.validation), ("fresh", data.fresh))
        }
        return len(data.train.labels)

    def network(self, chance: torch.Generator) -> ConvolutionalNetwork:
        """Return a network for images of this size."""
        from etesian.suite.networks import ConvolutionalNetwork

        images, labels = self._parts["train"]
        n_classes = int(labels.max()) + 1
        return ConvolutionalNetwork(images.shape[1], n_classes, self.widths, self.exit_confidence, chance)

    def loss(self, network: torch.nn.Module, rows: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        """Return the cross-entropy, including that of the early exit if there is one."""
        from torch.nn.functional import cross_entropy

        images, labels = self._parts["train"]
        shifted = shift_images(images[rows], self.shift, chance)
        early, is_hard, late = network(shifted)
        loss = cross_entropy(late, labels[rows][is_hard], reduction="sum") / len(rows)
        return loss if early is None else loss + cross_entropy(early, labels[rows])

    def score(self, network: torch.nn.Module, part: Part) -> Mapping[str, torch.Tensor]:
        """Return whether each image is classified correctly."""
        images, labels = self._parts[part]
        return {"accuracy": answer(network, images) == labels}


def answer(network: torch.nn.Module, images: torch.Tensor, *, batch_size: int = 1_000) -> torch.Tensor:
    """Return the most likely class of each image, from the early exit where it is confident, shape (images,)."""
    import torch

    answers = []
    for batch in images.split(batch_size):
        early, is_hard, late = network(batch)
        found = torch.empty(len(batch), dtype=torch.int64, device=batch.device)
        if early is not None:
            found[~is_hard] = early[~is_hard].argmax(dim=1)
        found[is_hard] = late.argmax(dim=1)
        answers.append(found)
    return torch.cat(answers)


def shift_images(images: torch.Tensor, pixels: int, chance: torch.Generator) -> torch.Tensor:
    """Shift each image by up to `pixels` pixels and repeat the border."""
    import torch

    if pixels == 0:
        return images
    n, _, height, width = images.shape
    down, right = torch.randint(-pixels, pixels + 1, (2, n, 1), generator=chance).to(images.device)
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)  # (images, height)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)  # (images, width)
    number = torch.arange(n, device=images.device)
    # Advanced indices around a slice move its axis to the end.
    return images[number[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
