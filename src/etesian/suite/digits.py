"""Handwritten digits: time to a target of a plain training and of six faster variants.

The variants change the computation, as the entries of DAWNBench did (Coleman et al. 2019, section 5). At the end, each
is therefore also evaluated on held-out digits that were not used for tuning. `etesian bench analyze` compares the two.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np

from etesian.bench import Suite, Target
from etesian.suite.images import Images, ImageTask, Labeled
from etesian.suite.trainings import Recipe, Training, require_torch

TARGET = Target("accuracy", 0.98)
N_TRAIN, N_VALIDATION = 1_024, 384
EXAMPLES_PER_SLICE = 256


def digits() -> Suite:
    """Compare the times of the trainings to `TARGET` on scikit-learn's digits."""
    require_torch()
    plain = Recipe(learning_rate=0.02)
    entries = {
        "baseline": (ImageTask(load_digit_images), plain),
        "large_batch": (ImageTask(load_digit_images), Recipe(batch_size=256, learning_rate=0.04)),
        "bfloat16": (ImageTask(load_digit_images), dataclasses.replace(plain, precision="bfloat16")),
        "one_cycle": (ImageTask(load_digit_images), dataclasses.replace(plain, schedule="one_cycle", epochs=12)),
        "shifts": (ImageTask(load_digit_images, shift=1), plain),
        "early_stopping": (ImageTask(load_digit_images), dataclasses.replace(plain, schedule="one_cycle", epochs=5)),
        "early_exit": (ImageTask(load_digit_images, exit_confidence=0.95), plain),
    }
    workloads = [
        Training(name, task, recipe, examples_per_slice=EXAMPLES_PER_SLICE) for name, (task, recipe) in entries.items()
    ]
    return Suite("digits", workloads, TARGET, budget_seconds=120)


def load_digit_images() -> Images:
    """Return scikit-learn's 1,797 digits of 8 by 8 pixels in three parts. The parts are the same in every run."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = ((data.images[order] - 4.9) / 6.0).astype(np.float32)[:, None]  # pixels range from 0 to 16
    labels = data.target[order].astype(np.int64)
    ends = (0, N_TRAIN, N_TRAIN + N_VALIDATION, len(labels))
    train, validation, fresh = (Labeled(images[start:stop], labels[start:stop]) for start, stop in pairwise(ends))
    return Images(train, validation, fresh)
