"""Processes killed at random moments lose nothing that was finished, and what they leave can be read and resumed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from families import FIXTURES
from killing import KILLED, forked, kill_at_random, n_kills

from etesian.bench import Run, Store, StoredRun, Suite, Target, read_jsonl, run_suite, write_jsonl
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.sparse.io import load_model, save_model


def repeated(write: Callable[[int], object]) -> Callable[[], None]:
    def work() -> None:
        for number in range(10**9):
            write(number)

    return work


def writers(folder: Path) -> dict[str, tuple[Callable[[int], object], Callable[[], object]]]:
    """Return functions that replace a file by version number k, and functions that read it."""
    model, table = load_model(FIXTURES / "factors.npz"), NgramTable.load(FIXTURES / "ngram.npz")
    runs = read_jsonl(FIXTURES / "runs.jsonl")

    def save(number: int) -> None:
        model.mean_ = float(number)
        save_model(model, folder / "model.npz")

    return {
        "model": (save, lambda: load_model(folder / "model.npz")),
        "ngram": (lambda _: table.save(folder / "n.npz"), lambda: NgramTable.load(folder / "n.npz")),
        "jsonl": (lambda _: write_jsonl(runs, folder / "r.jsonl"), lambda: read_jsonl(folder / "r.jsonl")),
    }


@pytest.mark.parametrize("kind", ["model", "ngram", "jsonl"])
def test_killed_writer_leaves_a_whole_file(tmp_path: Path, kind: str) -> None:
    write, read = writers(tmp_path)[kind]
    write(0)
    rng = np.random.default_rng(0)
    for _ in range(n_kills(12)):
        assert kill_at_random(forked(repeated(write)), rng, 0.05) == KILLED
        read()
    write(1)
    read()


class Slow:
    """Takes a few milliseconds for each of five slices."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, seed: int) -> None:
        self.left = 5

    def advance(self) -> bool:
        time.sleep(0.002)
        self.left -= 1
        return True

    def measure(self) -> dict[str, float]:
        return {"left": self.left}


def test_killed_suite_is_resumed_and_holds_every_run_once(tmp_path: Path) -> None:
    suite = Suite("slow", [Slow("a"), Slow("b")], Target("left", 0, "at_most"))
    rng, path, seen = np.random.default_rng(1), tmp_path / "s.db", 0

    def work() -> None:
        with Store(path) as store:
            run_suite(suite, seeds=3, store=store, isolate=False)

    for _ in range(n_kills(12)):
        code = kill_at_random(forked(work), rng, 0.15)
        stored = runs_in(path)
        assert len(stored) >= seen, "a finished run was lost"
        seen = len(stored)
        if code != KILLED:
            break
    work()
    keys = [(run.workload, run.seed) for run in runs_in(path)]
    assert sorted(keys) == [(name, seed) for name in "ab" for seed in range(3)]
    assert all(run.outcome == "reached" and len(run.points) == 6 for run in runs_in(path))


def runs_in(path: Path) -> list[Run]:
    if not path.exists() or path.stat().st_size == 0:
        return []
    with Store(path) as store:
        return store.runs()


def _add_all(path: Path, workload: str, entries: list[StoredRun]) -> None:
    with Store(path) as store:
        for suite, run in entries:
            store.add(Run.from_dict({**run.as_dict(), "workload": workload}), suite=suite)


def test_two_processes_write_to_one_store(tmp_path: Path) -> None:
    """Both make the tables at the same moment, and every run of both is kept."""
    from bench_fakes import make_run

    entries = [StoredRun("demo", make_run(seed=seed)) for seed in range(10)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_all, args=(tmp_path / "s.db", name, entries)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted((run.workload, run.seed) for run in runs_in(tmp_path / "s.db")) == [
        (name, seed) for name in "ab" for seed in range(10)
    ]
