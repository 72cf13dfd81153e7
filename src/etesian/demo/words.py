"""Training half of the demo: word vectors with three schedules, from the documentation of Python's standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from etesian.bench import Run, Store, analyze, run_suite
from etesian.bench.analysis import EntryFigures, RaceAnalysis
from etesian.bench.report.model import Cell, Row, Table, estimate_cell, words_cell
from etesian.bench.report.render_terminal import as_rich_table
from etesian.cli.bench_progress import SuiteProgress
from etesian.sparse import WordEmbedding
from etesian.suite.words import N_DIMENSIONS, STEP_SIZE, load_counts, save_counts, words

BASELINE = "serial"
LOOKED_UP = ("day", "server", "integer", "read", "thread", "class")


@dataclass(frozen=True)
class WordsDemo:
    """Findings of the training half.

    Parameters
    ----------
    runs
        Every run of the three schedules.
    race
        Their analysis, with the serial schedule as the baseline.
    neighbors
        Nearest neighbors of some words, nearest first.
    """

    runs: Sequence[Run]
    race: RaceAnalysis
    neighbors: dict[str, list[str]]

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "target": str(self.race.race.target),
            "schedules": {each.name: self._schedule(each) for each in self.race.entries},
            "neighbors": self.neighbors,
        }

    def _schedule(self, each: EntryFigures) -> dict[str, Any]:
        comparison = self.race.comparison(each.name)
        ratio = None if comparison is None else comparison.ratio
        return {
            "seconds_to_target": each.median.value,
            "seconds_to_target_interval": [each.median.low, each.median.high],
            "time_over_serial": None if ratio is None else ratio.as_dict(),
            "epochs": epochs_to_target(self.runs, each.name),
            "reached": each.reached,
            "runs": each.runs,
            "bitwise_equal_to_serial": is_bitwise_equal(self.runs, each.name),
        }


def race_words(folder: Path, store: Path, *, n_seeds: int, console: Console) -> WordsDemo:
    """Compare the three schedules, and train vectors for the sample.

    Parameters
    ----------
    folder
        Folder of the word counts.
    store
        File that stores the runs.
    n_seeds
        Number of runs of each schedule.
    console
        Console that shows progress.
    """
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading the standard library's documentation", total=1.0)
        counts = save_counts(folder, lambda share: progress.update(task, completed=share))
    with Store(store) as opened, SuiteProgress(console) as progress_of_runs:
        runs = run_suite(words(folder), seeds=n_seeds, store=opened, progress=progress_of_runs)
    return WordsDemo(runs, analyze(runs, baseline=BASELINE).races[0], find_neighbors(counts))


def find_neighbors(counts: Path) -> dict[str, list[str]]:
    """Train on all cores, and return the nearest neighbors of some words."""
    model = WordEmbedding(N_DIMENSIONS, step_size=STEP_SIZE, max_iter=40, tol=None, random_state=0)
    model.fit(load_counts(counts))
    known = [word for word in LOOKED_UP if word in model.vocabulary_]
    return {word: [near for near, _ in model.most_similar(word, n=5)] for word in known}


def is_bitwise_equal(runs: Sequence[Run], workload: str) -> bool:
    """Return True if every run has the bits of the serial run of its seed, after every epoch."""

    def fingerprints(name: str) -> dict[int, list[float]]:
        return {run.seed: [p.metrics["fingerprint"] for p in run.points] for run in runs if run.workload == name}

    return fingerprints(workload) == fingerprints(BASELINE)


def epochs_to_target(runs: Sequence[Run], workload: str) -> list[int]:
    """Epochs to the target, of each run that reached it."""
    return [run.passing[1].slices for run in runs if run.workload == workload and run.passing is not None]


def words_table(found: WordsDemo) -> Table:
    """Tabulate the schedules in the order of the suite."""
    ratios = {each.entry: each.ratio for each in found.race.comparisons}
    rows = []
    for each in found.race.entries:
        epochs, ratio = sorted(epochs_to_target(found.runs, each.name)), ratios.get(each.name)
        cells = [
            Cell(f"{each.reached} of {each.runs}"),
            estimate_cell("median_seconds", each.median, "s"),
            Cell("1") if ratio is None else estimate_cell("ratio", ratio.estimate),
            Cell(f"{epochs[0]} to {epochs[-1]}" if epochs else "-"),
            words_cell("yes" if is_bitwise_equal(found.runs, each.name) else "no"),
        ]
        rows.append(Row(each.name, cells))
    headings = ["schedule", "reached", "median time", "time / serial", "epochs", "same bits as serial"]
    return Table(f"Word vectors until {found.race.race.target}, {found.race.entries[0].runs} runs each", headings, rows)


def print_words(found: WordsDemo, console: Console) -> None:
    """Print the times of the schedules, and the nearest words of some words."""
    console.print(as_rich_table(words_table(found)))
    console.print("[dim]Below each time is its 95% interval. Evaluation is off the clock.")
    console.print("\nNearest words, from the documentation of Python's standard library:")
    for word, near in found.neighbors.items():
        console.print(f"  [bold]{word:10}[/bold] {', '.join(near)}")
