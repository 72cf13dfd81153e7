"""Checks that a workload keeps its contract: `measure` changes nothing and `advance` returns the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping

from etesian.bench.workload import Workload


def check_workload(workload: Workload, *, seed: int = 0, slices: int = 3) -> list[str]:
    """Run a few slices of a workload and list violations of the contract of `Workload`.

    The same seed is run twice, and once more with repeated measurements after every slice. A workload that is not
    reproducible cannot be checked further.

    Parameters
    ----------
    workload
        Workload to check. It is prepared three times, so `prepare` must reset it.
    seed
        Seed for `Workload.prepare`.
    slices
        Largest number of slices to run.

    Returns
    -------
    list of str
        One sentence for each violation; empty if there are none.
    """
    plain, _ = _last_metrics(workload, seed, slices, measurements=0)
    again, _ = _last_metrics(workload, seed, slices, measurements=0)
    if not _are_equal(plain, again):
        return [f"two runs of {workload.name} with seed {seed} differ: {plain} and {again}"]
    watched, faults = _last_metrics(workload, seed, slices, measurements=2)
    if not _are_equal(plain, watched):
        faults.append(f"measure changes the state: without it {plain}, with two more after each slice {watched}")
    return faults


def _last_metrics(
    workload: Workload, seed: int, slices: int, *, measurements: int
) -> tuple[Mapping[str, float], list[str]]:
    """Return the metrics after the last slice, and the violations on the way."""
    faults: list[str] = []
    workload.prepare(seed)
    for _ in range(slices):
        before = [dict(workload.measure()) for _ in range(measurements)]
        if before and not faults and not _are_equal(before[0], before[-1]):
            faults.append(f"measuring the same state twice differs: {before[0]} and {before[-1]}")
        has_worked = workload.advance()
        if not has_worked:
            if before and not _are_equal(before[-1], workload.measure()):
                faults.append("advance returned False after doing work; False means that no work was left")
            break
    return dict(workload.measure()), faults


def _are_equal(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return True if two measurements are equal, with NaN equal to NaN."""
    return one.keys() == other.keys() and all(
        one[name] == other[name] or (math.isnan(one[name]) and math.isnan(other[name])) for name in one
    )
