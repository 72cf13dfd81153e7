"""The benchmarks are scripts beside the package: their folder goes on the path, as it does when one is run."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))
