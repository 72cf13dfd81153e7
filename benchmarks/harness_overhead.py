"""Overhead of the harness on a workload with slices of 10 ms: time on the clock of `run` minus the time of the slices.

python benchmarks/harness_overhead.py --rounds 9
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from etesian.bench import Target, run

SLICE_SECONDS = 0.010


class Spin:
    """Workload with slices of 10 ms that also measures their time itself."""

    name = "spin"

    def prepare(self, seed: int) -> None:
        """Reset the counters."""
        self.slices, self.seconds = 0, 0.0

    def advance(self) -> bool:
        """Busy-wait until the slice is over."""
        started = time.perf_counter()
        while time.perf_counter() - started < SLICE_SECONDS:
            pass
        self.slices += 1
        self.seconds += time.perf_counter() - started
        return True

    def measure(self) -> dict[str, float]:
        """Return the number of slices."""
        return {"slices": float(self.slices)}


def share_added(n_slices: int) -> float:
    """Return the overhead of one run as a fraction of the time of its slices."""
    spin = Spin()
    seconds = run(spin, Target("slices", n_slices), seed=0).seconds
    assert seconds is not None
    return seconds / spin.seconds - 1.0


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slices", type=int, default=150)
    given = parser.parse_args(arguments)
    shares = [share_added(given.slices) for _ in range(given.rounds)]
    low, median, high = np.percentile(shares, [10, 50, 90])
    print(
        f"overhead on slices of 10 ms: {median:.4%} (10th to 90th percentile of {given.rounds} runs: {low:.4%} to {high:.4%})"
    )


if __name__ == "__main__":
    main()
