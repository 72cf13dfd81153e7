"""The fuzzer's modules stand beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
for _folder in ("bench", "bench/io", "decode/models", "decode/serve"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _folder))
