"""One color, line style and symbol for each entry, the same throughout a page; entries differ without color too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The colors of Okabe and Ito that stand out from both white and near-black.
_COLORS = ("#0081cc", "#e07b00", "#009e73", "#cc5fa0", "#b8860b", "#7a78d8")
_DASHES = ("", "6 4", "2 3", "6 3 2 3", "11 4")
_SYMBOLS = ("circle", "square", "diamond", "triangle", "star", "hexagon", "pentagon")


@dataclass(frozen=True)
class Mark:
    """Appearance of an entry: color, SVG dash pattern and symbol."""

    color: str
    dash: str
    symbol: str


def assign_marks(entries: Sequence[str]) -> dict[str, Mark]:
    """Assign a mark to each entry; the first 210 marks differ."""
    return {
        name: Mark(_COLORS[k % len(_COLORS)], _DASHES[k % len(_DASHES)], _SYMBOLS[k % len(_SYMBOLS)])
        for k, name in enumerate(entries)
    }
