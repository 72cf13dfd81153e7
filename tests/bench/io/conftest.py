"""Real data beside the checkout, if they exist."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ETESIAN_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def real() -> Callable[[str], Path]:
    """The folder of some real data; the test is skipped where it is missing."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the folder {DATA / name} of real data is not on this machine")
        return DATA / name

    return folder
