"""Measure the time of two gradient methods to the same loss, with each run in a fresh process."""

import numpy as np

from etesian.bench import Suite, Target


class Descent:
    """Gradient descent on an ill-conditioned quadratic; a slice is a hundred steps."""

    def __init__(self, name, momentum):
        self.name, self.momentum = name, momentum

    def prepare(self, seed):
        """Draw a starting point, off the clock."""
        self.curvature = np.geomspace(1e-3, 1, 1_000)
        self.x = np.random.default_rng(seed).normal(size=1_000)
        self.velocity = np.zeros(1_000)

    def advance(self):
        """Take a hundred steps, on the clock."""
        for _ in range(100):
            self.velocity = self.momentum * self.velocity - self.curvature * self.x
            self.x = self.x + self.velocity
        return True

    def measure(self):
        """Return the loss, off the clock."""
        return {"loss": float(self.curvature @ self.x**2) / 2}


if __name__ == "__main__":  # the processes of the runs import this file too
    from etesian.bench import analyze, run_suite

    descents = [Descent("plain", 0.0), Descent("momentum", 0.9)]
    suite = Suite("valley", descents, Target.parse("loss<=1e-3"), budget_seconds=5)
    race = analyze(run_suite(suite, seeds=5), baseline="plain").races[0]
    for entry in race.entries:
        median = entry.median
        print(f"{entry.name:9} {entry.reached} of {entry.runs} runs reached {race.race.target}")
        print(f"{'':9} median {median.value:.3g} s, 95% interval {median.low:.3g} to {median.high:.3g} s")
        comparison = race.comparison(entry.name)
        if comparison is not None and comparison.ratio is not None:
            ratio = comparison.ratio.estimate
            print(f"{'':9} {ratio.value:.3g} times as long as {race.baseline}, {ratio.low:.3g} to {ratio.high:.3g}")
