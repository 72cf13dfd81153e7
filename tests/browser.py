"""A page in a real browser that reaches no network. Tests that use it are skipped where chromium is not installed."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
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
WITHOUT_NETWORK = "--proxy-server=127.0.0.1:9"  # nothing listens there, so that every request fails
STAY_OPEN = "--remote-debugging-port=0"  # until the browser is ended
_REPORT = "console.log(`REPORT${btoa(unescape(encodeURIComponent(JSON.stringify([document.documentElement.outerHTML, found]))))}`)"
_SECONDS = 100.0


def _command(folder: Path, *arguments: str) -> list[str]:
    return [CHROMIUM or "", *COMMON_FLAGS, WITHOUT_NETWORK, f"--user-data-dir={folder / 'profile'}", *arguments]


def printed(page: Path, folder: Path) -> bytes:
    """Return a page as a PDF file."""
    pdf = folder / "printed.pdf"
    command = _command(folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True)
    return pdf.read_bytes()


class Visit(NamedTuple):
    """The document after its scripts have run, the log of the browser, and the object that the test's script reported."""

    document: str
    log: str
    reported: Any


def visit(
    page: Path, folder: Path, *flags: str, script: str = "report(null);", ready: str = "true", fragment: str = ""
) -> Visit:
    """Open a page and run a script once `ready` holds, which calls `report` once with its findings: through the browser's log."""
    copy = page.with_name(f"visited-{page.name}")
    run = f"""
        const report = (found) => {_REPORT};
        const start = () => {{ if ({ready}) {{ {script} }} else requestAnimationFrame(start); }};
        addEventListener('load', () => setTimeout(start, 500));
    """
    copy.write_text(page.read_text("utf-8").replace("</body>", f"<script>{run}</script></body>"), "utf-8")
    command, log = _command(folder, STAY_OPEN, *flags, copy.as_uri() + fragment), []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as browser:
        deadline = threading.Timer(_SECONDS, browser.kill)
        deadline.start()
        for line in browser.stderr or ():
            if found := re.search(r'"REPORT([^"]*)"', line):
                break
            log.append(line)
        deadline.cancel()
        browser.terminate()
    assert found, f"the script reported nothing within {_SECONDS:g} s: {''.join(log)}"
    document, reported = json.loads(base64.b64decode(found[1]))
    return Visit(re.sub(r"<script.*?</script>", "", document, flags=re.S), "".join(log), reported)
