"""The page in a real browser, cut off from every network. Skipped where chromium is not installed."""

import re
import shutil
import subprocess

import pytest

from etesian.bench.report import write_report

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # nothing listens there: a request to anywhere fails
    "--virtual-time-budget=10000",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on the PATH")


@pytest.fixture
def browse(runs, tmp_path):
    page = write_report(runs, tmp_path / "report.html", title="Three schedules")

    def browse(*flags):
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return browse


def test_both_figures_are_drawn_without_an_error(browse):
    done = browse("--enable-logging=stderr", "--dump-dom")
    document = re.sub(r"<script>.*?</script>", "", done.stdout, flags=re.S)
    assert document.count('class="main-svg"') >= 2
    assert len(re.findall(r'<path class="js-line"', document)) >= 21
    assert "conflict-free" in document
    assert "CONSOLE" not in done.stderr


def test_the_page_prints(browse, tmp_path):
    browse("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 5
