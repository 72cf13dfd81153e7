"""DAWNBench entries: a JSON file with the description and, for training, a TSV file of the same name with the curve.

The columns of the TSV file (epoch, hours and metrics) stand in any order; epochs may be fractions or begin at 0. Entries of the
inference track have a latency in milliseconds and an accuracy instead of a curve. They become runs with one measurement: the
accuracy, taken after the latency. So "time to target" ranks them by latency, and one below the track's accuracy never arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, plain, points_of
from etesian.bench.io._reading.files import UnreadableError, json_of, lines_of, shortened
from etesian.bench.io._reading.found import Found, printable, read_each
from etesian.bench.record import Run, StoredRun
from etesian.bench.workload import Target

TARGETS = {
    "ImageNet": Target("top5Accuracy", 93.0),
    "CIFAR10": Target("top1Accuracy", 94.0),
    "SQuAD": Target("f1Score", 0.75),
}
"""The official thresholds, in the units of the files: percent of images, and F1 as a fraction (DAWNBench, 2017)."""

_SECONDS_PER_HOUR = 3600.0
_TIMES = ("epoch", "hours")


def read_dawnbench(path: str | Path, *, target: Target | None = None) -> Iterator[Found]:
    """Read entries of DAWNBench: a folder such as ``dawn-bench-entries``, or one entry's file.

    Parameters
    ----------
    path
        The folder or file. The task is that of the folder (ImageNet, CIFAR10, SQuAD), or else that of the metrics.
    target
        Target in place of the official one, such as 'top5Accuracy>=93.05'.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per entry, in the suite ``dawnbench-<task>-<track>``.

    Raises
    ------
    InputError
        If the path does not exist, or holds nothing in it that could be an entry.
    """
    single = Path(path)

    def read(file: Path) -> Iterable[Found]:
        if file.suffix != ".tsv":
            return [_read_described(file, target)]
        described = file.with_suffix(".json")
        if not described.is_file():
            return [_training_run(file, {}, target)]
        return [_read_described(described, target)] if file == single else []  # in a folder its JSON file is read too

    return read_each(
        path, read, is_candidate=lambda file: file.suffix in (".json", ".tsv"), sought="entry (.json with .tsv)"
    )


def _read_described(file: Path, target: Target | None) -> StoredRun:
    description = json_of(file)
    if "latency" in description:
        return _inference_run(file, description, target)
    curve = file.with_suffix(".tsv")
    if not curve.is_file():
        raise UnreadableError(f"has no latency, and its curve {printable(curve.name)} is missing")
    return _training_run(curve, description, target)


def _training_run(file: Path, description: Mapping[str, Any], target: Target | None) -> StoredRun:
    try:
        measurements = list(_read_curve(file))
    except UnreadableError as error:
        raise UnreadableError(f"{printable(file.name)}: {error}") from None
    task = _task_of(file, measurements[0].metrics if measurements else {})
    return _entry(file, description, task, "train", measurements, target)


def _read_curve(file: Path) -> Iterator[Measurement]:
    columns: list[str] | None = None
    for number, line in lines_of(file):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if columns is None:
            columns = _check_header(cells)
            continue
        if len(cells) != len(columns):
            raise UnreadableError(f"line {number} must have {len(columns)} columns; it has {len(cells)}")
        row = {name: number_of(cell, role=f"line {number}: {name}") for name, cell in zip(columns, cells, strict=True)}
        yield Measurement(row.pop("hours") * _SECONDS_PER_HOUR, {name: _in_units(name, row[name]) for name in row})


def _check_header(cells: list[str]) -> list[str]:
    if not {*_TIMES} < {*cells} or len({*cells}) < len(cells):
        raise UnreadableError(f"must begin with the columns epoch, hours and metrics; got {shortened(' '.join(cells))}")
    return cells


def _inference_run(file: Path, description: Mapping[str, Any], target: Target | None) -> StoredRun:
    metrics = {
        name: _in_units(name, number_of(description[name], role=name))
        for name in ("top1Accuracy", "top5Accuracy", "f1Score")
        if name in description
    }
    latency = number_of(description["latency"], role="latency") / 1000  # milliseconds in the file
    return _entry(file, description, _task_of(file, metrics), "inference", [Measurement(latency, metrics)], target)


def _entry(
    file: Path,
    description: Mapping[str, Any],
    task: str,
    track: str,
    measurements: list[Measurement],
    target: Target | None,
) -> StoredRun:
    target = target or TARGETS[task]
    points = points_of(measurements, target)
    run = Run(
        workload=printable(file.stem),
        seed=0,
        target=target,
        outcome=outcome_of(points, target),
        points=points,
        started=_date_of(description),
        task=f"{task} {'training' if track == 'train' else track}",
        organization=printable(str(description.get("author", ""))),
        system=printable(str(description.get("hardware", ""))),
        progress="epoch" if track == "train" else None,
        details=_details(file, description, track, points[-1].seconds),
    )
    return StoredRun(f"dawnbench-{task.lower()}-{track}", run)


def _details(file: Path, description: Mapping[str, Any], track: str, latency: float) -> dict[str, Any]:
    names = {"codeURL": "url", "commitHash": "commit", "costPerHour": "cost_per_hour", "timestamp": "date"}
    given = {names.get(name, name): value for name, value in description.items()}
    cost = description.get("cost")
    if track == "inference" and isinstance(cost, int | float) and latency > 0:
        given["cost_per_hour"] = cost / latency * _SECONDS_PER_HOUR  # `cost` is of one prediction
    misc = description.get("misc")
    if isinstance(misc, dict) and isinstance(misc.get("batchSize"), int):
        given["batch_size"] = misc["batchSize"]
    dropped = ("author", "authorEmail", "top1Accuracy", "top5Accuracy", "f1Score", "latency")
    return {"track": track, **plain({k: v for k, v in given.items() if k not in dropped}), "file": printable(file.name)}


def _task_of(file: Path, metrics: Mapping[str, float]) -> str:
    """Return the task of the folders that the file lies in, or else that of its metrics."""
    for part in reversed(file.resolve().parts):
        if part in TARGETS:
            return part
    for task, target in TARGETS.items():
        if target.metric in metrics:
            return task
    known = ", ".join(target.metric for target in TARGETS.values())
    raise UnreadableError(f"must have one of the metrics {known}; it has {', '.join(sorted(metrics)) or 'none'}")


def _in_units(name: str, value: float) -> float:
    return value / 100 if name == "f1Score" and value > 1 else value  # one entry gives F1 in per cent


def _date_of(description: Mapping[str, Any]) -> str:
    date = str(description.get("timestamp", ""))
    return date if re.fullmatch(r"\d{4}-\d\d-\d\d", date) else ""
