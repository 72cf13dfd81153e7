"""Time two ways of descending a narrow valley to the same loss, each run in a fresh process."""

import numpy as np

from etesian.bench import Suite, Target


class Descent:
    """Gradient descent on a quadratic whose curvatures lie far apart; a slice is a hundred steps."""

    def __init__(self, name, momentum):
        self.name, self.momentum = name, momentum

    def prepare(self, seed):
        """Start somewhere; nothing here is on the clock."""
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
        """Tell how far down it is, off the clock."""
        return {"loss": float(self.curvature @ self.x**2) / 2}


if __name__ == "__main__":  # fresh processes import this file, and need none of what follows
    from etesian.bench import run_suite, statistics

    descents = [Descent("plain", 0.0), Descent("momentum", 0.9)]
    suite = Suite("valley", descents, Target.parse("loss<=1e-3"), budget_seconds=5)
    summary = statistics.summarize(run_suite(suite, seeds=5))
    for workload in summary.workloads:
        median = workload.median
        print(
            f"{workload.workload:9} {workload.outcomes.get('reached', 0)} of {workload.runs} runs reached {summary.target}"
        )
        print(
            f"{'':9} median {median.value:.3g} s, {summary.confidence:.0%} interval {median.low:.3g} to {median.high:.3g} s"
        )
        if workload.ratio is not None:
            ratio = workload.ratio.estimate
            print(f"{'':9} {ratio.value:.3g} times as long as {summary.baseline}, {ratio.low:.3g} to {ratio.high:.3g}")
