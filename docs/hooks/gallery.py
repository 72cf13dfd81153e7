"""Runs the examples and shows each with its output."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MARK = "<!-- gallery -->"
EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST_OUTPUT = 4_000
SKIPPED = os.environ.get("ETESIAN_GALLERY") == "skip"
"""Continuous integration runs the examples in tests of their own and does not repeat that here."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the examples where a page has the mark."""
    if MARK not in markdown:
        return markdown
    scripts = sorted(EXAMPLES.glob("*.py"))
    with ThreadPoolExecutor(2) as threads:
        outputs = list(threads.map(output_of, scripts))
    return markdown.replace(MARK, "\n".join(map(section, scripts, outputs)))


def output_of(script: Path) -> str:
    """Run a script in an empty folder and return what it prints."""
    if SKIPPED:
        return "(not run in this build)"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=True, timeout=300
        )
    return done.stdout[:LONGEST_OUTPUT].rstrip()


def section(script: Path, output: str) -> str:
    """Return an example as Markdown: its first docstring line as text, its code and its output."""
    code = script.read_text("utf-8")
    summary = (ast.get_docstring(ast.parse(code)) or "").partition("\n")[0]
    body = code.partition("\n\n")[2].strip()
    title = script.stem.replace("_", " ").capitalize()
    return f"## {title}\n\n{summary}\n\n```python\n{body}\n```\n\n```text\n{output}\n```\n"
