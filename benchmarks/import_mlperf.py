"""Time to import MLPerf logs: copy a folder of logs until there are 1,000, and read them into a store.

The wall time is that of the whole command, `etesian bench import mlperf`, with the start of Python and the writing of
the store. Example:

    python benchmarks/import_mlperf.py ../shared/data/mlperf --logs 1000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from etesian.bench import machine


def copies_of(source: Path, folder: Path, n_logs: int) -> int:
    """Copy logs repeatedly, each copy as another run of its entry, with the systems; return the bytes of the logs."""
    logs = sorted(source.rglob("result_*.txt*"))
    if not logs:
        raise SystemExit(f"there are no logs result_*.txt in {source}")
    size = 0
    for index, log in enumerate(islice(cycle(logs), n_logs)):
        copy = folder / log.relative_to(source)
        if index >= len(logs):
            copy = copy.with_name(log.name.replace("result_", f"result_{index}", 1))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)
        size += copy.stat().st_size
    for described in source.rglob("systems/*.json"):
        copy = folder / described.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(described, copy)
    return size


def import_seconds(folder: Path) -> float:
    """Return the wall time of one import into a new store, after checking that every log became a run."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "etesian",
            "bench",
            "import",
            "mlperf",
            str(folder),
            "--store",
            f"{place}/runs.db",
            "--json",
        ]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
    counts = json.loads(done.stdout)
    found = sum(1 for _ in folder.rglob("result_*.txt*"))
    if counts["added"] != found:
        raise SystemExit(f"of {found} logs only {counts['added']} became runs")
    return seconds


def measure(source: Path, n_logs: int, rounds: int) -> dict[str, Any]:
    """Return median and range of the rounds."""
    with tempfile.TemporaryDirectory() as place:
        size = copies_of(source, Path(place), n_logs)
        seconds = [import_seconds(Path(place)) for _ in range(rounds)]
    return {
        "logs": n_logs,
        "compressed_bytes": size,
        "rounds": rounds,
        "median_seconds": statistics.median(seconds),
        "range_seconds": [min(seconds), max(seconds)],
        "machine": machine.describe(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder with logs of MLPerf")
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.source, options.logs, options.rounds), indent=2))


if __name__ == "__main__":
    main()
