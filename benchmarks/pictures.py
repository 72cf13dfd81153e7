"""Draw records as SVG: text colored by the origin of its tokens, and tokens per second next to llama.cpp.

python benchmarks/pictures.py origins benchmarks/results/<date>_origins docs/assets/origins.svg
python benchmarks/pictures.py speeds benchmarks/results/<date>_gguf_race docs/assets/speeds.svg
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

COLORS = ("#9bd8b0", "#a5cdf2", "#d5b9ea")
"""Colors of the drafting stages, from the innermost on; dark text is readable on each."""
TARGET_COLOR = "#f2dc8c"
COLUMNS, LETTER, LINE, MARGIN = 84, 7.8, 22, 16
"""Letters of a line; width of a letter, height of a line and margin in pixels."""
BAR, LABEL, LONGEST = 18, 150, 420
"""Height of a bar, width of the labels and length of the longest bar in pixels."""

Piece = tuple[str, str]
"""Text without a line end, and its color."""


def draw_origins(folder: Path) -> str:
    """Draw the tokens of `origins.py`."""
    record = json.loads((folder / "records.json").read_text())
    *stages, _ = record["stages"]
    colors = {stage: COLORS[number % len(COLORS)] for number, stage in enumerate(stages)} | {"target": TARGET_COLOR}
    lines = list(
        wrapped([(text, colors[origin]) for text, origin in zip(record["texts"], record["origins"], strict=True)])
    )
    parts = [part for number, line in enumerate(lines) for part in _line(line, MARGIN + LINE * number)]
    below = MARGIN + LINE * (len(lines) + 0.5)
    legend = [(f" {name}: {record['origins'].count(name)} ", color) for name, color in colors.items()]
    parts += _line([piece for entry in legend for piece in (entry, ("  ", "none"))], below)
    caption = f"{len(record['origins'])} tokens in {record['passes']} passes of the target"
    parts.append(_text(MARGIN, below + LINE + 15, caption))
    return _svg(2 * MARGIN + COLUMNS * LETTER, below + 2 * LINE + MARGIN, parts, f"Answer of SmolLM2: {caption}")


def wrapped(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Break a text into lines, at line ends and before tokens that would exceed the line."""
    line: list[Piece] = []
    for text, color in pieces:
        first, *others = text.split("\n")
        if line and sum(len(part) for part, _ in line) + len(first) > COLUMNS:
            yield line
            line, first = [], first.lstrip(" ")
        line.append((first, color))
        for other in others:
            yield line
            line = [(other, color)]
    yield line


def _line(pieces: Sequence[Piece], top: float) -> Iterator[str]:
    left = float(MARGIN)
    for text, color in pieces:
        width = len(text) * LETTER
        if text and color != "none":
            yield f'<rect x="{left:.1f}" y="{top}" width="{width - 1:.1f}" height="{LINE - 3}" rx="2" fill="{color}"/>'
        if text.strip():
            yield _text(left, top + 15, text)
        left += width


def draw_speeds(folder: Path) -> str:
    """Draw the tokens per second of `gguf_race.py`: medians over the rounds, with their range."""
    records = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    models = list(dict.fromkeys(record["model"] for record in records))
    engines = list(dict.fromkeys(record["engine"] for record in records))
    fastest = max(record["tokens per second"] for record in records)
    parts, top = [], float(MARGIN)
    for model in models:
        parts.append(_text(MARGIN, top + 13, model))
        top += BAR
        for engine, color in zip(engines, COLORS, strict=False):
            speeds = [r["tokens per second"] for r in records if (r["model"], r["engine"]) == (model, engine)]
            if speeds:
                parts += _bar(engine, color, speeds, LONGEST / fastest, top)
                top += BAR + 2
        top += BAR / 2
    caption = "tokens per second, plain decoding; the line is the range over the rounds"
    parts.append(_text(MARGIN, top + 13, caption))
    return _svg(2 * MARGIN + LABEL + LONGEST + 60, top + BAR + MARGIN, parts, caption)


def _bar(engine: str, color: str, speeds: Sequence[float], scale: float, top: float) -> Iterator[str]:
    left, middle = MARGIN + LABEL, top + BAR / 2
    median = statistics.median(speeds)
    low, high = left + min(speeds) * scale, left + max(speeds) * scale
    yield _text(MARGIN + 12, top + 13, engine)
    yield f'<rect x="{left}" y="{top}" width="{median * scale:.1f}" height="{BAR}" rx="2" fill="{color}"/>'
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#1b1b1b"/>'
    yield _text(high + 8, top + 13, f"{median:.4g}")


def _text(left: float, baseline: float, text: str) -> str:
    return f'<text x="{left:.1f}" y="{baseline:.1f}" xml:space="preserve">{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#1b1b1b"><title>{escape(title)}</title>'
    )
    ground = f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


DRAWN = {"origins": draw_origins, "speeds": draw_speeds}


def main(arguments: list[str] | None = None) -> None:
    """Draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=tuple(DRAWN))
    parser.add_argument("records", type=Path, help="folder of the records")
    parser.add_argument("out", type=Path, help="SVG file")
    given = parser.parse_args(arguments)
    given.out.write_text(DRAWN[given.picture](given.records))


if __name__ == "__main__":
    main()
