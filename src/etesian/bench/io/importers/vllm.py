"""Results of ``vllm bench serve``, ``throughput`` and ``latency``: each result is one run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError, document_of, has_suffix, shortened
from etesian.bench.io._reading.found import Found, attempt, read_each
from etesian.bench.io._reading.serving import ServingResult, serving_run
from etesian.bench.io._reading.timings import seed_from_content

_MAX_BYTES = 1 << 28  # --save-detailed keeps every request
_LATENCY = re.compile(r"(?:probe_)?(?:mean|median|std|max|p\d[\d.]*)_\w+_ms")
_FIGURE = re.compile(
    r"\w*throughput|(?:requests|tokens)_per_second|request_goodput|spec_decode_acceptance_(?:rate|length)"
    r"|total_(?:in|out)put_tokens"
)
_LOAD = ("request_rate", "max_concurrency", "ramp_up_strategy")
_DECODER = json.JSONDecoder()


def read_vllm(path: str | Path, *, latency: str | None = None, suite: str = "vllm-bench") -> Iterator[Found]:
    """Read results of vllm bench (serve, throughput or latency).

    Parameters
    ----------
    path
        A JSON file as --save-result, --append-result or --output-json write it, or a folder of them.
    latency
        Latency that is the time of a run, such as p99_ttft_ms; by default the duration of the benchmark, in which all requests
        must have been answered.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per result, for any number of requests.

    Raises
    ------
    InputError
        If the path does not exist, or holds no JSON file.
    """

    def read(file: Path) -> Iterator[Found]:
        text = document_of(file, max_bytes=_MAX_BYTES)
        for number, (data, part) in enumerate(_objects(text), 1):

            def run(data: Mapping[str, Any] = data, part: str = part) -> list[Found]:
                return [serving_run(suite, _result(file, data), latency=latency, seed=seed_from_content(part))]

            yield from attempt(f"{file}, result {number}", run)

    return read_each(path, read, is_candidate=_is_result, sought="file (*.json)")


def _is_result(file: Path) -> bool:
    """Return True for results, and False for the copies in PyTorch's format that vLLM may write next to them."""
    return has_suffix(file, ".json", ".jsonl") and ".pytorch." not in file.name


def _objects(text: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the JSON objects of a file, which grows with --append-result."""
    at, found = 0, 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            data, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UnreadableError(f"is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise UnreadableError(f"must hold JSON objects; got {type(data).__name__}")
        yield data, text[at:end]
        at, found = end, found + 1
    if not found:
        raise UnreadableError("holds no result")


def _result(file: Path, data: Mapping[str, Any]) -> ServingResult:
    duration, completed, kind = _kind(data)
    model = str(data.get("model_id") or data.get("label") or file.name.partition(".")[0])
    label = data.get("label")
    load = [f"{name} {data[name]}" for name in _LOAD if data.get(name) is not None]
    sent = data.get("num_prompts", data.get("num_requests"))
    work = [] if sent is None else [f"{sent} requests"]  # the duration of other numbers of requests is another quantity
    return ServingResult(
        workload=", ".join([model, *([str(label)] if label and label != model else []), *load, *work]),
        duration=duration,
        completed=completed,
        unfinished=_unanswered(data, completed),
        latencies=_latencies(data),
        metrics={
            name: number_of(value, role=name)
            for name, value in data.items()
            if value is not None and _FIGURE.fullmatch(name)
        },
        started=_started(data),
        details={"kind": kind, "backend": data.get("backend") or data.get("endpoint_type"), "file": file.name},
    )


def _unanswered(data: Mapping[str, Any], completed: float) -> float:
    """Return the number of requests without an answer; versions before ``failed`` state only how many were sent."""
    if data.get("failed") is not None:
        return number_of(data["failed"], role="failed")
    sent = data.get("num_prompts")
    return 0.0 if sent is None else max(number_of(sent, role="num_prompts") - completed, 0.0)


def _latencies(data: Mapping[str, Any]) -> dict[str, float]:
    """Return the latencies of requests; for ``vllm bench latency``, the percentiles of the latency of a batch in seconds."""
    found = {name: number_of(value, role=name) for name, value in data.items() if _LATENCY.fullmatch(name)}
    percentiles = data.get("percentiles")
    if isinstance(percentiles, Mapping):
        found |= {f"p{percent}_latency": number_of(value, role="percentiles") for percent, value in percentiles.items()}
    return found


def _started(data: Mapping[str, Any]) -> str:
    """Return the local time of the benchmark as ISO 8601; vLLM writes no time zone."""
    try:
        return datetime.strptime(str(data.get("date", "")), "%Y%m%d-%H%M%S").isoformat()
    except ValueError:
        return ""


def _kind(data: Mapping[str, Any]) -> tuple[float, float, str]:
    """Return duration, completed requests and the kind of benchmark."""
    if "duration" in data and "completed" in data:
        return number_of(data["duration"], role="duration"), number_of(data["completed"], role="completed"), "serve"
    if "elapsed_time" in data and "num_requests" in data:
        requests = number_of(data["num_requests"], role="num_requests")
        return number_of(data["elapsed_time"], role="elapsed_time"), requests, "throughput"
    if "avg_latency" in data:
        return number_of(data["avg_latency"], role="avg_latency"), 1.0, "latency"
    raise UnreadableError(f"is not a result of vllm bench; its fields are {shortened(', '.join(data), 80)}")
