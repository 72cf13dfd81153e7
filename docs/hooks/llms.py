"""Writes llms.txt: the pages of the site with their titles and first sentences, for readers that are programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_pages: list[str] = []


def on_pre_build(**_: Any) -> None:
    """Start a new list."""
    _pages.clear()


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Note a page."""
    title = next((line.removeprefix("# ") for line in markdown.splitlines() if line.startswith("# ")), page.title)
    paragraphs = [text.strip() for text in markdown.split("\n\n") if re.match(r"[A-Z*]|`(?!``)", text.strip())]
    sentence = re.split(r"(?<=[.:?])\s", " ".join(paragraphs[0].split()))[0] if paragraphs else ""
    sentence = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", sentence)  # a link would be relative to the page, not to the list
    _pages.append(f"- [{title}]({page.url}): {sentence}".rstrip(": "))
    return markdown


def on_post_build(config: Any, **_: Any) -> None:
    """Write the file."""
    text = f"# {config.site_name}\n\n> {config.site_description}\n\n## Pages\n\n" + "\n".join(_pages) + "\n"
    (Path(config.site_dir) / "llms.txt").write_text(text, "utf-8")
