"""Number of epochs by method of drawing the order of each epoch: SAGA on one-hot rows, SGD on ratings.

SAGA is run at its full step size, 1 / (3 L), on least squares over one-hot rows. The benchmark counts the epochs until
the objective is within 1e-2, 1e-4 and 1e-6 of the optimum. For ratings the objective after some epochs is compared.
Every order is run serially. "Blocks" are the scheme of large problems: the updates are dealt into equal blocks, and
each epoch permutes the blocks and the updates within each; updates change blocks at every so many epochs, or never.
Example:

    python benchmarks/orders.py --out benchmarks/results/2026-11-29_orders
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import SEED, power_law_ratings
from scipy.sparse import csr_array
from timing import cell, spread

from etesian import __version__
from etesian.bench import machine
from etesian.sparse import Linear, Problem, Ratings, Workers
from etesian.sparse.problems.losses import REGRESSION
from etesian.sparse.problems.penalties import L2
from etesian.sparse.schedules.plan import Plan

RIDGE, GROUPS, VALUES = 1e-4, 14, 9
GAPS = (1e-2, 1e-4, 1e-6)

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""The order of an epoch, counted from 0."""


def one_hot(n: int) -> tuple[Linear, float]:
    """Return least squares on groups of one-hot features, and the minimum of the objective."""
    rng = np.random.default_rng(SEED)
    columns = np.arange(GROUPS) * VALUES + rng.integers(0, VALUES, (n, GROUPS))
    X = csr_array((np.ones(columns.size), columns.ravel(), np.arange(n + 1) * GROUPS), shape=(n, GROUPS * VALUES))
    y = X @ rng.normal(size=X.shape[1]) + 0.5 * rng.normal(size=n)
    best = np.linalg.solve((X.T @ X).toarray() / n + RIDGE * np.eye(X.shape[1]), X.T @ y / n)
    least = 0.5 * np.mean((X @ best - y) ** 2) + 0.5 * RIDGE * best @ best
    return Linear(X, y, REGRESSION["squared"], L2(RIDGE), reduction="saga"), float(least)


def fixed(n: int) -> Draw:
    """Use one order for all epochs."""
    order = np.random.default_rng(SEED).permutation(n)
    return lambda rng, epoch: order


def independent(n: int) -> Draw:
    """Draw a new permutation for each epoch."""
    return lambda rng, epoch: rng.permutation(n)


def with_replacement(n: int) -> Draw:
    """Draw updates with replacement."""
    return lambda rng, epoch: rng.integers(0, n, n)


def in_blocks(n: int, *, n_blocks: int, dealt_every: int | None) -> Draw:
    """Permute blocks and their updates in each epoch; deal updates into new blocks every `dealt_every` epochs, or never."""
    dealt: list[np.ndarray] = []

    def draw(rng: np.random.Generator, epoch: int) -> np.ndarray:
        if epoch == 0 or (dealt_every and epoch % dealt_every == 0):
            dealt[:] = np.array_split(rng.permutation(n), n_blocks)
            return np.concatenate(dealt)
        return np.concatenate([rng.permutation(dealt[block]) for block in rng.permutation(n_blocks)])

    return draw


def orders(n: int, blocks: list[int], dealt: list[int]) -> dict[str, Draw]:
    """Return the kinds of orders by name."""
    kinds = {
        "one order for all epochs": fixed(n),
        "a new permutation each epoch": independent(n),
        "with replacement": with_replacement(n),
    }
    for n_blocks in blocks:
        for every in [None, *dealt]:
            name = f"{n_blocks:,} blocks, dealt {'once' if every is None else f'every {every} epochs'}"
            kinds[name] = in_blocks(n, n_blocks=n_blocks, dealt_every=every)
    return kinds


def objectives(problem: Problem, draw: Draw, *, step_size: float, epochs: int, seed: int, until: float) -> list[float]:
    """Return the objective after each epoch of a serial run, until it is below `until`."""
    rng = np.random.default_rng(seed)
    variables, found = problem.start(rng), []
    with Workers(1) as workers:
        settle = partial(problem.settle, variables, workers.sum) if problem.settles else None  # type: ignore[attr-defined]
        if settle:
            settle(None)
        for epoch in range(epochs):
            order = draw(rng, epoch)
            n = len(order)
            plan = Plan("serial", order, np.array([[0, n]]), False, n, 1.0, steps=np.arange(n))
            workers.run(plan, problem.update_range, problem.lay_out(plan), variables, step_size)
            if settle:
                settle(step_size)
            found.append(problem.objective(variables, workers.sum))
            if found[-1] <= until or not np.isfinite(found[-1]):
                break
    return found


def count_epochs(n: int, blocks: list[int], dealt: list[int], *, epochs: int, seeds: int) -> dict[str, Any]:
    """Count the epochs to each gap, for each kind of order and seed; None if it is not reached."""
    problem, least = one_hot(n)
    step_size, counted = 1 / (3 * problem.smoothness()), {}
    for name, draw in orders(n, blocks, dealt).items():
        runs = []
        for seed in range(seeds):
            found = objectives(
                problem, draw, step_size=step_size, epochs=epochs, seed=seed, until=least * (1 + GAPS[-1])
            )
            gaps = np.array(found) / least - 1
            runs.append([int(np.argmax(gaps <= gap)) + 1 if (gaps <= gap).any() else None for gap in GAPS])
        counted[name] = runs
        print(f"{n:,} rows, {name}: {runs}", flush=True)
    return counted


def rate(n: int, blocks: list[int], dealt: list[int], *, epochs: int, seeds: int) -> dict[str, Any]:
    """Compute the objective of matrix completion after some epochs, for each kind of order and seed."""
    user, item, rating = power_law_ratings(n, planted_rank=4, noise=0.5)
    problem = Ratings(user, item, rating, user.max() + 1, item.max() + 1, 8, penalty=0.02, biased=True)
    reached = {}
    for name, draw in orders(n, blocks, dealt).items():
        runs = [objectives(problem, draw, step_size=0.02, epochs=epochs, seed=s, until=0.0)[-1] for s in range(seeds)]
        reached[name] = runs
        print(f"{n:,} ratings, {name}: {runs}", flush=True)
    return reached


def as_text(results: dict[str, dict[str, Any]]) -> str:
    """Format the largest number of epochs over the seeds to each gap, and for ratings the median and spread of the objective."""
    lines = ["| data | order | to 1e-2 | to 1e-4 | to 1e-6 | objective |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for data, kinds in results.items():
        for name, runs in kinds.items():
            if isinstance(runs[0], list):
                worst = ["never" if None in column else str(max(column)) for column in zip(*runs, strict=True)]
                lines.append(f"| {data} | {name} | {' | '.join(worst)} | |")
            else:
                lines.append(f"| {data} | {name} | | | | {cell(spread(runs, 6), 5)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000], help="one-hot rows")
    parser.add_argument("--ratings", type=int, nargs="*", default=[200_000])
    parser.add_argument("--blocks", type=int, nargs="+", default=[10, 40, 160, 640])
    parser.add_argument("--dealt", type=int, nargs="*", default=[2, 4, 8], help="epochs between two deals")
    parser.add_argument("--epochs", type=int, default=40, help="epochs at most")
    parser.add_argument("--rating-epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    results = {}
    for n in given.rows:
        results[f"{n:,} one-hot rows"] = count_epochs(
            n, given.blocks, given.dealt, epochs=given.epochs, seeds=given.seeds
        )
    for n in given.ratings:
        results[f"{n:,} ratings"] = rate(n, given.blocks, given.dealt, epochs=given.rating_epochs, seeds=given.seeds)
    table = as_text(results)
    print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        record = {"version": __version__, "machine": machine.describe(), "results": results}
        (given.out / "records.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "table.md").write_text(table + "\n")
    return results


if __name__ == "__main__":
    main()
