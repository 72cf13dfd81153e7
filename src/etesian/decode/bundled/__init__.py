"""A small trained target, draft model and N-gram for demo and tests; README.md documents their training."""

from __future__ import annotations

from pathlib import Path


def bundled_folder() -> Path:
    """Return the folder with `target/`, `draft/` (Hugging Face layout, safetensors) and `ngram.npz`."""
    return Path(__file__).parent
