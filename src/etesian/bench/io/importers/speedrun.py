"""Logs of modded-nanogpt's speedruns: a fixed schedule of steps, the validation loss along it, and time spent training.

A log begins with the training script and the machine; then come lines such as
``step:1480/1480 val_loss:3.2773 train_time:236843ms step_avg:161.12ms``, or with a time such as ``236.843s``. The clock stands
still during validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, plain, points_of, seed_of
from etesian.bench.io._reading.files import UnreadableError, has_suffix, lines_of, shortened
from etesian.bench.io._reading.found import Found, printable, read_each
from etesian.bench.io.importers.speedrun_readme import stated_statistics
from etesian.bench.record import PUBLISHED, Outcome, Point, Run, StoredRun
from etesian.bench.workload import Target

TARGET = Target("val_loss", 3.28, "at_most")
"""The speedrun's rule: the mean final loss of several runs must be at most this."""

MEDIUM_TARGET = Target("val_loss", 2.92, "at_most")
"""The same of the medium track."""

_MEDIUM_TRACK = re.compile(r"track_?2.*|.*medium.*track.*", re.IGNORECASE)
_VALIDATION = re.compile(
    r"step: ?(\d+)/(\d+)\b.*?\bval_loss: ?([^\s,]+),?\s+train_time: ?(\d+(?:,\d{3})*(?:\.\d+)?) ?(ms|s|sec|min|h)\b"
)
_LOOKS_LIKE_VALIDATION = re.compile(r"step: ?\d+/\d+\b.*\bval_loss:.*\btrain_time:")
_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
_DEVICE = re.compile(r"\|\s+\d+\s+(?P<model>\S.*?)\s+(?:On|Off)\s+\|")
_VERSION = re.compile(r"Running (?P<name>Python|[Pp]y[Tt]orch)(?: version)? (?P<version>\S+)")
_RECORD = re.compile(r"\d{4}-?\d\d-?\d\d[_-].+")
_PLAIN_FOLDERS = ("logs", "log", "runs", "results", "records", "outputs", "output", "txt", "seeds")
_REPEAT_FOLDER = re.compile(r"(?:seed|run|rep|trial)[_-]?\d+", re.IGNORECASE)


@dataclass
class _Log:
    measurements: list[Measurement] = field(default_factory=list)
    scheduled_steps: int | None = None
    devices: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def read_speedrun(path: str | Path, *, target: Target | None = None) -> Iterator[Found]:
    """Read logs of speedruns: a folder of records, or one log.

    Parameters
    ----------
    path
        The folder or file. The entry is named after the dated folder above the log, such as
        ``2024-12-08_UNetValueEmbedsTweaks``, or else after the folders between this one and the log.
    target
        Target of the validation loss; by default val_loss<=2.92 in a folder such as track_2_medium, and val_loss<=3.28 elsewhere.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per log, in the suite ``speedrun``. The whole curve is kept, so that both designs can be applied: first passage,
        and a fixed schedule, whose last measurement counts. Statistics that the README of a record states are kept as
        details.

    Raises
    ------
    InputError
        If the path does not exist, or holds no log in it.
    """
    stated = lru_cache(stated_statistics)

    def read(file: Path) -> list[Found]:
        is_medium = any(map(_MEDIUM_TRACK.fullmatch, file.resolve().parts[:-1]))
        run = _run_of(file, _read_log(file), target or (MEDIUM_TARGET if is_medium else TARGET), Path(path))
        published = stated(Path(*file.resolve().parts[: 1 + len(_folders_of(file))]))
        return [
            StoredRun("speedrun", replace(run, details={**run.details, PUBLISHED: published}) if published else run)
        ]

    return read_each(
        path, read, is_candidate=lambda file: has_suffix(file, ".txt", ".log"), sought="log (*.txt, *.log)"
    )


def _read_log(file: Path) -> _Log:
    log = _Log()
    for number, line in lines_of(file, errors="replace"):
        if match := _VALIDATION.search(line):
            _take_validation(log, match, number)
        elif _LOOKS_LIKE_VALIDATION.search(line):
            raise UnreadableError(
                f"line {number} is not like 'step:1480/1480 val_loss:3.2773 train_time:236843ms': {shortened(line, 80)}"
            )
        elif match := _DEVICE.match(line):
            log.devices.append(match["model"])
        elif match := _VERSION.match(line):
            log.versions[match["name"].lower()] = match["version"]
    if not log.measurements:
        raise UnreadableError("holds no line such as 'step:1480/1480 val_loss:3.2773 train_time:236843ms'")
    return log


def _take_validation(log: _Log, match: re.Match[str], number: int) -> None:
    step, steps = int(match[1]), int(match[2])
    if log.scheduled_steps not in (None, steps) or (log.measurements and step < (log.measurements[-1].slices or 0)):
        raise UnreadableError(f"line {number}: a second run begins here; a log must hold one")
    log.scheduled_steps = steps
    loss = number_of(match[3], role=f"line {number}: val_loss")
    log.measurements.append(
        Measurement(float(match[4].replace(",", "")) * _SECONDS[match[5]], {"val_loss": loss}, step)
    )


def _run_of(file: Path, log: _Log, target: Target, root: Path) -> Run:
    points = points_of(log.measurements, target)
    outcome, error = _ending(points, log.scheduled_steps or 0, target)
    return Run(
        workload=_entry_of(file, root),
        seed=seed_of(_name_of(file)),
        target=target,
        outcome=outcome,
        points=points,
        error=error,
        task="modded-nanogpt",
        system=_system(log.devices),
        details=plain(
            {"design": "fixed_schedule", "scheduled_steps": log.scheduled_steps, **log.versions, "file": file.name}
        ),
    )


def _ending(points: tuple[Point, ...], steps: int, target: Target) -> tuple[Outcome, str | None]:
    if points[-1].slices < steps:
        return "failed", f"the log ends at step {points[-1].slices} of {steps}"
    return outcome_of(points, target), None


def _entry_of(file: Path, root: Path) -> str:
    """Return the folders from the dated one of the record on, or else those below the root."""
    folders = _folders_of(file)
    dated = [index for index, folder in enumerate(folders) if _RECORD.fullmatch(folder)]
    below = folders[dated[-1] if dated else len(root.resolve().parts) - 1 :]
    return printable("/".join(folder for folder in below if folder.lower() not in _PLAIN_FOLDERS) or folders[-1])


def _name_of(file: Path) -> str:
    """Return a name that distinguishes the log from others of its entry: with its folder, if that is named after a repeat."""
    name = file.name.partition(".")[0]
    return f"{file.parent.name}/{name}" if _REPEAT_FOLDER.fullmatch(file.parent.name) else name


def _folders_of(file: Path) -> tuple[str, ...]:
    """Return the folders of a log; ``logs``, ``seed_3`` and the like do not count."""
    folders = file.resolve().parts[1:-1]
    while len(folders) > 1 and (folders[-1].lower() in _PLAIN_FOLDERS or _REPEAT_FOLDER.fullmatch(folders[-1])):
        folders = folders[:-1]
    return folders


def _system(devices: list[str]) -> str:
    counts: dict[str, Any] = {device: devices.count(device) for device in devices}
    return printable(", ".join(f"{count} x {device}" for device, count in counts.items()))
