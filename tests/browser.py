"""A page in a real browser that reaches no network. Tests that use it are skipped where chromium is not installed."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CHROMIUM = shutil.which("chromium")
NARROW_AND_DARK = ("--window-size=500,9000", "--blink-settings=preferredColorScheme=0")
WIDE_AND_LIGHT = ("--window-size=1280,9000",)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on the PATH")

COMMON_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
_FLAGS = (
    *COMMON_FLAGS,
    "--proxy-server=127.0.0.1:9",  # nothing listens there, so that every request fails
    "--virtual-time-budget=10000",
)
_REPORT = "document.body.append(`REPORT${btoa(unescape(encodeURIComponent(JSON.stringify(found))))}REPORT`)"


class Visit(NamedTuple):
    """The document after its scripts have run, the log of the browser, and the object that the test's script reported."""

    document: str
    log: str
    reported: Any


def visit(
    page: Path, folder: Path, *flags: str, script: str = "report(null);", ready: str = "true", fragment: str = ""
) -> Visit:
    """Open a page and run a script once `ready` holds in a frame, which calls `report` once with its findings."""
    copy = page.with_name(f"visited-{page.name}")
    run = f"""
        const report = (found) => {_REPORT};
        const start = () => {{ if ({ready}) {{ {script} }} else requestAnimationFrame(start); }};
        addEventListener('load', () => setTimeout(start, 500));
    """
    copy.write_text(page.read_text("utf-8").replace("</body>", f"<script>{run}</script></body>"), "utf-8")
    command = [CHROMIUM or "", *_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, copy.as_uri() + fragment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    document = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S)
    reported = re.search(r"REPORT(.*?)REPORT", document, re.S)
    return Visit(document, done.stderr, json.loads(base64.b64decode(reported[1])) if reported else None)
