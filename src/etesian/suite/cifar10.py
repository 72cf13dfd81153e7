"""CIFAR-10 from a local folder: time to a target of a plain training and of five variants. Use a GPU.

The folder holds the binary version of https://www.cs.toronto.edu/~kriz/cifar.html. The version made for Python is of
pickles, which can run any code when they are read; it is not read here.
"""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from pathlib import Path

import numpy as np

from etesian.bench import Suite, Target
from etesian.errors import InputError
from etesian.suite.images import Images, ImageTask, Labeled
from etesian.suite.trainings import Recipe, Training, require_torch

FOLDER_VARIABLE = "ETESIAN_CIFAR10"
TARGET = Target("accuracy", 0.8)
N_VALIDATION = 5_000
EXAMPLES_PER_SLICE = 5_120

_TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_FRESH_FILES = ("test_batch.bin",)
_N_CLASSES, _SHAPE = 10, (3, 32, 32)
_RECORD_BYTES = 1 + int(np.prod(_SHAPE))  # a label, followed by the red, green and blue channels
_LARGEST_BYTES = 100_000 * _RECORD_BYTES


def cifar10(folder: str | os.PathLike[str] | None = None) -> Suite:
    """Compare the times of the trainings to `TARGET` on held-out training images. The test set is evaluated once, at the end.

    Parameters
    ----------
    folder
        Folder that contains ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``. Default: the
        environment variable ``ETESIAN_CIFAR10``.
    """
    require_torch()
    named = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if named is None:
        raise InputError(f"cifar10 needs the folder of the binary version of CIFAR-10: set {FOLDER_VARIABLE}=FOLDER")
    path = Path(named).resolve()
    for name in (*_TRAIN_FILES, *_FRESH_FILES):
        _check_file(path / name)
    load = partial(read_cifar10, path)
    plain = Recipe(batch_size=128, learning_rate=0.02, epochs=60)
    one_cycle = dataclasses.replace(plain, schedule="one_cycle", epochs=20)
    entries = {
        "baseline": (ImageTask(load, widths=(64, 128)), plain),
        "large_batch": (
            ImageTask(load, widths=(64, 128)),
            dataclasses.replace(plain, batch_size=1_024, learning_rate=0.08),
        ),
        "bfloat16": (ImageTask(load, widths=(64, 128)), dataclasses.replace(plain, precision="bfloat16")),
        "one_cycle": (ImageTask(load, widths=(64, 128)), one_cycle),
        "shifts": (ImageTask(load, widths=(64, 128), shift=4), plain),
        "early_exit": (ImageTask(load, widths=(64, 128), exit_confidence=0.95), plain),
    }
    workloads = [
        Training(name, task, recipe, examples_per_slice=EXAMPLES_PER_SLICE) for name, (task, recipe) in entries.items()
    ]
    return Suite("cifar10", workloads, TARGET, budget_seconds=1_800)


def read_cifar10(folder: Path) -> Images:
    """Read the binary version; the last `N_VALIDATION` training images are for validation.

    Raises
    ------
    InputError
        If a file is missing, has an invalid length, or contains a label above 9.
    """
    known = [_read_file(folder / name) for name in _TRAIN_FILES]
    images = np.concatenate([part.images for part in known])
    labels = np.concatenate([part.labels for part in known])
    fresh = _read_file(folder / _FRESH_FILES[0])
    n_train = len(labels) - N_VALIDATION
    if n_train < 1:
        raise InputError(
            f"the training files must contain more than {N_VALIDATION} images; those in {folder} contain {len(labels)}"
        )
    mean = images[:n_train].mean(axis=(0, 2, 3), keepdims=True)
    spread = images[:n_train].std(axis=(0, 2, 3), keepdims=True)
    images = (images - mean) / np.maximum(spread, 1e-6)
    return Images(
        Labeled(images[:n_train], labels[:n_train]),
        Labeled(images[n_train:], labels[n_train:]),
        Labeled((fresh.images - mean) / np.maximum(spread, 1e-6), fresh.labels),
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"file {path} does not exist; the folder must contain the binary version of CIFAR-10, not the Python version"
        )
    size = path.stat().st_size
    if size == 0 or size % _RECORD_BYTES or size > _LARGEST_BYTES:
        raise InputError(
            f"{path} must contain images of {_RECORD_BYTES} bytes, at most 100,000 of them; it has {size} bytes"
        )


def _read_file(path: Path) -> Labeled:
    """Convert images to numbers from 0 to 1."""
    _check_file(path)
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, _RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= _N_CLASSES:
        raise InputError(f"labels of {path} must be 0 to 9; image {int(labels.argmax())} has {labels.max()}")
    images = records[:, 1:].reshape(-1, *_SHAPE).astype(np.float32)
    return Labeled(images / np.float32(255), labels)
