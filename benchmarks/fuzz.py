"""Read many mutated inputs of every format in forked processes with limits on time and memory.

Each input is read, or refused by a message; anything else is a failure, which is recorded with the input. The families and the
mutations are those of `tests/robustness`, which reads fewer inputs. Inputs that the folder `--out` already counts are skipped, so
that the command can be repeated until it is done. Example:

    python benchmarks/fuzz.py --out benchmarks/results/<date>_fuzz --minutes 10
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from records import report

ROBUSTNESS = Path(__file__).parents[1] / "tests" / "robustness"
sys.path[:0] = [str(ROBUSTNESS), str(ROBUSTNESS.parent)]

from families import FAMILIES  # noqa: E402
from forked import CPU_SECONDS, MEMORY_BYTES, Sample, read_mutated  # noqa: E402

STEP = 200


def add_inputs(samples: list[Sample], found: dict[str, Any], *, seed: int, count: int) -> None:
    """Read the next inputs of a family and add the outcomes to its record."""
    tally = read_mutated(samples, seed=seed, first=found["inputs"], count=count)
    found["inputs"] += tally.total
    found["read"] += tally.accepted
    found["refused"] += tally.refused
    found["failures"] += tally.failures


def table_of(families: list[dict[str, Any]]) -> str:
    """Format the counts by family, and the limits."""
    lines = ["| family | formats | inputs | read | refused | failed |", "| --- | --: | --: | --: | --: | --: |"]
    lines += [
        f"| {each['family']} | {each['formats']} | {each['inputs']:,} | {each['read']:,} | {each['refused']:,} "
        f"| {len(each['failures']):,} |"
        for each in families
    ]
    limits = f"Limits for one input: {CPU_SECONDS} s of processor time and {MEMORY_BYTES >> 20:,} MiB of added memory."
    return "\n".join([*lines, "", limits])


def read_done(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the records of earlier calls by family."""
    path = folder / "records.json"
    return {each["family"]: each for each in json.loads(path.read_text())["results"]} if path.exists() else {}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Read the missing inputs from the command line, and return the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs of each family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time; the next call continues"
    )
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of libraries, about the contents of mutated files
    done, deadline = read_done(asked.out), time.monotonic() + 60 * asked.minutes
    samples = {name: list(FAMILIES[name]()) for name in asked.families}
    for name in asked.families:
        new = {
            "family": name,
            "formats": len(samples[name]),
            "seed": asked.seed,
            "inputs": 0,
            "read": 0,
            "refused": 0,
            "failures": [],
        }
        done.setdefault(name, new)
    while waiting := [name for name in asked.families if done[name]["inputs"] < asked.inputs]:
        for name in waiting:
            if time.monotonic() < deadline:
                left = asked.inputs - done[name]["inputs"]
                add_inputs(samples[name], done[name], seed=done[name]["seed"], count=min(STEP, left))
        report(list(done.values()), table_of(list(done.values())), asked.out)
        if time.monotonic() > deadline:
            break
    return list(done.values())


if __name__ == "__main__":
    main()
