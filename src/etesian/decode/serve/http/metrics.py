"""Metrics in the format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etesian.decode.serve.engine import Engine

_KNOWN = (  # others count as one, so that scanners do not fill the metrics
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/models",
    "/tokenize",
    "/detokenize",
    "/metrics",
    "/health",
)
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class _EngineCollector:
    """Reads the counters of the engine when metrics are asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        counters = self._engine.counters
        for name, text, value in (
            ("passes", "Forward passes of the target.", counters.passes),
            ("rows", "Rows of all passes.", counters.rows),
            ("prompt_tokens", "Tokens of prompts.", counters.prompt_tokens),
            ("cached_tokens", "Tokens of prompts that were not read again.", counters.reused_tokens),
            ("generated_tokens", "Tokens of outputs.", counters.tokens),
            ("drafted_tokens", "Drafted tokens that the target scored.", counters.drafted_tokens),
            ("accepted_tokens", "Drafted tokens that the target accepted.", counters.accepted_tokens),
        ):
            yield CounterMetricFamily(f"etesian_{name}", text, value=value)
        yield GaugeMetricFamily("etesian_requests_running", "Requests in slots.", value=self._engine.n_running)
        yield GaugeMetricFamily("etesian_requests_waiting", "Requests in the queue.", value=self._engine.n_waiting)


class Metrics:
    """Counts of one server.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_EngineCollector(engine))
        self.requests = Counter(
            "etesian_http_requests", "Responses by path and status.", ["path", "status"], registry=self._registry
        )
        self.first_byte = Histogram(
            "etesian_first_byte_seconds",
            "Time to the first byte of the body.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.duration = Histogram(
            "etesian_request_seconds",
            "Time to the end of the response.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that counts responses and their times.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"] if scope["path"] in _KNOWN else "other"
        began, has_begun, has_body = time.perf_counter(), False, False

        async def send_counted(message: Message) -> None:
            nonlocal has_begun, has_body
            if message["type"] == "http.response.start":
                has_begun = True
                self._metrics.requests.labels(path, str(message["status"])).inc()
            elif message.get("body") and not has_body:
                has_body = True
                self._metrics.first_byte.labels(path).observe(time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            if not has_begun:  # the response to an unexpected error does not pass through here
                self._metrics.requests.labels(path, "500").inc()
            raise
        finally:
            self._metrics.duration.labels(path).observe(time.perf_counter() - began)
