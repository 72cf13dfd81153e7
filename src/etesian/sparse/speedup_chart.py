"""Chart of speed-up by number of workers, as a standalone SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 560, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 120, 40, 50
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # color-blind safe palette (Okabe and Ito)
IDEAL = "#888888"
LABEL_HEIGHT = 15


def speedup_svg(workers: Sequence[int], lines: Mapping[str, Sequence[float]]) -> str:
    """Draw lines of speed-up by number of workers, both axes logarithmic, and the ideal line.

    Parameters
    ----------
    workers
        Numbers of workers in ascending order, the last above 1.
    lines
        Speed-ups for each number of workers, by name of the line. Lines begin at one worker and a speed-up of 1.
    """
    n_workers = [1, *workers]
    drawn = [_axes(n_workers), _line("ideal", IDEAL, n_workers, n_workers, n_workers[-1])]
    heights = _label_heights(
        [_y(n_workers[-1], n_workers[-1]), *(_y(line[-1], n_workers[-1]) for line in lines.values())]
    )
    drawn.append(_label("ideal", IDEAL, heights[0]))
    for number, (name, speedups) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        drawn.append(_line(name, color, n_workers, [1.0, *speedups], n_workers[-1]))
        drawn.append(_label(name, color, heights[number + 1]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" '
        f'role="img" aria-label="Predicted speed-up by workers">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _x(workers: float, most: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(workers) / math.log2(most)


def _y(speedup: float, most: int) -> float:
    share = math.log2(max(speedup, 1.0)) / math.log2(most)
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _axes(n_workers: Sequence[int]) -> str:
    most, bottom = n_workers[-1], HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">Predicted speed-up over one worker</text>']
    for p in n_workers:
        x, y = _x(p, most), _y(p, most)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{p}</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{p}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">workers</text>')
    return "\n".join(parts)


def _line(name: str, color: str, n_workers: Sequence[int], speedups: Sequence[float], most: int) -> str:
    points = " ".join(f"{_x(p, most):.1f},{_y(s, most):.1f}" for p, s in zip(n_workers, speedups, strict=True))
    dashes = ' stroke-dasharray="4 4"' if color == IDEAL else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"{dashes}>'
        f"<title>{escape(name)}</title></polyline>"
    )


def _label(name: str, color: str, y: float) -> str:
    return f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4:.1f}" fill="{color}">{escape(name)}</text>'


def _label_heights(wanted: Sequence[float]) -> list[float]:
    """Move labels down so that none overlap, then all of them up if the last is outside the chart."""
    heights = list(wanted)
    by_height = sorted(range(len(heights)), key=heights.__getitem__)
    for above, below in pairwise(by_height):
        heights[below] = max(heights[below], heights[above] + LABEL_HEIGHT)
    overflow = max(0.0, heights[by_height[-1]] - (HEIGHT - BOTTOM))
    return [height - overflow for height in heights]
