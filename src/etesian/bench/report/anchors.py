"""Anchors: the names by which links lead to the parts of a page. The same runs give the same ones."""

from __future__ import annotations

import re

_LONGEST = 60


class Anchors:
    """Hands out anchors, each once, readable where the name allows it."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, name: str, *, prefix: str = "") -> str:
        """Make an anchor of a name: small letters, digits and dashes, with a number behind it where it is taken."""
        letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
        anchor = prefix + (letters or "unnamed")
        count = self._taken[anchor] = self._taken.get(anchor, 0) + 1
        return anchor if count == 1 else self.take(f"{letters or 'unnamed'}-{count}", prefix=prefix)
