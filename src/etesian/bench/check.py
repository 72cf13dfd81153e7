"""Whether a workload keeps the contract: its measure changes nothing, its advance tells the truth. Runs off any clock."""

from __future__ import annotations

import math
from collections.abc import Mapping

from etesian.bench.workload import Workload


def check_workload(workload: Workload, *, seed: int = 0, slices: int = 3) -> list[str]:
    """Try a workload for a few slices and tell what in it breaks the contract of `Workload`.

    The same seed is run plainly twice, and once with repeated measurements after every slice. Only a workload whose plain
    runs agree can be judged on the rest, so one that is not reproducible is told as such and not examined further.

    Parameters
    ----------
    workload
        Prepared three times, so `prepare` must start it afresh.
    seed
        Handed to `Workload.prepare`.
    slices
        How many to run, at most.

    Returns
    -------
    list of str
        One sentence for each fault; empty when none was found.
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
    """Metrics after the last slice, and what was found wrong on the way."""
    faults: list[str] = []
    workload.prepare(seed)
    for _ in range(slices):
        before = [dict(workload.measure()) for _ in range(measurements)]
        if before and not faults and not _are_equal(before[0], before[-1]):
            faults.append(f"measuring the same state twice differs: {before[0]} and {before[-1]}")
        has_worked = workload.advance()
        if not has_worked:
            if before and not _are_equal(before[-1], workload.measure()):
                faults.append("advance returned False after work that it did; False means that none was left to do")
            break
    return dict(workload.measure()), faults


def _are_equal(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether two measurements are the same, NaN being equal to NaN."""
    return one.keys() == other.keys() and all(
        one[name] == other[name] or (math.isnan(one[name]) and math.isnan(other[name])) for name in one
    )
