"""Held-out evaluation: the metric of the target on data that had no influence on the runs."""

from __future__ import annotations

from dataclasses import dataclass

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
from etesian.bench.statistics.figures import Figures

PREFIX = "fresh_"
"""Prefix of the metric of the target on held-out data."""


@dataclass(frozen=True)
class Generalization(Figures):
    """Held-out metric of the runs of an entry that reached the target.

    Parameters
    ----------
    task, target, entry, metric
        Race, entry and name of the held-out metric.
    tuned, fresh
        Mean of the metric that stopped the runs, and of the held-out one, at the end of each run.
    gap
        Held-out minus tuned metric, one pair per run.
    baseline
        Entry to compare with; None for the baseline itself.
    difference
        Held-out metric minus the baseline's.
    examples
        The same from the answers to each example, over runs and examples; None if they are not recorded.
    disagreement
        Comparison of the answers of the first run of each; None if they are not recorded.
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


def generalize(race: Race, baseline: str | None, options: Options) -> tuple[Generalization, ...]:
    """Compare held-out and tuned metric of every entry whose runs measured both.

    Both are taken at the last measurement that has both. The answers to each example are in
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
    """Return tuned and held-out metric of each run that reached the target, shape (runs, 2)."""
    pairs = []
    for run in _arrived(entry, race, options):
        both = [
            point.metrics for point in run.points if metric in point.metrics and race.target.metric in point.metrics
        ]
        if both and np.isfinite([both[-1][race.target.metric], both[-1][metric]]).all():
            pairs.append((both[-1][race.target.metric], both[-1][metric]))
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _answers(entry: Entry, race: Race, metric: str, options: Options) -> Flags | None:
    """Return the correct answers of each run, shape (runs, examples); None if they are not recorded."""
    recorded = [run.details.get("correct") for run in _arrived(entry, race, options)]
    rows = [each.get(metric) for each in recorded if isinstance(each, dict)]
    if not rows or len(rows) < len(recorded) or any(not isinstance(row, list) for row in rows):
        return None
    if len({len(row) for row in rows if row is not None}) != 1 or not rows[0]:
        return None
    return np.array(rows, dtype=bool)
