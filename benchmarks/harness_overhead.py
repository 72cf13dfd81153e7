"""What the harness adds to a workload whose slices take 10 ms: the clock of `run`, less the time that the slices say they took.

python benchmarks/harness_overhead.py --rounds 9
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from etesian.bench import Target, run

SLICE_SECONDS = 0.010


class Spin:
    """Computes for 10 ms a slice, and keeps its own count of the time that this took."""

    name = "spin"

    def prepare(self, seed: int) -> None:
        """Start at nothing."""
        self.slices, self.seconds = 0, 0.0

    def advance(self) -> bool:
        """Look at the clock until the slice is over."""
        started = time.perf_counter()
        while time.perf_counter() - started < SLICE_SECONDS:
            pass
        self.slices += 1
        self.seconds += time.perf_counter() - started
        return True

    def measure(self) -> dict[str, float]:
        """Count slices."""
        return {"slices": float(self.slices)}


def share_added(n_slices: int) -> float:
    """Return what one run's clock shows beyond the slices' own time, as a share of that."""
    spin = Spin()
    seconds = run(spin, Target("slices", n_slices), seed=0).seconds
    assert seconds is not None
    return seconds / spin.seconds - 1.0


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slices", type=int, default=150)
    given = parser.parse_args(arguments)
    shares = [share_added(given.slices) for _ in range(given.rounds)]
    low, median, high = np.percentile(shares, [10, 50, 90])
    print(
        f"added to slices of 10 ms: {median:.4%} (middle eight tenths of {given.rounds} runs: {low:.4%} to {high:.4%})"
    )


if __name__ == "__main__":
    main()
