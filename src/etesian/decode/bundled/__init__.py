"""A small trained target, draft and N-gram for first tries, demo and tests: where they lie. README.md says how they were made."""

from __future__ import annotations

from pathlib import Path


def bundled_folder() -> Path:
    """Return the folder with `target/`, `draft/` (Hugging Face layout, safetensors) and `ngram.npz`."""
    return Path(__file__).parent
