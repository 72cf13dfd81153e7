"""Tables as GitHub Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from etesian._shared.text import printable

_SIGNS = re.compile(r"[\\`*_\[\]|@~]")


def escape_markdown(text: str) -> str:
    """Escape text, which becomes one line, so that GitHub shows it as it is: no markup, no HTML and no mentions."""
    one_line = " ".join(printable(text).split())
    return _SIGNS.sub(lambda sign: f"&#{ord(sign[0])};", html.escape(one_line, quote=False))


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> list[str]:
    """Return the lines of a table; columns from `numbers_from` on are aligned to the right."""
    rules = ["---" if column < numbers_from else "---:" for column in range(len(headings))]
    return ["| " + " | ".join(cells) + " |" for cells in (headings, rules, *rows)]
