"""Steps that the importers of experiment trackers share: order of the measurements, seeds, and scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from etesian.bench.io._reading.clock import gaps_in
from etesian.bench.io._reading.consistency import with_checked_scales, with_distinct_seeds
from etesian.bench.io._reading.curves import Measurement, points_of
from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.io._reading.found import Found, Skipped, printable
from etesian.bench.io._reading.order import in_order, lost_steps
from etesian.bench.record import Point, StoredRun
from etesian.bench.workload import Target


def ordered_points(
    measurements: Sequence[Measurement], target: Target, *, is_wall_time: bool = True
) -> tuple[tuple[Point, ...], list[str]]:
    """Make points of tracked measurements, with notes on restarts, lost steps and down-time.

    Parameters
    ----------
    measurements
        Measurements in the order in which they were logged.
    target
        Target of the run, which names the metric.
    is_wall_time
        True if time passes on this clock while the run is down.

    Raises
    ------
    UnreadableError
        If the clock goes back for a reason that is not known.
    """
    steps = [measurement.slices for measurement in measurements]
    known = [float(step) for step in steps if step is not None]
    seconds = [measurement.seconds for measurement in measurements]
    has_steps = len(known) == len(steps) and len(set(known)) > 1
    notes: list[str] = []
    if len(seconds) > 1 and len(set(seconds)) == 1:
        raise UnreadableError(
            f"all {len(seconds)} measurements have the time {seconds[0]:.10g} s: they were logged together"
        )
    if seconds != sorted(seconds):
        ordered = in_order(seconds, known if has_steps else None, _where)
        measurements = [measurements[at]._replace(seconds=time) for at, time in zip(*ordered[:2], strict=True)]
        notes += ordered.notes
    if has_steps:
        notes += lost_steps([measurement.slices or 0 for measurement in measurements], _where)
    if is_wall_time:
        for at, gap in gaps_in([measurement.seconds for measurement in measurements]):
            notes.append(
                f"{gap:g} s pass before measurement {at + 1}, far more than usual; if the run was down, they count"
            )
    return points_of(measurements, target), notes


def _where(at: int) -> str:
    return f"measurement {at + 1}"


def checked(location: str, target: Target, found: Iterable[tuple[str, Found]]) -> Iterator[Found]:
    """Yield the items; refuse runs measured on another scale than the target, and give repeats their own seeds.

    Parameters
    ----------
    location
        File or store that everything was read from.
    target
        Target of the runs.
    found
        Everything found, each with a name that distinguishes it from the others.
    """
    runs: list[tuple[str, StoredRun]] = []
    for name, item in found:
        if isinstance(item, StoredRun):
            runs.append((name, item))
        else:
            yield item
    try:
        entries = with_checked_scales([entry for _, entry in runs])
    except UnreadableError as error:
        yield Skipped(printable(location), str(error))
        return
    yield from with_distinct_seeds(entries, [name for name, _ in runs])
