"""Size of a report, and time of a browser to open it: 100 entries with 50 synthetic runs of 40 measurements.

Opening is timed in headless Chromium, from the start of the navigation until the page is loaded, and until the figures
near the top are drawn; so is one move of the threshold, with ranking and drawing. One browser opens the page repeatedly;
the first time, which includes the start of the browser, is left out. The page is served by this machine and reports its
times to the server; otherwise it is unchanged. Example:

    python benchmarks/report_size.py --entries 100 --runs 50 --points 40 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from analyze_runs import made_runs
from timing import seconds_of, spread

from etesian.bench import analyze, machine
from etesian.bench.report import write_page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--window-size=1280,900",
]
REPORT_TIMES = """<script>addEventListener("load", () => {
  const loaded = performance.now();
  const isNear = (box) => box.getBoundingClientRect().top < innerHeight + 600;
  function look() {
    const near = [...document.querySelectorAll("[data-figure]")].filter(isNear);
    if (near.some((box) => !box.dataset.drawn)) return setTimeout(look, 5);
    const drawn = performance.now();
    const slider = document.querySelector("input[type=range]");
    slider.value = Number(slider.value) + 10;
    slider.dispatchEvent(new Event("input"));
    const moved = performance.now() - drawn;
    return fetch("/times", { method: "POST", body: JSON.stringify({ loaded, drawn, moved }) })
      .then(() => location.reload());
  }
  setTimeout(look, 0);
});</script></body>"""


class Timing(BaseHTTPRequestHandler):
    """Serve one page, and record the times that it reports."""

    page = b""
    times: queue.Queue[dict[str, float]] = queue.Queue()

    def do_GET(self) -> None:
        self._answer(self.page)

    def do_POST(self) -> None:
        self.times.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Suppress the log."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def opening_times(page: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds until loaded, until drawn, and for a move of the threshold, for each visit."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    text = page.read_text("utf-8").replace("default-src 'none'", "default-src 'none'; connect-src 'self'")
    Timing.page = text.replace("</body>", REPORT_TIMES).encode()
    with ThreadingHTTPServer(("127.0.0.1", 0), Timing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = visits(chromium, f"http://127.0.0.1:{server.server_address[1]}/", rounds)
        server.shutdown()
    return {f"seconds_until_{name}": spread([each[name] / 1000 for each in found]) for name in found[0]}


def visits(chromium: str, url: str, rounds: int) -> list[dict[str, float]]:
    """Return the times of each visit except the first."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return [Timing.times.get(timeout=60) for _ in range(rounds + 1)][1:]
            finally:
                browser.terminate()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("entries", 100), ("runs", 50), ("points", 40), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--output", type=Path, help="where to keep the page")
    options = parser.parse_args(arguments)
    analysis = analyze(made_runs(options.entries, options.runs, options.points))
    with tempfile.TemporaryDirectory() as folder:
        path = options.output or Path(folder) / "report.html"
        writing = [seconds_of(lambda: write_page(analysis, path)) for _ in range(options.rounds)]
        report = {
            "entries": options.entries,
            "runs": options.entries * options.runs,
            "measurements": options.entries * options.runs * options.points,
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "seconds_to_write": spread(writing),
            **opening_times(path, options.rounds),
            "machine": machine.describe(),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
