"""What tests of several parts need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random target, its draft and an N-gram."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(autouse=True)
def schedule_warnings_as_in_a_new_process() -> None:
    """Small data is warned of once per process; each test is as if it were alone."""
    serial = sys.modules.get("etesian.sparse.schedules.serial")
    if serial is not None:
        serial._warned_of_small_data.clear()
