"""False alarms and power of `etesian bench check`: simulated pairs with realistic noise, and real pairs of equal code.

    python benchmarks/regression_check.py --simulations 1000 --real 200

Simulated times are log-normal with outliers (one run in twenty is slower, by 35% on average) and a drift of the machine
that both revisions share, as with interleaved runs. Real pairs time equal code in fresh processes, interleaved A B B A.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from etesian.bench import Point, Run, Target, machine
from etesian.bench.regression import MARGIN, check_runs, recommended_runs

DONE = Target("done", 1.0)
SPREADS = (0.01, 0.02, 0.03, 0.04, 0.05)
WORK = "import hashlib\nx = b''\nfor _ in range(10_000): x = hashlib.sha256(x).digest()"


def made_runs(times: Sequence[float], side: int) -> list[Run]:
    """Make runs of fixed work from their times."""
    return [
        Run("work", 1_000 * side + k, DONE, "reached", (Point(1, float(seconds), {"done": 1.0}),))
        for k, seconds in enumerate(times)
    ]


def noise(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Draw relative times with outliers."""
    outliers = (rng.random(count) < 0.05) * rng.exponential(0.3, size=count)
    return np.exp(spread * rng.normal(size=count) + outliers)


def simulate(pairs: int, spread: float, seed: int) -> dict[str, float]:
    """Return the shares of false alarms at two margins, and the power for a slowdown of a tenth."""
    rng, count = np.random.default_rng(seed), recommended_runs(spread)
    alarms = strict_alarms = found = 0
    for _ in range(pairs):
        drift = np.exp(np.cumsum(rng.normal(size=count)) * spread / 4)
        base, new = (drift * noise(rng, count, spread) for _ in range(2))
        alarms += check_runs(made_runs(base, 0), made_runs(new, 1)).is_slower
        strict_alarms += check_runs(made_runs(base, 0), made_runs(new, 1), margin=1.0).is_slower
        found += check_runs(made_runs(base, 0), made_runs(1.1 * new, 1)).is_slower
    return {
        "spread": spread,
        "runs": count,
        "false_alarms": alarms / pairs,
        "false_alarms_at_margin_1": strict_alarms / pairs,
        "power": found / pairs,
    }


def real_pairs(pairs: int, runs: int) -> dict[str, float]:
    """Time equal code in fresh processes, and return the shares of false alarms at two margins."""
    alarms = strict_alarms = 0
    spreads = []
    for _ in range(pairs):
        times: list[list[float]] = [[], []]
        for k in range(runs):
            for side in (0, 1) if k % 2 == 0 else (1, 0):
                times[side].append(_process_seconds())
        base, new = (made_runs(each, side) for side, each in enumerate(times))
        alarms += check_runs(base, new).is_slower
        strict_alarms += check_runs(base, new, margin=1.0).is_slower
        spreads.append(float(np.std(np.log(np.concatenate(times)))))
    return {
        "pairs": pairs,
        "runs": runs,
        "median_spread": float(np.median(spreads)),
        "false_alarms": alarms / pairs,
        "false_alarms_at_margin_1": strict_alarms / pairs,
    }


def _process_seconds() -> float:
    """Time the work within a fresh process."""
    began = "import time; began = time.perf_counter()\n"
    code = f"{began}{WORK}\nprint(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--real", type=int, default=0, help="number of real pairs")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side of a real pair")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    result = {
        "margin": MARGIN,
        "simulated": [simulate(options.simulations, spread, options.seed) for spread in SPREADS],
        "real": real_pairs(options.real, options.runs) if options.real else None,
        "machine": machine.describe(),
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
