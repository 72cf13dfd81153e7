"""Submitter, system, benchmark and round of an MLPerf log: from its folders, or else from the log itself.

Rounds since v0.6 lie in ``<org>/results/<system>/<benchmark>/result_<k>.txt``, with ``<org>/systems/<system>.json`` next to it.
v0.5 has folders of the submitter's own choosing before ``results``, which belong to the name of the system here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import plain, seed_of
from etesian.bench.io._reading.files import DAMAGES, json_of
from etesian.bench.io._reading.found import printable
from etesian.bench.io.importers.mlperf.log import Log
from etesian.bench.io.importers.mlperf.quality import LATEST, benchmark_named

_ROUND = re.compile(r"(?:training_results_)?v(\d+)\.(\d+)(?:\.\d+)?")
_RESULT = re.compile(r"result_(\d{1,9})\b")
_NOT_GIVEN = ("", "-", "n/a", "none")


@dataclass(frozen=True)
class Place:
    """Position of a log in a submission.

    Parameters
    ----------
    organization, system, benchmark
        Submitter, machine and task.
    round
        Round as a pair of numbers, such as (0, 7).
    round_name
        Name of the round, such as ``"v0.7"``; empty if only the format of the log is known.
    number
        Number that distinguishes the runs of an entry.
    """

    organization: str
    system: str
    benchmark: str
    round: tuple[int, int]
    round_name: str
    number: int


def place_of(path: Path, log: Log) -> Place:
    """Return the position of a log."""
    parts = path.resolve().parts[:-1]
    round_, round_name, after_round = _round_of(parts, log)
    folders = _folders_of(parts, after_round)
    organization, system, benchmark = folders or (
        str(log.settings.get("submission_org", "")),
        str(log.settings.get("submission_platform", "")),
        str(log.settings.get("submission_benchmark") or log.benchmark),
    )
    numbered = _RESULT.match(path.name)
    return Place(
        printable(organization),
        printable(system),
        benchmark_named(printable(benchmark), round_),
        round_,
        round_name,
        int(numbered[1]) if numbered else seed_of(path.name),
    )


def system_file_of(path: Path) -> Path | None:
    """Return the file next to the results that describes the system; None if there is none."""
    for folder in path.resolve().parents:
        if folder.parent.name == "results":
            described = folder.parent.parent / "systems" / f"{folder.name}.json"
            return described if described.is_file() else None
    return None


def describe_system(file: Path | None) -> dict[str, Any]:
    """Describe hardware and software of a system; empty if its file cannot be read, which is reported separately."""
    try:
        return {} if file is None else _described(file)
    except DAMAGES:
        return {}


def _described(file: Path) -> dict[str, Any]:
    data = {name: value for name, value in json_of(file).items() if str(value).strip().lower() not in _NOT_GIVEN}
    model = data.get("accelerator_model_name")
    accelerators = _product(data.get("number_of_nodes"), data.get("accelerators_per_node"))
    hardware = f"{accelerators} x {model}" if accelerators and model else model or data.get("host_processor_model_name")
    described: dict[str, Any] = plain(
        {
            "hardware": hardware,
            "nodes": _product(data.get("number_of_nodes")),
            "accelerators": accelerators,
            "processor": data.get("host_processor_model_name"),
            "framework": data.get("framework"),
            "division": data.get("division"),
        }
    )
    return described


def _round_of(parts: tuple[str, ...], log: Log) -> tuple[tuple[int, int], str, int | None]:
    """The round, its name, and the index of the folder after it."""
    for index in range(len(parts) - 1, -1, -1):
        match = _ROUND.fullmatch(parts[index])
        if match:
            return (int(match[1]), int(match[2])), f"v{match[1]}.{match[2]}", index + 1
    by_format = {"v0.5": (0, 5), "v0.6": (0, 6), "v0.7": LATEST}
    return by_format[log.round], "", None


def _folders_of(parts: tuple[str, ...], after_round: int | None) -> tuple[str, str, str] | None:
    if len(parts) < 4 or parts[-3] != "results":
        return None
    first = after_round if after_round is not None and after_round < len(parts) - 3 else len(parts) - 4
    between = parts[first + 1 : -3]
    return parts[first], "/".join((*between, parts[-2])), parts[-1]


def _product(*numbers: Any) -> int | None:
    product = 1
    for number in numbers:
        if not str(number).strip().isdigit():
            return None
        product *= int(number)
    return product
