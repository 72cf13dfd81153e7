"""Whether an entry tuned for its target does as well on data that decided nothing: `Generalization`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Entry, Race
from etesian.bench.record import Run
from etesian.bench.statistics import (
    Disagreement,
    Estimate,
    accuracy_difference,
    mcnemar,
    mean_difference,
    paired_difference,
)
from etesian.bench.statistics.arrivals import Flags, Floats

PREFIX = "fresh_"
"""Before the name of the target's metric: the same metric on data that decided nothing."""


@dataclass(frozen=True)
class Generalization:
    """Metric on fresh data of the runs of an entry that arrived.

    Parameters
    ----------
    task, target, entry, metric
        Which, and the name of the fresh metric.
    tuned, fresh
        Means of the two metrics where each run ended.
    gap
        Fresh minus tuned, one pair a run.
    baseline
        Entry that it is compared with; None for the baseline itself.
    difference
        Fresh metric minus the baseline's.
    examples
        The same from the answers to each example, over runs and examples both; None where they are not recorded.
    disagreement
        The example-by-example comparison of the first run of each; None where answers are not recorded.
    """

    task: str
    target: str
    entry: str
    metric: str
    tuned: float
    fresh: float
    gap: Estimate
    baseline: str | None
    difference: Estimate | None
    examples: Estimate | None
    disagreement: Disagreement | None

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        words = ("task", "target", "entry", "metric", "tuned", "fresh", "baseline")
        parts = ("gap", "difference", "examples", "disagreement")
        plain = {name: getattr(self, name) for name in words}
        return plain | {name: None if (part := getattr(self, name)) is None else part.as_dict() for name in parts}


def generalize(race: Race, baseline: str | None, options: Options) -> tuple[Generalization, ...]:
    """Compare fresh with tuned for every entry whose runs have measured both.

    The fresh metric is read at a run's last measurement that has both. What each example was answered is read from
    ``details["correct"][metric]``, a list of 0 and 1 in the order of the examples.
    """
    metric = options.fresh or PREFIX + race.target.metric
    pairs = {entry.name: _pairs(entry, race, metric, options) for entry in race.entries}
    against = next((entry for entry in race.entries if entry.name == baseline), None)
    return tuple(
        _generalization(race, entry, against, metric, pairs, options)
        for entry in race.entries
        if len(pairs[entry.name])
    )


def _generalization(
    race: Race, entry: Entry, against: Entry | None, metric: str, pairs: dict[str, Floats], options: Options
) -> Generalization:
    tuned, fresh = pairs[entry.name].T
    gap = paired_difference(fresh, tuned, confidence=options.level)
    names = (race.task, str(race.target), entry.name, metric, float(tuned.mean()), float(fresh.mean()), gap)
    if against is None or against is entry or not len(pairs[against.name]):
        return Generalization(*names, None, None, None, None)
    difference = mean_difference(fresh, pairs[against.name][:, 1], confidence=options.level)
    answers = [_answers(each, race, metric, options) for each in (entry, against)]
    examples, disagreement = None, None
    if all(each is not None for each in answers) and answers[0].shape[1] == answers[1].shape[1]:  # type: ignore[union-attr]
        examples = accuracy_difference(*answers, confidence=options.level)  # type: ignore[arg-type]
        disagreement = mcnemar(answers[0][0], answers[1][0])  # type: ignore[index]
    return Generalization(*names, against.name, difference, examples, disagreement)


def _arrived(entry: Entry, race: Race, options: Options) -> list[Run]:
    passage = entry.curves.passage(race.target.threshold, options.rule)
    return [run for run, arrived in zip(entry.runs, passage.arrived, strict=True) if arrived]


def _pairs(entry: Entry, race: Race, metric: str, options: Options) -> Floats:
    """Tuned and fresh metric of each run that arrived and has both, shape (runs, 2)."""
    pairs = []
    for run in _arrived(entry, race, options):
        both = [
            point.metrics for point in run.points if metric in point.metrics and race.target.metric in point.metrics
        ]
        if both and np.isfinite([both[-1][race.target.metric], both[-1][metric]]).all():
            pairs.append((both[-1][race.target.metric], both[-1][metric]))
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _answers(entry: Entry, race: Race, metric: str, options: Options) -> Flags | None:
    """Whether each run answered each example rightly, shape (runs, examples); None where that is not recorded."""
    recorded = [run.details.get("correct") for run in _arrived(entry, race, options)]
    rows = [each.get(metric) for each in recorded if isinstance(each, dict)]
    if not rows or len(rows) < len(recorded) or any(not isinstance(row, list) for row in rows):
        return None
    if len({len(row) for row in rows if row is not None}) != 1 or not rows[0]:
        return None
    return np.array(rows, dtype=bool)
