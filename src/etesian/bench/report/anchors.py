"""Anchors: link targets within a page, the same ones for the same runs."""

from __future__ import annotations

import re

_LONGEST = 60


class Anchors:
    """Makes unique anchors, readable where the name allows it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str, *, prefix: str = "") -> str:
        """Make an anchor from a name: lower-case letters, digits and dashes, numbered when it is taken."""
        letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
        anchor = stem = prefix + (letters or "unnamed")
        count = 1
        while anchor in self._taken:
            count += 1
            anchor = f"{stem}-{count}"
        self._taken.add(anchor)
        return anchor
