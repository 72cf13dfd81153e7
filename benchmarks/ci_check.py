"""A small benchmark of each part, run twice and interleaved, for `etesian bench check`.

The times of both sets come from the same code, so a check that finds one of them slower is a false alarm: it tests the
harness, the check and the machine. Runs share a process here, so that all of it takes seconds.

Command: ``python benchmarks/ci_check.py FOLDER`` writes FOLDER/base.db and FOLDER/new.db.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etesian.bench import Point, Run, Store, Suite, Target, analyze, run_suite
from etesian.decode import Decoder, TableModel
from etesian.decode.drafters import LookupDrafter
from etesian.sparse import SparseRegressor

RUNS = 8
SLICES = 2


class Repeated:
    """Fixed work, a number of equal slices."""

    name = ""

    def prepare(self, seed: int) -> None:
        """Draw the input, and do the work once, so that everything is compiled."""
        self.slices = 0
        self.draw(np.random.default_rng(seed))
        self.work()

    def advance(self) -> bool:
        """Do the work once."""
        self.work()
        self.slices += 1
        return True

    def measure(self) -> Mapping[str, float]:
        """Return the number of slices so far."""
        return {"slices": self.slices}

    def draw(self, rng: np.random.Generator) -> None:
        """Draw the input."""
        raise NotImplementedError

    def work(self) -> Any:
        """Do the work of one slice."""
        raise NotImplementedError


class Sparse(Repeated):
    """Fit a linear model to sparse rows."""

    name = "sparse"

    def draw(self, rng: np.random.Generator) -> None:
        """Draw rows and a linear response."""
        self.X = rng.normal(size=(4000, 20)) * (rng.random((4000, 20)) < 0.2)
        self.y = self.X @ rng.normal(size=20)

    def work(self) -> Any:
        """Fit with a fixed number of epochs."""
        return SparseRegressor(max_iter=60, tol=None, random_state=0, n_jobs=1).fit(self.X, self.y)


class Decode(Repeated):
    """Decode a toy model with drafts from the text itself."""

    name = "decode"

    def draw(self, rng: np.random.Generator) -> None:
        """Draw a prompt."""
        self.decoder = Decoder(TableModel(64), LookupDrafter())
        self.prompt = rng.integers(0, 64, 16).tolist()

    def work(self) -> Any:
        """Generate a fixed number of tokens."""
        return self.decoder.generate(self.prompt, max_tokens=150)


class Bench(Repeated):
    """Analyze a race of drawn runs."""

    name = "bench"

    def draw(self, rng: np.random.Generator) -> None:
        """Draw the times of four entries."""
        target = Target("done", 1.0)
        times = rng.lognormal(size=(4, 8))
        self.runs = [
            Run(f"entry {entry}", repeat, target, "reached", (Point(1, float(seconds), {"done": 1.0}),))
            for entry, row in enumerate(times)
            for repeat, seconds in enumerate(row)
        ]

    def work(self) -> Any:
        """Compute all figures of the race."""
        return analyze(self.runs)


suite = Suite("parts", [Sparse(), Decode(), Bench()], Target("slices", SLICES))


def main(folder: Path, runs: int = RUNS) -> None:
    """Fill both stores in the order A B B A, so that drift of the machine affects both alike."""
    with Store(folder / "base.db") as base, Store(folder / "new.db") as new:
        for seed in range(runs):
            for store in (base, new) if seed % 2 == 0 else (new, base):
                run_suite(suite, seeds=[seed], store=store, isolate=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
