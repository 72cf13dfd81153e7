"""The half of the demo that trains: word vectors by three schedules, on the documentation of Python's standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from etesian.bench import Run, Store, run_suite
from etesian.bench.report.wording import interval, number
from etesian.bench.statistics import Estimate, Summary, WorkloadSummary, summarize
from etesian.cli.bench_progress import SuiteProgress
from etesian.sparse import WordEmbedding
from etesian.suite.words import N_DIMENSIONS, STEP_SIZE, load_counts, save_counts, words

BASELINE = "serial"
LOOKED_UP = ("day", "server", "integer", "read", "thread", "class")


@dataclass(frozen=True)
class WordsDemo:
    """What was found.

    Parameters
    ----------
    runs
        Every run of the three schedules.
    summary
        Their statistics, with the serial schedule as baseline.
    neighbors
        The nearest words of some words, nearest first.
    """

    runs: Sequence[Run]
    summary: Summary
    neighbors: dict[str, list[str]]

    def as_dict(self) -> dict[str, Any]:
        """Give the findings as JSON allows them."""
        return {
            "target": str(self.summary.target),
            "schedules": {each.workload: self._schedule(each) for each in self.summary.workloads},
            "neighbors": self.neighbors,
        }

    def _schedule(self, each: WorkloadSummary) -> dict[str, Any]:
        return {
            "seconds_to_target": each.median.value,
            "seconds_to_target_interval": [each.median.low, each.median.high],
            "time_over_serial": None if each.ratio is None else each.ratio.as_dict(),
            "epochs": epochs_to_target(self.runs, each.workload),
            "reached": each.outcomes.get("reached", 0),
            "runs": each.runs,
            "bitwise_equal_to_serial": is_bitwise_equal(self.runs, each.workload),
        }


def race_words(folder: Path, store: Path, *, n_seeds: int, console: Console) -> WordsDemo:
    """Race the three schedules, and train vectors to look at.

    Parameters
    ----------
    folder
        Where the counted text goes.
    store
        Where the runs go.
    n_seeds
        Runs of each schedule.
    console
        Where progress is drawn.
    """
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading the standard library's documentation", total=1.0)
        counts = save_counts(folder, lambda share: progress.update(task, completed=share))
    with Store(store) as opened, SuiteProgress(console) as progress_of_runs:
        runs = run_suite(words(folder), seeds=n_seeds, store=opened, progress=progress_of_runs)
    return WordsDemo(runs, summarize(runs, baseline=BASELINE), find_neighbors(counts))


def find_neighbors(counts: Path) -> dict[str, list[str]]:
    """Train on all cores, and look some words up."""
    model = WordEmbedding(N_DIMENSIONS, step_size=STEP_SIZE, max_iter=40, tol=None, random_state=0)
    model.fit(load_counts(counts))
    known = [word for word in LOOKED_UP if word in model.vocabulary_]
    return {word: [near for near, _ in model.most_similar(word, n=5)] for word in known}


def is_bitwise_equal(runs: Sequence[Run], workload: str) -> bool:
    """Whether every run has the bits of the serial run of its seed, after every epoch."""

    def fingerprints(name: str) -> dict[int, list[float]]:
        return {run.seed: [p.metrics["fingerprint"] for p in run.points] for run in runs if run.workload == name}

    return fingerprints(workload) == fingerprints(BASELINE)


def epochs_to_target(runs: Sequence[Run], workload: str) -> list[int]:
    """Epochs to the target, of each run that reached it."""
    return [run.passing[1].slices for run in runs if run.workload == workload and run.passing is not None]


def _with_interval(estimate: Estimate) -> str:
    ends = interval(estimate)
    return f"{number(estimate.value)} ({ends})" if ends else number(estimate.value)


def as_table(found: WordsDemo) -> Table:
    """Draw the findings for a terminal."""
    table = Table(title=f"Word vectors until {found.summary.target}, {found.summary.workloads[0].runs} runs each")
    table.add_column("schedule")
    for heading in ("reached", "seconds (median)", "time / serial", "epochs", "same bits as serial"):
        table.add_column(heading, justify="right")
    for each in found.summary.workloads:
        epochs = sorted(epochs_to_target(found.runs, each.workload))
        table.add_row(
            each.workload,
            f"{each.outcomes.get('reached', 0)} of {each.runs}",
            _with_interval(each.median),
            "1" if each.ratio is None else _with_interval(each.ratio.estimate),
            f"{epochs[0]} to {epochs[-1]}" if epochs else "-",
            "yes" if is_bitwise_equal(found.runs, each.workload) else "no",
        )
    return table


def print_words(found: WordsDemo, console: Console) -> None:
    """Say which schedule arrived when, and what vectors came out."""
    console.print(as_table(found))
    console.print(
        f"[dim]Intervals hold the truth in {found.summary.confidence:.0%} of cases; evaluation is off the clock."
    )
    console.print("\nNearest words, from the documentation of Python's standard library:")
    for word, near in found.neighbors.items():
        console.print(f"  [bold]{word:10}[/bold] {', '.join(near)}")
