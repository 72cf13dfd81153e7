"""Checks over the runs of one source: percentages against fractions, and repeats that share a seed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from etesian.bench.io._reading.curves import seed_of
from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.record import Run, StoredRun
from etesian.bench.workload import Target

_SHARE = re.compile(
    r"acc[15]?|accuracy|top_?\W?[15]|precision|recall|f1|auc|roc|m?ap|iou|m?iou|dice|hits?|win|pass|success|ndcg|mrr|bleu|rouge|em"
    r"|exact"
    r"|(?:err|error|wer|cer)(?:rate)?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*")  # val_top1Accuracy: val, top1, Accuracy
_NOT_A_SHARE = re.compile(r"loss|squared|absolute|mse|mae|rmse|perplexity|seconds|time", re.IGNORECASE)
_MOST_PERCENT = 100.0


def with_checked_scales(entries: Sequence[StoredRun]) -> list[StoredRun]:
    """Return the runs of one source, with a note where the target may be on another scale than the measurements.

    Raises
    ------
    UnreadableError
        If it certainly is.
    """
    by_target: dict[Target, list[Run]] = {}
    for entry in entries:
        by_target.setdefault(entry.run.target, []).append(entry.run)
    doubts = {}
    for target, runs in by_target.items():
        if (conflict := _scale_conflict(target, runs)) is not None:
            raise UnreadableError(conflict)
        doubts[target] = _scale_doubt(target, runs)
    return [
        entry if (doubt := doubts[entry.run.target]) is None else StoredRun(entry.suite, _with_note(entry.run, doubt))
        for entry in entries
    ]


def _with_note(run: Run, note: str) -> Run:
    return replace(run, details={**run.details, "notes": [*run.details.get("notes", []), note]})


def _scale_conflict(target: Target, runs: Sequence[Run]) -> str | None:
    """Say why a target and the values measured are on different scales, percent and fraction; None if they are not.

    Only metrics that are shares by their name are judged, and only if reading the target on the other scale would change when
    a run arrives.
    """
    values = [[point.metrics[target.metric] for point in run.points] for run in runs]
    finite = [abs(value) for of_run in values for value in of_run if math.isfinite(value)]
    if not finite or not _is_share(target.metric):
        return None
    largest, threshold = max(finite), abs(target.threshold)
    if threshold <= 1 and 1.01 < largest <= _MOST_PERCENT * 1.01:
        factor, scales = 100.0, ("percent", "a fraction")
    elif 1 < threshold <= _MOST_PERCENT and largest <= 1:
        factor, scales = 0.01, ("fractions", "in percent")
    else:
        return None
    other = replace(target, threshold=target.threshold * factor)
    if all(_arrival(target, of_run) == _arrival(other, of_run) for of_run in values):
        return None
    return (
        f"{target.metric} lies between {min(finite):g} and {largest:g} ({scales[0]}), and the target {target} is {scales[1]}; "
        f"give the target on the same scale: --target '{Target(target.metric, float(f'{other.threshold:.12g}'), target.direction)}'"
    )


def _scale_doubt(target: Target, runs: Sequence[Run]) -> str | None:
    """Say that a target may be on another scale than a metric which does not show it by its name; None if it may not.

    Then all values are beyond 1 and the target is not, or the reverse, and every run arrives with its first measurement or none
    comes close.
    """
    values = [[point.metrics[target.metric] for point in run.points] for run in runs if run.points]
    finite = [value for of_run in values for value in of_run if math.isfinite(value)]
    if not finite or target.direction != "at_least" or not 0 < target.threshold <= _MOST_PERCENT:
        return None
    low, high = min(finite), max(finite)
    arrives_at_once = all(_arrival(target, of_run) == 0 for of_run in values) and any(
        len(of_run) > 1 for of_run in values
    )
    is_percent = arrives_at_once and target.threshold <= 1 < low and high <= _MOST_PERCENT
    is_fraction = low >= 0 and high <= 1 < target.threshold
    if not (is_percent or is_fraction):
        return None
    return f"{target.metric} lies between {low:g} and {high:g}, and the target is {target.threshold:g}: is it on another scale?"


def with_distinct_seeds(entries: Iterable[StoredRun], names: Iterable[str]) -> list[StoredRun]:
    """Derive new seeds from the names of runs that share suite, workload, seed and target; the first one keeps its own.

    The seed that the program used is kept in the details.
    """
    known: set[tuple[str, str, int, Target]] = set()
    distinct = []
    for (suite, run), name in zip(entries, names, strict=True):
        if (suite, run.workload, run.seed, run.target) in known:
            run = replace(run, seed=seed_of(name), details={"seed": run.seed, **run.details})  # noqa: PLW2901
        known.add((suite, run.workload, run.seed, run.target))
        distinct.append(StoredRun(suite, run))
    return distinct


def _is_share(metric: str) -> bool:
    words = _WORD.findall(metric)
    return not _NOT_A_SHARE.search(metric) and any(_SHARE.fullmatch(word) for word in words)


def _arrival(target: Target, values: Sequence[float]) -> int | None:
    return next((at for at, value in enumerate(values) if target.is_reached(value)), None)
