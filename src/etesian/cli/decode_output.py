"""Output of `etesian generate`: text colored by origin, a legend and a table of statistics."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from etesian._shared.text import printable
from etesian.decode.generation import Generation, Piece
from etesian.decode.statistics import TARGET, Statistics
from etesian.errors import InputError

COLORS = ("green", "cyan", "magenta", "blue")
"""Colors of the drafter's stages from the innermost on. Further stages start again with the first color."""
TARGET_COLOR = "yellow"
_DIM, _RESET = "\x1b[2m", "\x1b[0m"
_CODES = {"green": "\x1b[32m", "cyan": "\x1b[36m", "magenta": "\x1b[35m", "blue": "\x1b[34m", "yellow": "\x1b[33m"}

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}
_CONTROL |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


def prepare_output() -> None:
    """Let standard output replace characters that its encoding lacks.

    Raises
    ------
    InputError
        If standard output is closed.
    """
    if sys.stdout is None:
        raise InputError("standard output is closed; connect it to a terminal, a pipe or a file")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def color_of(origin: str, stages: Sequence[str]) -> str:
    """Return the color of tokens from a stage or from the target."""
    return COLORS[stages.index(origin) % len(COLORS)] if origin in stages else TARGET_COLOR


class PieceWriter:
    """Writes text as it is generated and counts the characters, so that an interrupt neither loses nor repeats text.

    Parameters
    ----------
    stages
        Names of the drafter's stages, for their colors; None writes without colors.
    file
        File to write to; standard output by default.
    """

    def __init__(self, stages: Sequence[str] | None = None, file: IO[str] | None = None) -> None:
        console = Console(file=file)
        self._stages = stages
        self._file = file
        self._is_terminal = (file or sys.stdout).isatty()
        self.is_colored = stages is not None and console.color_system is not None and not console.no_color
        self.n_written = 0
        self._is_at_line_start = True

    def write(self, piece: Piece) -> None:
        """Write the text of a piece."""
        self.n_written += len(piece.text)
        if self.is_colored and self._stages is not None:
            colored = (
                _colored(self._printable(text), color_of(origin, self._stages))
                for text, origin in zip(piece.texts, piece.origins, strict=True)
            )
            self._put("".join(colored), piece.text)
        else:
            self._put(self._printable(piece.text), piece.text)

    def write_prompt(self, prompt: str) -> None:
        """Write the prompt, dim if tokens are colored."""
        text = self._printable(prompt)
        self._put(f"{_DIM}{text}{_RESET}" if self.is_colored else text, prompt)

    def finish(self, text: str) -> None:
        """Write the part of `text`, the whole output, that has not been written yet, and end the line."""
        rest = text[self.n_written :]
        self._put(self._printable(rest), rest)
        if not self._is_at_line_start:
            self._put("\n", "\n")

    def _printable(self, text: str) -> str:
        """Replace control characters by visible symbols on a terminal; leave text unchanged elsewhere."""
        return text.translate(_CONTROL) if self._is_terminal else text

    def _put(self, styled: str, text: str) -> None:
        if text:
            print(styled, end="", file=self._file, flush=True)
            self._is_at_line_start = text.endswith("\n")


def _colored(text: str, color: str) -> str:
    """Color a text except its line ends, which some terminals would fill with the color."""
    return "\n".join(f"{_CODES[color]}{line}{_RESET}" if line else "" for line in text.split("\n"))


def legend(output: Generation, stages: Sequence[str]) -> Text:
    """Return the number of tokens from each stage, in its color."""
    counts = Counter(output.origins)
    line = Text()
    for origin in (*stages, TARGET):
        share = counts[origin] / max(len(output.origins), 1)
        line.append("■ ", style=color_of(origin, stages)).append(
            f"{printable(origin)} {counts[origin]} ({share:.0%})   "
        )
    line.rstrip()
    return line


def statistics_table(stats: Statistics) -> Table:
    """Return the statistics of a request as a table with a row for each stage."""
    table = Table(title=_headline(stats), title_justify="left", title_style="", caption=_caption(stats))
    table.caption_justify = "left"
    table.add_column("stage")
    for heading in ("passes", "proposed", "accepted", "share", "seconds"):
        table.add_column(heading, justify="right")
    for stage in stats.stages:
        share = f"{stage.accepted / stage.proposed:.0%}" if stage.proposed else "-"
        passes = "-" if stage.passes is None else f"{stage.passes}"
        table.add_row(
            Text(printable(stage.name)),
            passes,
            f"{stage.proposed}",
            f"{stage.accepted}",
            share,
            _seconds(stage.seconds),
        )
    table.add_row(TARGET, f"{stats.passes}", "-", "-", "-", _seconds(stats.target_seconds))
    table.add_row("verification", "", "", "", "", _seconds(stats.verify_seconds))
    table.add_row("everything else", "", "", "", "", _seconds(stats.other_seconds))
    return table


def _headline(stats: Statistics) -> str:
    return (
        f"{stats.tokens} tokens in {stats.seconds:.2f} s: {stats.tokens_per_second:.1f} tokens/s, "
        f"{stats.mean_accepted_length:.2f} tokens per pass"
    )


def _caption(stats: Statistics) -> str:
    reused = f", {stats.reused_tokens} of them cached" if stats.reused_tokens else ""
    lines = [f"prompt: {stats.prompt_tokens} tokens{reused}, {stats.prompt_seconds:.2f} s"]
    if stats.relative_weight_bytes is not None:
        lines.append(f"weights read: {stats.relative_weight_bytes:.2f} times those of plain decoding")
    return "\n".join(lines)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f}"
