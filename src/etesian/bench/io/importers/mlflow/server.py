"""MLflow's tracking server, through its REST API. Requests only the metrics that are read."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.client import HTTPException
from typing import Any

from etesian.bench.address import hide_credentials
from etesian.bench.errors import InputError
from etesian.bench.io._reading.curves import Scalar, number_of
from etesian.bench.io._reading.files import MAX_DOCUMENT_BYTES, UnreadableError
from etesian.bench.io._reading.found import printable
from etesian.bench.io.importers.mlflow.stores import Place
from etesian.bench.io.importers.mlflow.tracked import Tracked, status_of, value_of

TIMEOUT_SECONDS = 30.0
_PAGE = 1000
_MOST_PAGES = 10_000  # a server that never ends its pages is not waited for


def runs_on_server(url: str) -> Iterator[Place]:
    """Yield the runs of all experiments of a tracking server.

    Raises
    ------
    InputError
        If it cannot be reached or does not answer as MLflow does.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise InputError(f"a tracking server's address must be valid; got {hide_credentials(url)}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(f"a tracking server's address begins with http:// or https://; got {hide_credentials(url)}")
    if "@" in parts.netloc or parts.query:
        raise InputError(f"a tracking server's address must not hold secrets; got {hide_credentials(url)}")
    server = _Server(url.rstrip("/"))
    try:
        experiments = {
            str(entry["experiment_id"]): str(entry.get("name", ""))
            for entry in server.pages("experiments/search", {}, "experiments")
        }
        found = list(server.pages("runs/search", {"experiment_ids": list(experiments)}, "runs")) if experiments else []
        ids = [str(entry["info"]["run_id"]) for entry in found]
    except (UnreadableError, OSError, KeyError, TypeError, AttributeError, RecursionError, HTTPException) as error:
        raise InputError(f"the tracking server {url} cannot be read: {error}") from error
    for run_id, entry in zip(ids, found, strict=True):
        yield Place(f"{url}, run {printable(run_id)}", partial(_read_entry, server, entry, experiments))


class _Server:
    def __init__(self, url: str) -> None:
        self._api = f"{url}/api/2.0/mlflow"

    def pages(self, method: str, body: dict[str, Any], key: str) -> Iterator[Any]:
        """Post a request, and yield the items that all pages of the answer list under `key`."""
        token = ""
        for _ in range(_MOST_PAGES):
            page = {**body, "max_results": _PAGE} | ({"page_token": token} if token else {})
            answer = self._ask(urllib.request.Request(f"{self._api}/{method}", _encoded(page), _JSON))  # noqa: S310
            yield from answer.get(key, [])
            token = answer.get("next_page_token", "")
            if not token:
                return
        raise UnreadableError(f"{method} does not come to an end")

    def history(self, run_id: str, metric: str) -> Iterator[Any]:
        """Yield the values of a metric of a run."""
        token = ""
        for _ in range(_MOST_PAGES):
            query = {"run_id": run_id, "metric_key": metric, "max_results": _PAGE * 25}
            query |= {"page_token": token} if token else {}
            url = f"{self._api}/metrics/get-history?{urllib.parse.urlencode(query)}"
            answer = self._ask(urllib.request.Request(url))  # noqa: S310 - the scheme was checked
            yield from answer.get("metrics", [])
            token = answer.get("next_page_token", "")
            if not token:
                return
        raise UnreadableError(f"the history of {metric} does not come to an end")

    @staticmethod
    def _ask(request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                content = answer.read(MAX_DOCUMENT_BYTES + 1)
        except HTTPException as error:
            raise UnreadableError(f"an answer is not HTTP: {error!r}") from None
        if len(content) > MAX_DOCUMENT_BYTES:
            raise UnreadableError(f"an answer is larger than {MAX_DOCUMENT_BYTES:,} bytes")
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise UnreadableError("an answer is not JSON") from None
        if not isinstance(data, dict):
            raise UnreadableError("an answer is not a JSON object")
        return data


_JSON = {"Content-Type": "application/json"}


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _read_entry(server: _Server, entry: Any, experiments: dict[str, str]) -> Tracked:
    try:
        info, data = entry["info"], entry.get("data", {})
        start = int(number_of(info["start_time"], role="start_time"))
        names = [str(metric["key"]) for metric in data.get("metrics", [])]
        history = [_scalar(name, value, start) for name in names for value in server.history(str(info["run_id"]), name)]
        return Tracked(
            id=str(info["run_id"]),
            name=str(info.get("run_name", "")),
            experiment=experiments.get(str(info.get("experiment_id")), ""),
            status=status_of(str(info["status"])),
            start=start,
            is_deleted=info.get("lifecycle_stage") == "deleted",
            params={str(param["key"]): str(param["value"]) for param in data.get("params", [])},
            history=history,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"the server's answer lacks {error}") from None


def _scalar(name: str, value: Any, start: int) -> Scalar:
    seconds = (number_of(value["timestamp"], role="timestamp") - start) / 1000
    step = int(number_of(value.get("step", 0), role="step"))
    return Scalar(name, step, seconds, value_of(number_of(value["value"], role=name)))
