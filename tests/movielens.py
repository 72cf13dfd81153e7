"""The ratings of MovieLens, which the README and the documentation read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ETESIAN_DATA", Path(__file__).parents[2] / "shared" / "data"))
RATINGS = DATA / "ratings" / "ml-latest-small_ratings.csv"


def link_if_read(code: str, folder: Path) -> None:
    """Put a link to the ratings into a folder if the code reads them; skip the test where they are missing."""
    if "ml-latest-small/ratings.csv" not in code:
        return
    if not RATINGS.exists():
        pytest.skip(f"{RATINGS} does not exist; set ETESIAN_DATA to the folder that contains ratings/")
    (folder / "ml-latest-small").mkdir()
    (folder / "ml-latest-small" / "ratings.csv").symlink_to(RATINGS.resolve())
