"""MLPerf training logs as runs. MAIN PATH of this importer: read the log, place it, time its evaluations, judge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from etesian.bench.io._reading.curves import Measurement, outcome_of, plain, points_of
from etesian.bench.io._reading.files import DAMAGES, UnreadableError, json_of
from etesian.bench.io._reading.found import Found, Ignored, Skipped, printable, read_each, reason_of
from etesian.bench.io.importers.mlperf.log import Evaluation, Log, read_log
from etesian.bench.io.importers.mlperf.place import Place, describe_system, place_of, system_file_of
from etesian.bench.io.importers.mlperf.quality import Quality, quality_of
from etesian.bench.record import Outcome, Point, Run
from etesian.bench.store import StoredRun
from etesian.bench.workload import Target

_LOG_NAME = re.compile(r"(result.*\.txt|.*\.log|.*\.out)(\.gz)?")
_MAX_COMPLAINTS = 5
_DECIMALS = 6  # times since 1970 are not more exact than that


def read_mlperf(path: str | Path, *, target: Target | None = None) -> Iterator[Found]:
    """Read training logs of MLPerf, all four formats: a folder of submissions, or one log.

    Parameters
    ----------
    path
        The folder or file. Organization, system and benchmark are told by the folders
        (``<org>/results/<system>/<benchmark>/result_<k>.txt``), elsewhere by the log itself.
    target
        In place of the benchmark's official one. Needed for benchmarks that are not known here.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run a log, in the suite ``mlperf-<round>-<benchmark>``; the seed is the k of ``result_<k>``.

    Raises
    ------
    InputError
        If there is no such path, or no log in it.

    Notes
    -----
    The time of a run is run_stop - run_start, as MLPerf has it: the evaluation that ends a successful run is taken to be known
    at run_stop. Evaluations made after run_stop, of what had been saved on the way, are placed in proportion to their epoch or
    sample count.
    """

    def read(file: Path) -> Iterable[Found]:
        return _check_system(file) if file.suffix == ".json" else _read_file(file, target)

    return read_each(path, read, is_candidate=_is_candidate, sought="log (result_*.txt, *.log, also .gz)")


def _is_candidate(file: Path) -> bool:
    return _LOG_NAME.fullmatch(file.name) is not None or (file.suffix == ".json" and file.parent.name == "systems")


def _check_system(file: Path) -> Iterator[Ignored]:
    """It is used where the logs are read; they are runs without it too, so one that cannot be read costs no run."""
    try:
        json_of(file)
    except DAMAGES as error:
        yield Ignored(printable(str(file)), f"describes a system, and cannot be read: {reason_of(error)}")


def _read_file(file: Path, target: Target | None) -> Iterator[StoredRun | Skipped]:
    complaints: list[str] = []
    log = read_log(file, complain=complaints.append)
    shown = complaints[:_MAX_COMPLAINTS]
    yield from (Skipped(printable(str(file)), printable(complaint)) for complaint in shown)
    if len(complaints) > len(shown):
        yield Skipped(printable(str(file)), f"{len(complaints) - len(shown)} more lines cannot be read")
    if log.start is None:
        raise UnreadableError("has no run_start, so no time in it can be told")
    place = place_of(file, log)
    yield _run_of(file, log, place, _quality(place, target))


def _quality(place: Place, target: Target | None) -> Quality:
    known = quality_of(place.benchmark, place.round)
    if target is not None and (known is None or len(known.targets) == 1):
        return Quality((target,), is_bleu=known is not None and known.is_bleu)
    if known is None:
        raise UnreadableError(
            f"the target of {place.benchmark or 'its benchmark'!r} is not known; give one by --target"
        )
    return known


def _run_of(file: Path, log: Log, place: Place, quality: Quality) -> StoredRun:
    assert log.start is not None
    run_seconds = None if log.stop is None else round(log.stop - log.start, _DECIMALS)
    if run_seconds is not None and run_seconds < 0:
        raise UnreadableError(f"run_stop stands {-run_seconds:g} s before run_start")
    target = quality.target
    points = _points(log, quality, run_seconds)
    outcome, error = _ending(log, points, target)
    run = Run(
        workload="/".join(filter(None, (place.organization, place.system))) or printable(file.stem),
        seed=place.number,
        target=target,
        outcome=outcome,
        points=points,
        error=error,
        started=datetime.fromtimestamp(log.start, UTC).isoformat(timespec="milliseconds"),
        task=place.benchmark,
        organization=place.organization,
        system=place.system,
        progress=_progress_name(log),
        details=_details(file, log, place, run_seconds),
    )
    return StoredRun("-".join(filter(None, ("mlperf", place.round_name, place.benchmark))), run)


def _points(log: Log, quality: Quality, run_seconds: float | None) -> tuple[Point, ...]:
    if not log.evaluations:
        return ()
    scale = 100.0 if quality.is_bleu and _is_fraction(log.evaluations) else 1.0
    times = _times(log, run_seconds)
    measurements = [
        Measurement(time, _metrics(evaluation, quality, scale, _first_epoch_is_one(log)))
        for time, evaluation in zip(times, log.evaluations, strict=True)
    ]
    return points_of(measurements, quality.target)


def _times(log: Log, run_seconds: float | None) -> list[float]:
    """Seconds from the start of the run to each evaluation."""
    assert log.start is not None
    times = [round(evaluation.seconds - log.start, _DECIMALS) for evaluation in log.evaluations]
    if run_seconds is None:
        return times
    if max(times) > run_seconds:  # evaluated after the run: as far into it as its work was into the run's
        work = [index if e.progress is None else e.progress[1] for index, e in enumerate(log.evaluations, 1)]
        times = [run_seconds * done / max(work) for done in work] if max(work) > 0 else [run_seconds] * len(work)
    if log.is_success is not False:
        times[times.index(max(times))] = run_seconds
    return times


def _metrics(evaluation: Evaluation, quality: Quality, scale: float, epochs_from_zero: bool) -> dict[str, float]:
    unnamed = quality.targets[0].metric
    metrics = quality.with_worst_ratio({name or unnamed: value * scale for name, value in evaluation.values.items()})
    if evaluation.progress is not None:
        name, count = evaluation.progress
        metrics[name] = count + epochs_from_zero
    return metrics


def _is_fraction(evaluations: Iterable[Evaluation]) -> bool:
    return all(value <= 1 for evaluation in evaluations for value in evaluation.values.values())


def _first_epoch_is_one(log: Log) -> bool:
    """Whether epochs are to be counted from 1: the first round counted them from 0, and evaluated after each."""
    first = log.evaluations[0].progress
    return log.round == "v0.5" and first == ("epoch", 0.0)


def _ending(log: Log, points: tuple[Point, ...], target: Target) -> tuple[Outcome, str | None]:
    """How the run ended, and why, by what the log says and by what it measured."""
    if not points:
        return "failed", f"the log ends at line {log.last_line} without an evaluation"
    measured = outcome_of(points, target)
    if log.stop is None:
        if measured == "reached":
            return "reached", None
        return "failed", f"the log ends at line {log.last_line} without run_stop"
    if log.is_success is None or (log.is_success and measured == "reached"):
        return measured, None
    said = f"run_stop says {log.status!r}"
    if log.is_success:
        return measured, f"{said}, and no evaluation stands at {target}"
    return ("failed", f"{said}, though an evaluation stands at {target}") if measured == "reached" else (measured, said)


def _progress_name(log: Log) -> str | None:
    names = {None if evaluation.progress is None else evaluation.progress[0] for evaluation in log.evaluations}
    return names.pop() if len(names) == 1 else None


def _details(file: Path, log: Log, place: Place, run_seconds: float | None) -> dict[str, object]:
    return {
        **describe_system(system_file_of(file)),
        **plain(
            {
                "round": place.round_name,
                "division": log.settings.get("submission_division"),
                "availability": log.settings.get("submission_status"),
                "batch_size": log.batch_size,
                "seed": log.settings.get("seed", log.settings.get("run_set_random_seed")),
                "status": log.status,
                "stated_target": log.stated_target,
                "run_seconds": run_seconds,
                "file": file.name,
            }
        ),
    }
