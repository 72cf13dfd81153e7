"""Scalars of TensorBoard as runs: each folder with event files is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etesian.bench.errors import InputError
from etesian.bench.io._reading.curves import Scalar, measurements_of, outcome_of, seed_of, split_name
from etesian.bench.io._reading.files import UnreadableError, files_below
from etesian.bench.io._reading.found import Found, Ignored, attempt, printable
from etesian.bench.io._reading.tracked_runs import checked, ordered_points
from etesian.bench.io.importers.tensorboard.records import CutOffError, read_events
from etesian.bench.record import Outcome, Run, StoredRun
from etesian.bench.workload import Target


def read_tensorboard(
    path: str | Path, *, target: Target, clock: str | None = None, suite: str = "tensorboard"
) -> Iterator[Found]:
    """Read event files of TensorBoard.

    Parameters
    ----------
    path
        A folder such as ``runs``, or one event file.
    target
        Target of the runs, which names the tag, such as 'loss/validation<=3.28'.
    clock
        Tag that holds the seconds on the run's own clock; by default the wall time since the first event, evaluation included.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run a folder; the folder's name without its number (``adam/seed_3``) is the entry. A run whose file ends within an
        event and that had not arrived has failed: its process was killed.

    Raises
    ------
    InputError
        If the path does not exist, or holds no event file in it.
    """
    root = Path(path)
    folders: dict[Path, list[Path]] = {}
    for file in files_below(root):
        if file == root or ".tfevents." in file.name:
            folders.setdefault(file.parent, []).append(file)
        else:
            yield Ignored(printable(str(file)))
    if not folders:
        raise InputError(f"the folder {root} holds no event file (*.tfevents.*)")
    yield from checked(
        str(root),
        target,
        (
            (str(folder), item)
            for folder, files in folders.items()
            for item in _read_folder(root, folder, files, target=target, clock=clock, suite=suite)
        ),
    )


def _read_folder(
    root: Path, folder: Path, files: list[Path], *, target: Target, clock: str | None, suite: str
) -> Iterator[Found]:
    def read() -> list[Found]:
        scalars, cut_off = _scalars(files, target)
        measurements = measurements_of(scalars, target, clock=clock)
        points, notes = ordered_points(measurements, target, is_wall_time=clock is None)
        entry, seed = _entry_of(root, folder)
        outcome: Outcome = outcome_of(points, target)
        is_failed = cut_off is not None and outcome != "reached"
        run = Run(
            workload=entry,
            seed=seed,
            target=target,
            outcome="failed" if is_failed else outcome,
            points=points,
            error=cut_off if is_failed else None,
            details={"files": [printable(file.name) for file in files], **({"notes": notes} if notes else {})},
        )
        return [StoredRun(suite, run)]

    return attempt(str(files[0] if len(files) == 1 else folder), read)


def _scalars(files: list[Path], target: Target) -> tuple[list[Scalar], str | None]:
    """The scalars of all files of a run, on one clock; and how the last one is cut off, if it is."""
    scalars: list[Scalar] = []
    steps: list[int] = []  # of the target's metric in the files so far
    start: float | None = None
    cut_off = None
    for file in files:
        cut_off = None
        begin = len(scalars)
        try:
            for event in read_events(file):
                start = event.seconds if start is None else start
                scalars += [
                    Scalar(tag, event.step, event.seconds - start, value) for tag, value in event.scalars.items()
                ]
        except CutOffError as error:
            cut_off = f"{printable(file.name)} {error}"
        except UnreadableError as error:
            raise UnreadableError(f"{printable(file.name)}: {error}") from None
        own = [scalar.step for scalar in scalars[begin:] if scalar.name == target.metric]
        _check_continues(file, steps, own)
        steps += own
    if start is None and cut_off is not None:
        raise UnreadableError(cut_off)
    return scalars, cut_off


def _check_continues(file: Path, before: list[int], steps: list[int]) -> None:
    """Refuse a file that begins anew where the files before it, of the same folder, had gone on: it is of another run."""
    if before and steps and steps[0] <= before[0] < max(before):
        raise UnreadableError(
            f"{printable(file.name)} begins again at step {steps[0]}, after a file that reached step {max(before)}: two runs in "
            "one folder; move each to a folder of its own"
        )


def _entry_of(root: Path, folder: Path) -> tuple[str, int]:
    below = folder.relative_to(root).as_posix() if root.is_dir() else "."
    name = printable(folder.resolve().name if below == "." else below)
    entry, number = split_name(name)
    return entry or printable(root.resolve().name), seed_of(name) if number is None else number
