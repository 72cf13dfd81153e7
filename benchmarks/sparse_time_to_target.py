"""MAIN PATH: how long `etesian.sparse` and its peers take to one target, on problems of the shapes of Pan et al. 2016.

Each race is a suite of `etesian.bench`: entries tune their step sizes on the same grid off the clock, then all are run
with several seeds, interleaved, each run in a fresh process. Records, tuning and a README with the table go to the
folder `--out`, where races that were run earlier stay. Peers that are not installed are left out, and said to be.
Example:

    python benchmarks/sparse_time_to_target.py --races mesh logistic --data ../shared/data --out
    benchmarks/results/2026-11-23_races
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data
import numpy as np
from races.entries import MAX_EPOCHS, Entry
from races.peers import NOT_COMPARED, entries_of
from races.table import write_readme
from races.tasks import CountedPairs, LinearRows, MeshMatrix, RatedPairs, Task
from races.tuning import Tuned, tune_all

from etesian.bench import Run, Suite, Target, run_suite, write_jsonl
from etesian.bench.machine import usable_cores
from etesian.bench.store import StoredRun
from etesian.suite.words import load_counts, save_counts

EXPONENTS = (-6, 4)
NOISE = 0.5  # standard deviation of the noise of generated ratings
LOGISTIC_RIDGE = 1e-4


@dataclass(frozen=True)
class Settings:
    """Size and location of the data."""

    toy: bool
    data: Path | None
    ratings: int


def mesh(path: Path, settings: Settings, n_vertices: int = 30_000) -> tuple[str, type, Target]:
    """Least squares on a mesh: heights from noisy differences along edges."""
    edges = data.mesh_edges(500 if settings.toy else n_vertices)
    return _save_heights(path, edges, "a Delaunay mesh with holes", settings)


def large_mesh(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """The same, too large for the second-level cache."""
    return mesh(path, settings, 300_000)


def delaunay(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """The same, on the graph of a file."""
    return _save_heights(
        path, data.read_metis_edges(_file(settings, "graphs/delaunay_n15.graph")), "delaunay_n15", settings
    )


def _save_heights(path: Path, edges: np.ndarray, name: str, settings: Settings) -> tuple[str, type, Target]:
    X, y = data.differences_along(edges)
    LinearRows.save(path, X, y, is_squared=True, ridge=1.0 / len(y))
    title = f"Least squares by SAGA: heights on {name} ({X.shape[1]:,} vertices, {X.shape[0]:,} edges)"
    return title, LinearRows, Target("excess", 1e-2 if settings.toy else 1e-6, "at_most")


def ratings(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Ratings like MovieLens 10M's in shape, with planted factors and noise."""
    n = 20_000 if settings.toy else settings.ratings
    RatedPairs.save(path, *data.power_law_ratings(n, planted_rank=8, noise=NOISE))
    target = Target("test_rmse", (1.8 if settings.toy else 1.2) * NOISE, "at_most")
    title = f"Ratings by SGD, rank 32: {n:,} power-law ratings with noise of {NOISE}"
    return title, RatedPairs, target


def ratings_10m(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Ten million ratings at rank 50; the target, 1.16 times the planted noise, was fixed before any run."""
    n = 20_000 if settings.toy else 10_000_000
    RatedPairs.save(path, *data.power_law_ratings(n, planted_rank=8, noise=NOISE), rank=50)
    target = Target("test_rmse", (1.8 if settings.toy else 1.16) * NOISE, "at_most")
    return f"Ratings by SGD, rank 50: {n:,} power-law ratings with noise of {NOISE}", RatedPairs, target


def movielens(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """The small file of MovieLens."""
    RatedPairs.save(path, *data.read_movielens(_file(settings, data.RATINGS_FILE)))
    return "Ratings by SGD, rank 32: MovieLens latest small", RatedPairs, Target("test_rmse", 0.92, "at_most")


def words(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Word pairs of the English text that every Python carries."""
    if settings.toy:
        pairs = data.power_law_pairs(20_000)
    else:
        counted = load_counts(save_counts(Path(tempfile.gettempdir()) / "etesian-benchmarks"))
        pairs = counted.left, counted.right, counted.count
    CountedPairs.save(path, *pairs)
    return f"Word embedding by SGD: {len(pairs[0]):,} pairs", CountedPairs, Target("r2", 0.5 if settings.toy else 0.9)


def logistic(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Logistic regression on very sparse rows, for which batches have small components."""
    n = 2_000 if settings.toy else 100_000
    return _save_labeled(path, *data.scattered_rows(n, n_features=2 * n), "rows with 5 features each", settings)


def a1a(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """One-hot features of census records: one component at any batch size."""
    return _save_labeled(path, *data.read_labeled_rows(_file(settings, "libsvm/a1a")), "a1a", settings)


def w8a(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """One component at any batch size: the honest case."""
    return _save_labeled(path, *data.read_labeled_rows(_file(settings, "libsvm/w8a")), "w8a", settings)


def cocoa(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Text, one component at any batch size."""
    return _save_labeled(
        path, *data.read_labeled_rows(_file(settings, "libsvm/cocoa_small_train.dat")), "cocoa, text", settings
    )


def _save_labeled(
    path: Path, X: data.csr_array, y: np.ndarray, name: str, settings: Settings
) -> tuple[str, type, Target]:
    LinearRows.save(path, X, y, is_squared=False, ridge=LOGISTIC_RIDGE)
    title = f"Logistic regression by SAGA: {name} ({X.shape[0]:,} rows, {X.shape[1]:,} features)"
    return title, LinearRows, Target("excess", 1e-2 if settings.toy else 1e-5, "at_most")


def eigenvector(path: Path, settings: Settings) -> tuple[str, type, Target]:
    """Leading eigenvector of the mesh's adjacency matrix."""
    MeshMatrix.save(path, data.mesh_edges(500 if settings.toy else 10_000))
    return "Leading eigenvector by SVRG: a Delaunay mesh with holes", MeshMatrix, Target("residual", 1e-4, "at_most")


RACES: dict[str, Callable[[Path, Settings], tuple[str, type, Target]]] = {
    race.__name__: race
    for race in (
        mesh,
        ratings,
        ratings_10m,
        words,
        logistic,
        eigenvector,
        large_mesh,
        delaunay,
        movielens,
        a1a,
        w8a,
        cocoa,
    )
}
NEED_NOTHING = ("mesh", "ratings", "words", "logistic", "eigenvector")


def _file(settings: Settings, name: str | Path) -> Path:
    file = settings.data / name if settings.data else None
    if file is None or not file.exists():
        raise FileNotFoundError(f"--data must be a folder that contains {name}; got {settings.data}")
    return file


def race(task: Task, folder: Path, given: argparse.Namespace) -> list[Run]:
    """Tune all entries, run those that reach the target, and write the records and the tuning."""
    entries, missing = entries_of(task, given.workers)
    if given.entries:
        entries = [entry for entry in entries if entry.name in given.entries]
    lowest, highest = (-1, 1) if given.toy else given.exponents
    tuned = tune_all(entries, range(lowest, highest + 1), given.most_epochs)
    ready: list[Entry] = [each.entry for each in tuned if each.entry is not None]
    print(*missing, sep="\n", file=sys.stderr)
    suite = Suite(task.name, ready, task.target, given.budget)
    runs = run_suite(suite, seeds=given.seeds, isolate=not given.toy)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl([StoredRun(task.name, run) for run in runs], folder / "runs.jsonl")
    about = {"title": task.title, "workers": given.workers, "command": _command(), "tuned": list(map(_describe, tuned)),
             "notes": [note for note in (NOT_COMPARED[task.kind], *missing) if note]}  # fmt: skip
    (folder / "tuning.json").write_text(json.dumps(about, indent=1) + "\n")
    return runs


def _command() -> str:
    return shlex.join(["python", "benchmarks/sparse_time_to_target.py", *sys.argv[1:]])


def _describe(tuned: Tuned) -> dict[str, object]:
    return {
        "name": tuned.name,
        "exponent": tuned.exponent,
        "work": tuned.work,
        "limit": tuned.limit,
        "plan": tuned.plan,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--races", nargs="+", choices=RACES, default=NEED_NOTHING, metavar="RACE", help=", ".join(RACES)
    )
    parser.add_argument("--entries", nargs="+", metavar="NAME", help="entries that race; by default all")
    parser.add_argument("--data", type=Path, help="folder that contains graphs/, libsvm/ and ratings/")
    parser.add_argument("--ratings", type=int, default=2_000_000, help="synthetic ratings")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument(
        "--exponents", type=int, nargs=2, default=EXPONENTS, metavar=("LOW", "HIGH"), help="powers of two of step sizes"
    )
    parser.add_argument(
        "--most-epochs", type=int, default=MAX_EPOCHS, help="epochs in which tuning must reach the target"
    )
    parser.add_argument("--seeds", type=int, default=5, help="timed runs of each entry")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds on the clock after which a run is stopped")
    parser.add_argument("--toy", action="store_true", help="seconds, to see that all works; measures nothing")
    parser.add_argument("--out", type=Path, required=True, help="folder for the records and the README")
    given = parser.parse_args(arguments)
    settings = Settings(given.toy, given.data, given.ratings)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.races:
            path = Path(folder) / f"{name}.npz"
            title, kind, target = RACES[name](path, settings)
            print(f"{name}: {title}", file=sys.stderr)
            task = Task(name, title, kind, str(path), target)
            race(task, given.out / name, given)
    print(write_readme(given.out).read_text())


if __name__ == "__main__":
    main()
