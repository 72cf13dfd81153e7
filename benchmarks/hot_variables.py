"""Cost of merged plans, which exempt hot variables: epochs to a target loss, and time per epoch.

If a few features occur in most rows, all rows form one component. A merged plan ignores such features, gives each list
of a batch a copy of them, and merges the changes of the copies in a fixed order, with the same bits for any number of
threads. The benchmark counts the epochs of logistic regression without a penalty to the loss that the serial order
reaches, each with its best step size, for the schedule and for a plain sum of the changes of lists. It times epochs of
the merged, serial and lock-free schedules, interleaved, with SGD and SAGA. Example:

    python benchmarks/hot_variables.py --data ../shared/data --out benchmarks/results/2026-11-23_hot_variables
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import data
import numpy as np
from numba import njit
from scipy.sparse import csr_array, hstack
from timing import cell, seconds_of, spread

from etesian.bench import machine
from etesian.sparse import SGD, Epochs, Linear, ScheduleWarning, Workers
from etesian.sparse.problems.losses import CLASSIFICATION
from etesian.sparse.problems.penalties import L2

STEPS = tuple(2.0**k for k in range(-8, 4))
N_LISTS = (1, 2, 4, 16)
BATCHES = (64, 512, 4_096)
WITH_HUBS = "with hubs"  # only timed: lists that copy all of their features would take an hour to count
MAX_EPOCHS = 60
SERIAL_EPOCHS = 10  # epochs of the serial run that define the target loss
TIMED = {"SGD": {}, "SAGA, ridge": {"reduction": "saga", "penalty": L2(1e-4)}}
HUBS, HUB_SHARE = 10, 0.5  # number of hot features of synthetic rows, and the fraction of rows with each


@njit(nogil=True, cache=True)
def run_epoch(order, indptr, indices, values, y, w, batch_size, n_lists, step_size):
    """Run the logistic updates of one epoch; every list of a batch starts from the same w, and its changes are added up."""
    before, after = np.empty_like(w), np.empty_like(w)
    for first in range(0, len(order), batch_size):
        last = min(first + batch_size, len(order))
        before[:] = w
        after[:] = w
        for part in range(n_lists):
            w[:] = before
            start = first + (last - first) * part // n_lists
            stop = first + (last - first) * (part + 1) // n_lists
            for place in range(start, stop):
                e = order[place]
                margin = 0.0
                for k in range(indptr[e], indptr[e + 1]):
                    margin += values[k] * w[indices[k]]
                slope = -y[e] / (1.0 + math.exp(min(y[e] * margin, 500.0)))
                for k in range(indptr[e], indptr[e + 1]):
                    w[indices[k]] -= step_size * slope * values[k]
            for j in range(len(w)):
                after[j] += w[j] - before[j]
        w[:] = after


Found = tuple[int | None, float | None]
"""Number of epochs, and the step size with that number."""


class Rows:
    """Labeled rows, and the losses after epochs of an order drawn once."""

    def __init__(self, X: data.csr_array, y: np.ndarray, *, seed: int) -> None:
        self.X, self.y = X, y
        self.order = np.random.default_rng(seed).permutation(len(y))

    def losses(self, batch_size: int, n_lists: int, step_size: float, epochs: int) -> list[float]:
        """Return the mean loss after each epoch, until it diverges."""
        w, losses = np.zeros(self.X.shape[1]), []
        for _ in range(epochs):
            run_epoch(self.order, self.X.indptr, self.X.indices, self.X.data, self.y, w, batch_size, n_lists, step_size)
            losses.append(float(np.logaddexp(0.0, -self.y * (self.X @ w)).mean()))
            if not losses[-1] < 10 * math.log(2):
                break
        return losses

    def merged_losses(self, step_size: float, epochs: int) -> list[float]:
        """Return the losses of the merged schedule."""
        with Workers(1) as workers:
            problem = Linear(self.X, self.y, CLASSIFICATION["logistic"])
            run = Epochs(problem, workers, method=SGD(step_size), schedule="merged", random_state=data.SEED)
            losses: list[float] = []
            while len(losses) < epochs and (not losses or losses[-1] < 10 * math.log(2)):
                run.advance()
                losses.append(run.objective())
        return losses

    def epochs_to(self, loss: float, losses_of: Callable[[float, int], list[float]]) -> Found:
        """Return the minimum number of epochs to the loss over all step sizes, and that step size; None if none reaches it."""
        best: Found = (None, None)
        for step_size in STEPS:
            losses = losses_of(step_size, best[0] or MAX_EPOCHS)
            arrived = next((epoch for epoch, value in enumerate(losses, 1) if value <= loss), None)
            if arrived is not None and (best[0] is None or arrived < best[0]):
                best = arrived, step_size
        return best


def measure(rows: Rows, batches: tuple[int, ...], n_lists: tuple[int, ...]) -> list[dict[str, object]]:
    """Count epochs for every batch size and number of lists; one list is the serial order."""
    goal = min(rows.losses(len(rows.y), 1, step, SERIAL_EPOCHS)[-1] for step in STEPS)
    found = []
    for lists in n_lists:
        for batch_size in batches if lists > 1 else batches[:1]:
            epochs, step_size = rows.epochs_to(goal, partial(rows.losses, batch_size, lists))
            found.append({"lists": lists, "batch": batch_size, "epochs": epochs, "step": step_size, "loss": goal})
    epochs, step_size = rows.epochs_to(goal, rows.merged_losses)
    return [*found, {"lists": "merged", "batch": "default", "epochs": epochs, "step": step_size, "loss": goal}]


def time_epochs(rows: Rows, n_workers: int, rounds: int) -> list[dict[str, object]]:
    """Interleave epochs of every schedule; return milliseconds, and speed-ups over the serial epoch of the same round."""
    found: list[dict[str, object]] = []
    for method, options in TIMED.items():
        with Workers(n_workers) as workers, Workers(1) as one, warnings.catch_warnings():
            warnings.simplefilter("ignore", ScheduleWarning)  # the cost of merging is measured here
            of = {"serial": one, "merged by one": one, "merged": workers, "lock_free": workers}
            runs = {name: _epochs(rows, name.removesuffix(" by one"), its, options) for name, its in of.items()}
            taken = [{name: seconds_of(run.advance) for name, run in runs.items()} for _ in range(rounds + 1)][1:]
        for name, run in runs.items():
            seconds, serial = (np.array([times[of] for times in taken]) for of in (name, "serial"))
            found.append({"method": method, "schedule": name, "workers": run.plan.n_workers, "plan": str(run.plan),
                          "milliseconds": spread(1e3 * seconds), "speedup over serial": spread(serial / seconds),
                          "predicted": round(run.plan.predicted_speedup, 2)})  # fmt: skip
    return found


def _epochs(rows: Rows, schedule: Any, workers: Workers, options: dict[str, Any]) -> Epochs:
    problem = Linear(rows.X, rows.y, CLASSIFICATION["logistic"], **options)
    step_size = 1 / (3 * problem.smoothness())
    return Epochs(problem, workers, method=SGD(step_size), schedule=schedule, random_state=data.SEED)


def rows_with_hubs(n: int) -> tuple[data.csr_array, np.ndarray]:
    """Generate scattered rows, with additional features that each occur in half of them."""
    X, y = data.scattered_rows(n, n_features=2 * n)
    hubs = csr_array((np.random.default_rng(data.SEED).random((n, HUBS)) < HUB_SHARE).astype(X.dtype))
    return csr_array(hstack([hubs, X], format="csr")), y


def as_text(results: dict[str, list[dict[str, object]]]) -> str:
    """Format the counts as a table."""
    lines = ["| data | lists | batch | epochs | step size |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, found in results.items():
        for each in found:
            epochs = each["epochs"] or f"more than {MAX_EPOCHS}"
            lines.append(f"| {name} | {each['lists']} | {each['batch']} | {epochs} | {each['step']} |")
    return "\n".join(lines) + "\n"


def as_times(timed: dict[str, list[dict[str, Any]]]) -> str:
    """Format the times as a table; median [10th to 90th percentile of the rounds]."""
    lines = [
        "| data | method | schedule | workers | ms per epoch | over serial | predicted |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in timed.items():
        for each in found:
            lines.append(
                f"| {name} | {each['method']} | {each['schedule']} | {each['workers']} | {cell(each['milliseconds'], 2)} "
                f"| {cell(each['speedup over serial'], 2)} | {each['predicted']} |"
            )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains libsvm/; synthetic rows without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31, help="timed epochs of each, after one of warm-up")
    parser.add_argument("--times-only", action="store_true", help="count no epochs")
    parser.add_argument("--toy", action="store_true", help="run at toy size, as a test")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    given = parser.parse_args(arguments)
    tables = {WITH_HUBS: rows_with_hubs(300 if given.toy else 200_000)}
    if given.data is not None:
        files = {"w8a": "libsvm/w8a", "cocoa": "libsvm/cocoa_small_train.dat"}
        tables |= {name: data.read_labeled_rows(given.data / file) for name, file in files.items()}
    batches, lists = ((16,), (1, 2)) if given.toy else (BATCHES, N_LISTS)
    rows = {name: Rows(X, y, seed=given.seed) for name, (X, y) in tables.items()}
    timed = {name: time_epochs(each, given.workers, 2 if given.toy else given.rounds) for name, each in rows.items()}
    print(as_times(timed))
    counted = {} if given.times_only else {name: each for name, each in rows.items() if given.toy or name != WITH_HUBS}
    results = {name: measure(each, batches, lists) for name, each in counted.items()}
    print(as_text(results))
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine.describe(), "results": results, "times": timed}
    (given.out / "records.json").write_text(json.dumps(record, indent=1))
    (given.out / "table.md").write_text(f"{as_times(timed)}\n{as_text(results)}")


if __name__ == "__main__":
    main()
