"""One color, line and symbol for each workload, the same all over the page; told apart without color too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's colors that stand out from both white and near-black.
_COLORS = ("#0081cc", "#e07b00", "#009e73", "#cc5fa0", "#b8860b", "#7a78d8")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "pentagon")


@dataclass(frozen=True)
class Mark:
    """How a workload is drawn."""

    color: str
    dash: str
    symbol: str


def assign_marks(workloads: Sequence[str]) -> dict[str, Mark]:
    """Give each workload a mark; 210 of them before one comes again."""
    return {
        name: Mark(_COLORS[k % len(_COLORS)], _DASHES[k % len(_DASHES)], _SYMBOLS[k % len(_SYMBOLS)])
        for k, name in enumerate(workloads)
    }
