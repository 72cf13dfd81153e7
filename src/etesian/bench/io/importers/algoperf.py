"""AlgoPerf's measurements: ``<submission>/study_<k>/<workload>_<framework>/trial_<j>/eval_measurements.csv``.

The clock is ``accumulated_submission_time``, which excludes evaluation. The targets, on the validation set, are those of AlgoPerf's
own ``workload_targets_<version>.json``, next to the submissions or in a folder above. A study with several trials follows the rules
of external tuning: its time is that of its fastest trial, so a study is one run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from etesian.bench.errors import InputError
from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, points_of
from etesian.bench.io._reading.files import DAMAGES, UnreadableError, check_exists, json_of
from etesian.bench.io._reading.found import Found, Ignored, printable, read_each
from etesian.bench.io._reading.rows import Row, csv_rows
from etesian.bench.record import Outcome, Point, Run, StoredRun
from etesian.bench.workload import Target

_PATH = re.compile(
    r"(?:.*/)?(?P<submission>[^/]+)/study_(?P<study>\d{1,6})/(?P<workload>[^/]+?)(?:_(?P<framework>jax|pytorch))?"
    r"/trial_(?P<trial>\d{1,6})/[^/]+"
)
_NAMES = ("eval_measurements.csv", "eval_measurements.csv.gz")
_LOW_IS_GOOD = ("loss", "wer", "ppl")
_CLOCK = "accumulated_submission_time"
_STEPS_ALLOWED = {"self-tuning": 3, "external tuning": 1}
"""Multiple of the step hint from which on a run ends for its steps and not for its time (AlgoPerf v0.5, "Scoring")."""
_FOLDERS_ABOVE = 8


class _Goal(NamedTuple):
    target: Target
    step_hint: int


def read_algoperf(path: str | Path, *, targets: str | Path | None = None) -> Iterator[Found]:
    """Read measurements of AlgoPerf: a folder of submissions, or one CSV file in its place.

    Parameters
    ----------
    path
        The folder or file.
    targets
        JSON file of the targets; by default the one next to the submissions or in a folder above.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per study, in the suite ``algoperf-<workload>``; the entry is the submission. The fastest trial of external
        tuning counts. A run that ends short of its target is out of time (its budget is not recorded), or exhausted if it used
        up its steps.

    Raises
    ------
    InputError
        If the path does not exist, or there are no measurements or no targets.
    """
    check_exists(Path(path))
    targets_file = Path(targets) if targets is not None else _find_targets(Path(path))
    goals = _read_goals(targets_file)

    def read(file: Path) -> list[Found]:
        return [] if file.resolve() == targets_file.resolve() else [_run_of(file, goals)]

    def is_candidate(file: Path) -> bool:
        return file.name in _NAMES or file.resolve() == targets_file.resolve()

    return _best_trials(read_each(path, read, is_candidate=is_candidate, sought=_NAMES[0]))


def _best_trials(found: Iterable[Found]) -> Iterator[Found]:
    """Keep the fastest trial of each study; the others are ignored by name."""
    studies: dict[tuple[object, ...], list[StoredRun]] = {}
    for item in found:
        if isinstance(item, StoredRun):
            details = item.run.details
            study = (item.suite, item.run.workload, details.get("framework"), details["study"])
            studies.setdefault(study, []).append(item)
        else:
            yield item
    for trials in studies.values():
        best = min(trials, key=_score)
        yield best
        for suite, run in (trial for trial in trials if trial is not best):
            name = f"{suite}, {run.workload}, study {run.details['study']}, trial {run.details['trial']}"
            yield Ignored(name, f"counts through the fastest trial of its study, trial {best.run.details['trial']}")


def _score(entry: StoredRun) -> tuple[float, bool, float]:
    """Rank a trial: by its time to the target; if it never arrived, one that ran out of time first, and the longest first."""
    run = entry.run
    if run.seconds is not None:
        return run.seconds, False, 0.0
    return math.inf, run.outcome != "out_of_time", -run.points[-1].seconds


def _find_targets(path: Path) -> Path:
    start = path.resolve()
    for folder in (start, *start.parents)[:_FOLDERS_ABOVE]:
        found = sorted(folder.glob("workload_targets*.json")) if folder.is_dir() else []
        if found:
            return found[-1]
    raise InputError(f"there is no workload_targets*.json at {path} or above; give AlgoPerf's file by --targets")


def _read_goals(path: Path) -> dict[str, _Goal]:
    try:
        workloads = json_of(path)["workloads"]
        return {name: _goal(entry) for name, entry in workloads.items()}
    except (*DAMAGES, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the targets {path} cannot be read: {type(error).__name__}: {error}") from error


def _goal(entry: Any) -> _Goal:
    metric = str(entry["target_metric_name"])
    target = Target(
        f"validation/{metric}",
        number_of(entry["validation_target_value"], role="validation_target_value"),
        "at_most" if metric in _LOW_IS_GOOD else "at_least",
    )
    return _Goal(target, int(entry["step_hint"]))


def _run_of(file: Path, goals: dict[str, _Goal]) -> StoredRun:
    place = _PATH.fullmatch(file.resolve().as_posix())
    if place is None:
        raise UnreadableError("must lie in <submission>/study_<k>/<workload>/trial_<j>")
    goal = goals.get(place["workload"])
    if goal is None:
        raise UnreadableError(f"the target of the workload {place['workload']!r} is not among {', '.join(goals)}")
    measurements = [_measurement(row) for row in csv_rows(file) if goal.target.metric in row.cells]
    points = points_of(measurements, goal.target)
    tuning = "external tuning" if len(list(file.resolve().parent.parent.glob("trial_*"))) > 1 else "self-tuning"
    outcome = _outcome(points, goal, _STEPS_ALLOWED[tuning])
    run = Run(
        workload=printable(place["submission"]),
        seed=int(place["study"]),
        target=goal.target,
        outcome=outcome,
        points=points,
        budget_seconds=points[-1].seconds if outcome == "out_of_time" else None,
        task=printable(place["workload"]),
        organization=printable(place["submission"]),
        details={
            key: int(place[key]) if key != "framework" else place[key]
            for key in ("framework", "study", "trial")
            if place[key]
        }
        | {"tuning": tuning},
    )
    return StoredRun(f"algoperf-{run.task}", run)


def _measurement(row: Row) -> Measurement:
    def number(column: str) -> float:
        if column not in row.cells:
            raise UnreadableError(f"line {row.number} has no {column}")
        return number_of(row.cells[column], role=f"line {row.number}: {column}")

    metrics = {column: number(column) for column in row.cells if "/" in column or column in ("total_duration",)}
    return Measurement(number(_CLOCK), metrics, int(number("global_step")))


def _outcome(points: tuple[Point, ...], goal: _Goal, steps_allowed: int) -> Outcome:
    used_up = points[-1].slices >= steps_allowed * goal.step_hint
    return outcome_of(points, goal.target, otherwise="exhausted" if used_up else "out_of_time")
