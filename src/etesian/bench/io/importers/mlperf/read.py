"""MLPerf training logs as runs. MAIN PATH of this importer: read the log, find its target, time its evaluations, judge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from etesian.bench.io._reading.consistency import with_checked_scales
from etesian.bench.io._reading.curves import Measurement, outcome_of, plain, points_of
from etesian.bench.io._reading.files import DAMAGES, UnreadableError, files_below, json_of
from etesian.bench.io._reading.found import Found, Ignored, Skipped, printable, read_each, reason_of
from etesian.bench.io.importers.mlperf.log import Evaluation, Log, read_log
from etesian.bench.io.importers.mlperf.place import Place, describe_system, place_of, system_file_of
from etesian.bench.io.importers.mlperf.quality import Quality, quality_of
from etesian.bench.record import Outcome, Point, Run, StoredRun
from etesian.bench.workload import Target

_LOG_NAME = re.compile(r"(result.*\.txt|.*\.log|.*\.out)(\.gz|\.bz2|\.xz|\.zst|\.zip)?")
_MAX_COMPLAINTS = 5
_EARLY = 0.05  # of the run's time
_LATER = (99, 9)  # than any round
_MOST_PERCENT = 100.0
_DECIMALS = 6  # times since 1970 are not more exact than that


def read_mlperf(path: str | Path, *, target: Target | None = None) -> Iterator[Found]:
    """Read training logs of MLPerf, from any round: a folder of submissions, or one log.

    Organization, system and benchmark are those of the folders (<org>/results/<system>/<benchmark>/result_<k>.txt), or else of
    the log itself. The target is the one that the log states, or else the official one of the round and benchmark.

    Parameters
    ----------
    path
        The folder or file.
    target
        Target in place of the official one. Logs of benchmarks without its metric are refused.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per log, in the suite ``mlperf-<round>-<benchmark>``; the seed is the k of ``result_<k>``. Whatever casts doubt
        on a run, such as a success stated long after the target was met, is in its notes.

    Raises
    ------
    InputError
        If the path does not exist, or holds no log.

    Notes
    -----
    The time of a run is run_stop - run_start, as MLPerf defines it: the evaluation that ends a successful run counts as known
    at run_stop. Evaluations made after run_stop, of saved checkpoints, are placed in proportion to their epoch or sample count.
    Evaluations made before run_start are warm-ups and are dropped with a note.
    """
    is_mixed = target is not None and _has_several_benchmarks(Path(path))

    def read(file: Path) -> Iterable[Found]:
        return _check_system(file) if file.suffix == ".json" else _read_file(file, target, is_mixed=is_mixed)

    return read_each(path, read, is_candidate=_is_candidate, sought="log (result_*.txt, *.log, also compressed)")


def _has_several_benchmarks(path: Path) -> bool:
    folders = {file.parent.name for file in files_below(path) if _LOG_NAME.fullmatch(file.name)}
    return len(folders) > 1


def _is_candidate(file: Path) -> bool:
    return _LOG_NAME.fullmatch(file.name) is not None or (file.suffix == ".json" and file.parent.name == "systems")


def _check_system(file: Path) -> Iterator[Ignored]:
    """Report a system description that cannot be read; the logs are runs without it too."""
    try:
        json_of(file)
    except DAMAGES as error:
        yield Ignored(printable(str(file)), f"describes a system, and cannot be read: {reason_of(error)}")


def _read_file(file: Path, target: Target | None, *, is_mixed: bool) -> Iterator[StoredRun | Skipped]:
    complaints: list[str] = []
    log = read_log(file, complain=complaints.append)
    shown = complaints[:_MAX_COMPLAINTS]
    yield from (Skipped(printable(str(file)), printable(complaint)) for complaint in shown)
    if len(complaints) > len(shown):
        yield Skipped(printable(str(file)), f"{len(complaints) - len(shown)} more lines cannot be read")
    if log.start is None:
        raise UnreadableError("has no run_start, so it has no times")
    place = place_of(file, log)
    early = log.drop_evaluations_before_start()
    notes = [f"dropped {len(early)} evaluation(s) made before run_start"] if early else []
    if target is None:
        quality, more = _official_quality(log, place)
    else:
        quality, more = _own_quality(place, target, is_mixed=is_mixed), []
    entry = _run_of(file, log, place, quality, notes + more)
    yield from [entry] if target is None else with_checked_scales([entry])


def _official_quality(log: Log, place: Place) -> tuple[Quality, list[str]]:
    """Return the target that the log states or, if it states none, that of the rules; and notes on their differences."""
    latest = quality_of(place.benchmark, _LATER)
    stated = log.stated_targets(is_loss=latest is None or latest.target.direction == "at_most")
    try:
        official = quality_of(place.benchmark, place.round)
    except UnreadableError:
        if latest is None or not stated:
            raise
        official = latest
    if official is None:
        said = [f"{value:g}" for value in stated.values()]
        hint = f"; the log states {' and '.join(said)}, but not the direction" if said else ""
        raise UnreadableError(
            f"the target of {place.benchmark or 'its benchmark'!r} is not known; give it by --target{hint}"
        )
    qualities = {key: official.with_stated(value) for key, value in stated.items()}
    if len({quality.target for quality in qualities.values()}) > 1:
        listed = ", ".join(f"{key} {value:g}" for key, value in stated.items())
        raise UnreadableError(f"states different targets ({listed}); give the one that holds by --target")
    quality = next(iter(qualities.values()), official)
    if quality == official:
        return official, []
    rules = f"the rules of {place.round_name}" if place.round_name else "the rules"
    return quality, [f"the log states the target {quality.target}, {rules} {official.target}; the stated one is used"]


def _own_quality(place: Place, target: Target, *, is_mixed: bool) -> Quality:
    try:
        known = quality_of(place.benchmark, place.round)
    except UnreadableError:
        known = quality_of(place.benchmark, _LATER)
    if known is not None:
        return known.with_target(target)
    if is_mixed:
        raise UnreadableError(
            f"the metric of {place.benchmark or 'its benchmark'!r} is not known, so --target {target} may not be meant for it; "
            "import the folder of this benchmark alone"
        )
    return Quality((target,))


def _run_of(file: Path, log: Log, place: Place, quality: Quality, notes: list[str]) -> StoredRun:
    assert log.start is not None
    run_seconds = None if log.stop is None else round(log.stop - log.start, _DECIMALS)
    if run_seconds is not None and run_seconds < 0:
        raise UnreadableError(f"run_stop stands {-run_seconds:g} s before run_start")
    target = quality.target
    points = _points(log, quality, run_seconds)
    outcome, error = _ending(log, points, target)
    notes = [*notes, *_doubts(log, points, target, run_seconds)]
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
        details=_details(file, log, place, run_seconds, target) | ({"notes": notes} if notes else {}),
    )
    return StoredRun("-".join(filter(None, ("mlperf", place.round_name, place.benchmark))), run)


def _points(log: Log, quality: Quality, run_seconds: float | None) -> tuple[Point, ...]:
    if not log.evaluations:
        return ()
    scale = _scale(log, quality)
    times = _times(log, run_seconds)
    measurements = [
        Measurement(time, _metrics(evaluation, quality, scale, _first_epoch_is_one(log)))
        for time, evaluation in zip(times, log.evaluations, strict=True)
    ]
    return points_of(sorted(measurements, key=lambda measurement: measurement.seconds), quality.target)


def _times(log: Log, run_seconds: float | None) -> list[float]:
    """Return the seconds from the start of the run to each evaluation."""
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
    metrics = quality.with_worst_ratio(
        {
            name or unnamed: value if scale == 1 else float(f"{value * scale:.12g}")
            for name, value in evaluation.values.items()
        }
    )
    if evaluation.progress is not None:
        name, count = evaluation.progress
        metrics[name] = count + epochs_from_zero
    return metrics


def _scale(log: Log, quality: Quality) -> float:
    """Return the factor that brings the values to the scale of the target: BLEU in points, and other shares as fractions."""
    largest = max((value for evaluation in log.evaluations for value in evaluation.values.values()), default=0.0)
    if quality.is_bleu:
        return 100.0 if largest <= 1 else 1.0
    target = quality.target
    is_share = len(quality.targets) == 1 and target.direction == "at_least" and target.threshold <= 1
    return 0.01 if is_share and 1 < largest <= _MOST_PERCENT else 1.0


def _first_epoch_is_one(log: Log) -> bool:
    """Return whether epochs need to be counted from 1: the first round counted from 0 and evaluated after each."""
    first = log.evaluations[0].progress
    return log.round == "v0.5" and first == ("epoch", 0.0)


def _ending(log: Log, points: tuple[Point, ...], target: Target) -> tuple[Outcome, str | None]:
    """Return how the run ended and why, by its status and its measurements."""
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


def _doubts(log: Log, points: tuple[Point, ...], target: Target, run_seconds: float | None) -> list[str]:
    """Return notes on a stated success whose target is met long before run_stop, or never."""
    if not log.is_success or not points or run_seconds is None:
        return []
    at = next((at for at, point in enumerate(points) if target.is_reached(point.metrics[target.metric])), None)
    if at is None:
        return [f"run_stop states success, and no evaluation meets {target}: the target may be another"]
    early, rest = run_seconds - points[at].seconds, len(points) - 1 - at
    if rest and early > _EARLY * run_seconds:
        return [
            f"{target} is met at {points[at].seconds:g} s, {rest} evaluation(s) before run_stop at {run_seconds:g} s: "
            "the target may be another"
        ]
    return []


def _progress_name(log: Log) -> str | None:
    names = {None if evaluation.progress is None else evaluation.progress[0] for evaluation in log.evaluations}
    return names.pop() if len(names) == 1 else None


def _details(file: Path, log: Log, place: Place, run_seconds: float | None, target: Target) -> dict[str, object]:
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
                "stated_target": next(iter(log.stated_targets(is_loss=target.direction == "at_most").values()), None),
                "run_seconds": run_seconds,
                "file": file.name,
            }
        ),
    }
