"""Content of one MLPerf log: start, stop, status, evaluations and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError
from etesian.bench.io.importers.mlperf.events import Event, Round, events_of
from etesian.bench.io.importers.mlperf.quality import metric_named

_PROGRESS = {
    "epoch_num": "epoch",
    "epoch": "epoch",
    "samples_count": "samples",
    "step_num": "step",
    "iteration": "step",
}
_BATCH_SIZES = ("global_batch_size", "train_batch_size", "input_batch_size")
_TARGET_WORDS = frozenset(
    {
        "target",
        "eval",
        "evaluation",
        "val",
        "validation",
        "quality",
        "mlperf",
        "opt",
        "metric",
        "value",
        "score",
        "threshold",
    }
    | {"accuracy", "acc", "top1", "auc", "map", "bleu", "dice", "win", "rate"}
)
_LOSS_WORDS = frozenset({"loss", "log", "perplexity", "ppl", "wer", "error"})


@dataclass
class Evaluation:
    """Metrics of one evaluation, and the time and amount of work at which they were logged.

    Parameters
    ----------
    seconds
        Time of the evaluation in seconds since 1970.
    progress
        Work done before it, such as ``("epoch", 4.0)``; None if the log does not state it.
    values
        Values by metric; by ``""`` if the log does not name the metric.
    """

    seconds: float
    progress: tuple[str, float] | None
    values: dict[str, float]


@dataclass
class Log:
    """Content of one log.

    Parameters
    ----------
    start, stop
        Start and end of the run in seconds since 1970; None if the log does not state them.
    status
        Status of the stop event; None if it states none.
    evaluations
        Evaluations in the order of the log.
    settings
        The first value of each other key.
    benchmark
        Benchmark named by the lines; empty if they name none.
    round
        The first round whose logs have this format.
    last_line
        Number of the last line that was an event.
    """

    start: float | None = None
    stop: float | None = None
    status: str | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    benchmark: str = ""
    round: Round = "v0.7"
    last_line: int = 0

    @property
    def is_success(self) -> bool | None:
        """Return True if the log states success; None if it states nothing."""
        return None if self.status is None else self.status.lower() in ("success", "true")

    @property
    def batch_size(self) -> Any:
        """The batch size over all devices, where the log gives it."""
        return next((self.settings[key] for key in _BATCH_SIZES if key in self.settings), None)

    def stated_targets(self, *, is_loss: bool) -> dict[str, float]:
        """Return the thresholds that the log states, by key; keys that name a loss count only if the metric is one."""
        allowed = _TARGET_WORDS | _LOSS_WORDS if is_loss else _TARGET_WORDS
        found = {}
        for key, value in self.settings.items():
            words = key.lower().split("_")
            if "target" in words and allowed.issuperset(words):
                with suppress(UnreadableError):
                    found[key] = number_of(value, role=key)
        return found

    def drop_evaluations_before_start(self) -> list[Evaluation]:
        """Remove evaluations before the start of the run, such as warm-ups, and return them."""
        if self.start is None:
            return []
        early = [evaluation for evaluation in self.evaluations if evaluation.seconds < (self.start or 0.0)]
        self.evaluations = [evaluation for evaluation in self.evaluations if evaluation not in early]
        return early


def read_log(path: Path, *, complain: Callable[[str], None]) -> Log:
    """Read a log; `complain` is called for lines that have the prefix of a format and cannot be read."""
    log = Log()
    for event in events_of(path, complain=complain):
        log.round, log.last_line = event.round, event.line
        log.benchmark = log.benchmark or event.benchmark
        try:
            _take(log, event)
        except UnreadableError as error:
            complain(f"line {event.line}: {error}")
    if not log.last_line:
        raise UnreadableError("holds no line of an MLPerf log (:::MLLOG, :::MLL, :::MLPv0.5.0 or MLPerf:)")
    return log


def _take(log: Log, event: Event) -> None:
    if event.key == "run_start":
        log.start = event.seconds if log.start is None else min(log.start, event.seconds)  # each process writes its own
    elif event.key == "run_stop":
        log.stop = event.seconds if log.stop is None else max(log.stop, event.seconds)
        log.status = _status_of(event) or log.status
    elif event.key == "eval_accuracy":
        _take_evaluation(log, event)
    elif event.value is not None and event.key not in log.settings:
        log.settings[event.key] = event.value


def _status_of(event: Event) -> str | None:
    said = event.metadata.get("status", event.metadata.get("success"))
    return None if said is None else str(said)


def _take_evaluation(log: Log, event: Event) -> None:
    """Begin an evaluation, or add a metric to the last one if both are of the same point of the run."""
    values, progress = _values_of(event), _progress_of(event.metadata)
    last = log.evaluations[-1] if log.evaluations else None
    if last is not None and last.progress == progress and not values.keys() & last.values.keys():
        last.values |= values
        last.seconds = event.seconds
    else:
        log.evaluations.append(Evaluation(event.seconds, progress, values))


def _values_of(event: Event) -> dict[str, float]:
    if isinstance(event.value, dict):
        return {metric_named(name): _number(value) for name, value in event.value.items()}
    return {metric_named(str(event.metadata.get("metric", ""))): _number(event.value)}


def _number(value: Any) -> float:
    if isinstance(value, str) and value.endswith("%"):
        return number_of(value[:-1], role="eval_accuracy") / 100
    return number_of(value, role="eval_accuracy")


def _progress_of(metadata: Mapping[str, Any]) -> tuple[str, float] | None:
    for key, name in _PROGRESS.items():
        if key in metadata:
            return name, number_of(metadata[key], role=key)
    return None
