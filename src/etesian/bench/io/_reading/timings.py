"""Benchmarks of fixed work as runs: the time of a run is the time that its work took."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from etesian.bench.io._reading.curves import plain
from etesian.bench.io._reading.files import UnreadableError, shortened
from etesian.bench.io._reading.found import printable
from etesian.bench.record import Point, Run, StoredRun
from etesian.bench.workload import Target

COMPLETED = Target("completed", 1.0)
"""Target of a benchmark that measures fixed work: the share of the work that is done."""


def timed_run(
    suite: str,
    workload: str,
    seconds: float,
    *,
    seed: int,
    metrics: Mapping[str, float] | None = None,
    error: str | None = None,
    started: str = "",
    system: str = "",
    details: Mapping[str, Any] | None = None,
) -> StoredRun:
    """Make a run of fixed work; with an error it has failed, and its time is not a time to completion.

    Raises
    ------
    UnreadableError
        If the time is not a positive finite number of seconds.
    """
    if not 0 < seconds < math.inf:
        raise UnreadableError(f"{shortened(workload)}: a time must be a positive number of seconds; got {seconds}")
    completed = 0.0 if error else 1.0
    point = Point(1, seconds, {**(metrics or {}), COMPLETED.metric: completed})
    run = Run(
        workload=printable(workload),
        seed=seed,
        target=COMPLETED,
        outcome="failed" if error else "reached",
        points=(point,),
        error=error,
        started=started,
        system=printable(system),
        details=plain(dict(details or {})),
    )
    return StoredRun(suite, run)


def seed_from_content(*parts: str) -> int:
    """Derive a seed from text: imports of the same content agree, and repeats in other files differ."""
    digest = hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big")
