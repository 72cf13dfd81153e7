"""What it would cost to exempt hot variables from the plan: private copies in each list, merged after every batch.

Where a few features stand in most rows, all rows are one component. A plan could leave such features out, give each list of a batch
a copy of them, and add up what the copies changed, always in the same order: the same bits for any number of threads, but no longer
the serial run's. This script runs such an order on one core, by SGD without penalties, and counts the epochs until a loss that
the serial order reaches, each with the step size that suits it best. Example:

    python benchmarks/hot_variables.py --data ../shared/data --out benchmarks/results/2026-11-23_hot_variables
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import data
import numpy as np
from numba import njit

from etesian.bench import machine

STEPS = tuple(2.0**k for k in range(-8, 4))
N_LISTS = (1, 2, 4, 16)
BATCHES = (64, 512, 4_096)
MAX_EPOCHS = 60
SERIAL_EPOCHS = 10  # those of the loss to be reached


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


class Rows:
    """Labeled rows, and the losses after epochs of an order drawn once."""

    def __init__(self, X: data.csr_array, y: np.ndarray, *, seed: int) -> None:
        self.X, self.y = X, y
        self.order = np.random.default_rng(seed).permutation(len(y))

    def losses(self, batch_size: int, n_lists: int, step_size: float, epochs: int) -> list[float]:
        """Return the mean loss after each epoch, up to one that is not finite or far above the first."""
        w, losses = np.zeros(self.X.shape[1]), []
        for _ in range(epochs):
            run_epoch(self.order, self.X.indptr, self.X.indices, self.X.data, self.y, w, batch_size, n_lists, step_size)
            losses.append(float(np.logaddexp(0.0, -self.y * (self.X @ w)).mean()))
            if not losses[-1] < 10 * math.log(2):
                break
        return losses

    def epochs_to(self, loss: float, batch_size: int, n_lists: int) -> tuple[int | None, float | None]:
        """Return the fewest epochs to the loss over all step sizes, and that step size; None where none arrives."""
        best: tuple[int | None, float | None] = (None, None)
        for step_size in STEPS:
            losses = self.losses(batch_size, n_lists, step_size, best[0] or MAX_EPOCHS)
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
            epochs, step_size = rows.epochs_to(goal, batch_size, lists)
            found.append({"lists": lists, "batch": batch_size, "epochs": epochs, "step": step_size, "loss": goal})
    return found


def as_text(results: dict[str, list[dict[str, object]]]) -> str:
    """Lay the counts out as a table."""
    lines = ["| data | lists | batch | epochs | step size |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, found in results.items():
        for each in found:
            epochs = each["epochs"] or f"more than {MAX_EPOCHS}"
            lines.append(f"| {name} | {each['lists']} | {each['batch']} | {epochs} | {each['step']} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds libsvm/; synthetic rows without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="seconds, to see that all works; measures nothing")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records")
    given = parser.parse_args(arguments)
    if given.toy:
        tables = {"scattered": data.scattered_rows(300, n_features=20)}
    else:
        files = {"w8a": "libsvm/w8a", "cocoa": "libsvm/cocoa_small_train.dat"}
        tables = {name: data.read_labeled_rows(given.data / file) for name, file in files.items()}
    batches, lists = ((16,), (1, 2)) if given.toy else (BATCHES, N_LISTS)
    results = {name: measure(Rows(X, y, seed=given.seed), batches, lists) for name, (X, y) in tables.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "records.json").write_text(json.dumps({"machine": machine.describe(), "results": results}, indent=1))
    (given.out / "table.md").write_text(as_text(results))
    print(as_text(results))


if __name__ == "__main__":
    main()
