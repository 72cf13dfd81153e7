"""Runs as DAWNBench's files: a JSON file that describes each, and a TSV file with its curve."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etesian._shared.files import atomic_folder
from etesian.bench.record import Run, StoredRun

_SECONDS_PER_HOUR = 3600.0
_UNSAFE = re.compile(r"[^\w.\-]+")
_LONGEST_NAME = 50  # file systems hold 255 bytes, and letters take up to 4


def write_dawnbench(entries: Iterable[StoredRun], folder: str | Path) -> int:
    """Write runs as DAWNBench's files, in folders by task and track.

    Parameters
    ----------
    entries
        Runs with their suites. Those without a measurement have no curve and are left out.
    folder
        Folder to make; it must not exist.

    Returns
    -------
    int
        Number of runs written. The epochs of a run are its measure of progress, or else its slices.

    Raises
    ------
    InputError
        If the path exists, or its parent folder does not.
    """
    with_curve = [entry for entry in entries if entry.run.points]
    names: Counter[str] = Counter()
    with atomic_folder(folder) as made:
        for suite, run in with_curve:
            task = _file_name((run.task or suite).removesuffix(" training").removesuffix(" inference"), "task")
            track = "inference" if run.details.get("track") == "inference" else "train"
            place = made / task / track
            place.mkdir(parents=True, exist_ok=True)
            stem = _file_name(run.workload, "entry")
            names[f"{place}/{stem}"] += 1
            repeat = names[f"{place}/{stem}"]
            _write_entry(place, stem if repeat == 1 else f"{stem}_{repeat}", run, track)
    return len(with_curve)


def _file_name(name: str, fallback: str) -> str:
    """Return a name in signs that file systems hold, which is neither hidden nor a path."""
    return _UNSAFE.sub("-", name)[:_LONGEST_NAME].strip(".") or fallback


def _write_entry(place: Path, stem: str, run: Run, track: str) -> None:
    description = _description(run)
    if track == "inference":
        description |= {"latency": run.points[-1].seconds * 1000, **_finite(run.points[-1].metrics)}
    else:
        (place / f"{stem}.tsv").write_text(_curve(run), encoding="utf-8")
    (place / f"{stem}.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _description(run: Run) -> dict[str, Any]:
    details = run.details
    given = {
        "version": "v1.0",
        "author": run.organization,
        "authorEmail": "",
        "framework": details.get("framework"),
        "codeURL": details.get("url"),
        "commitHash": details.get("commit"),
        "model": details.get("model", run.workload),
        "hardware": run.system or details.get("hardware"),
        "costPerHour": details.get("cost_per_hour"),
        "cost": details.get("cost"),
        "timestamp": details.get("date", run.started[:10]),
        "misc": {"seed": run.seed, "target": str(run.target), "outcome": run.outcome, **_misc(details)},
    }
    return {name: value for name, value in given.items() if value is not None}


def _misc(details: Any) -> dict[str, Any]:
    misc = details.get("misc")
    return dict(misc) if isinstance(misc, dict) else {}


def _curve(run: Run) -> str:
    taken = (run.progress, "hours", "epoch")
    metrics = sorted({name for point in run.points for name in point.metrics if name not in taken})
    lines = ["\t".join(("epoch", "hours", *metrics))]
    for point in run.points:
        epoch = point.metrics.get(run.progress or "epoch", point.slices)
        values = [
            epoch,
            point.seconds / _SECONDS_PER_HOUR,
            *(point.metrics.get(name, float("nan")) for name in metrics),
        ]
        lines.append("\t".join(repr(value) for value in values))
    return "\n".join(lines) + "\n"


def _finite(metrics: Any) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if abs(value) < float("inf")}
