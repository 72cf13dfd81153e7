"""What tests of several parts need."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random target, its draft and an N-gram."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))
