"""Etesian, llama.cpp, OpenVINO and transformers on the same GGUF files: load time, prefill, plain decoding, rows and memory.

Each round starts a new process for every file and engine, in an order that rotates. Runs are appended to `runs.jsonl` in the folder
`--out`; runs in that file are skipped, so that several short calls add up. llama.cpp is llama-cpp-python in a separate environment,
built with `CMAKE_ARGS=-DGGML_NATIVE=ON`; OpenVINO is openvino-genai in another one. Example:

    python benchmarks/gguf_race.py *.gguf --peer-python ../llama/bin/python --out benchmarks/results/<date>_gguf_race
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etesian.bench import machine

ENGINES = ("etesian", "llama.cpp", "openvino", "transformers")
WORKER = Path(__file__).parent / "decoders" / "gguf_engines.py"
Record = dict[str, Any]


def race(given: argparse.Namespace, runs: Path) -> None:
    """Run what is missing, until the time limit."""
    started = time.monotonic()
    done = {(record["model"], record["engine"], record["round"]) for record in read(runs)}
    for number in range(given.rounds):
        for model in given.models:
            engines = given.engines if number % 2 == 0 else given.engines[::-1]
            for engine in engines:
                if (model.name, engine, number) in done:
                    continue
                if time.monotonic() - started > given.seconds:
                    return
                record = run_engine(engine, model, given)
                with runs.open("a") as file:
                    print(json.dumps({"round": number, **record}), file=file)


def run_engine(engine: str, model: Path, given: argparse.Namespace) -> Record:
    """Measure an engine in a process of its own."""
    peers = {"llama.cpp": given.peer_python, "openvino": given.openvino_python}
    python = str(peers.get(engine, sys.executable))
    command = [python, str(WORKER), engine, str(model.resolve()), "--threads", str(given.threads)]
    command += ["--prefill", *map(str, given.prefill), "--rows", *map(str, given.rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def read(runs: Path) -> list[Record]:
    """Read the records of earlier calls."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


def as_text(records: Sequence[Record]) -> str:
    """Format the medians over the rounds as one table for each file."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record["model"]][record["engine"]].append(record)
    return "\n\n".join(_table(model, engines) for model, engines in groups.items())


def _table(model: str, engines: dict[str, list[Record]]) -> str:
    lines = {
        f"tokens per second, {len(next(iter(engines.values())))} rounds": "tokens per second",
        "load, seconds": "load seconds",
        "first token after 128, seconds": "first token seconds",
        "peak memory, MB": "peak megabytes",
    }
    first = next(iter(engines.values()))[0]
    rows = [
        [label, *(_spread([run[key] for run in runs]) for runs in engines.values())] for label, key in lines.items()
    ]
    for key, label in (
        ("prefill tokens per second", "prefill of {}, tokens per second"),
        ("row milliseconds", "{} rows, ms"),
    ):
        rows += [
            [label.format(n), *(_spread([run[key][n] for run in runs]) for runs in engines.values())]
            for n in first[key]
        ]
    header = [f"### {model}", "", f"| | {' | '.join(engines)} |", f"| --- |{' ---: |' * len(engines)}"]
    return "\n".join([*header, *(f"| {' | '.join(row)} |" for row in rows)])


def _spread(values: Sequence[float]) -> str:
    """Format median and range."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main(arguments: list[str] | None = None) -> str:
    """Run the missing rounds from the command line, and return the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", type=Path, nargs="+", help="GGUF files")
    add("--out", type=Path, required=True)
    add("--engines", nargs="+", choices=ENGINES, default=["etesian", "llama.cpp"])
    add("--peer-python", type=Path, help="interpreter with llama-cpp-python")
    add("--openvino-python", type=Path, help="interpreter with openvino-genai")
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=2)
    add("--seconds", type=float, default=float("inf"), help="time after which no process starts")
    add("--prefill", type=int, nargs="+", default=[128, 512, 2048])
    add("--rows", type=int, nargs="+", default=[1, 6, 8, 16, 32])
    given = parser.parse_args(arguments)
    if "llama.cpp" in given.engines and given.peer_python is None:
        parser.error("llama.cpp needs --peer-python")
    if "openvino" in given.engines and given.openvino_python is None:
        parser.error("openvino needs --openvino-python")
    given.out.mkdir(parents=True, exist_ok=True)
    runs = given.out / "runs.jsonl"
    race(given, runs)
    table = as_text(read(runs))
    (given.out / "table.md").write_text(table + "\n")
    (given.out / "machine.json").write_text(json.dumps(machine.describe(), indent=1) + "\n")
    print(table)
    return table


if __name__ == "__main__":
    main()
