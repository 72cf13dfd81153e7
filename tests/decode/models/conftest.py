"""Small random models of every family, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_models


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """Makes a small random model: `tiny_model("llama")`, `tiny_model("gpt2", seed=1, n_layer=2)`."""
    return tiny_models.tiny_model
