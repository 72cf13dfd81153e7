"""MAIN PATH of serving with several replicas: check a request, choose the replica of its conversation, relay the response.

Every replica runs the application of `create_app`. The front checks requests as the application does, so that refused ones
reach no replica, and implements no endpoint but the sums in ``/health`` and ``/metrics``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from etesian.decode.serve.http.errors import HANDLERS, ApiError
from etesian.decode.serve.http.guard import Guard, read_bytes
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.http.waiting import disconnected, error_event
from etesian.decode.serve.tasks import Failed

_log = logging.getLogger("etesian")
_SENT = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "root_path", "query_string", "headers")
"""Parts of a scope that replicas receive; the rest belongs to this process."""
_OPENING = 256  # characters of a text that choose its replica
_BUSY = (429, 503)
_NAMED_EVENTS = "/v1/responses"  # its events have names


class LostError(Exception):
    """A replica has died, does not respond or does not know the exchange."""


class Replica(Protocol):
    """A replica of the application in another process. Methods raise `LostError`."""

    async def begin(self, exchange: str, scope: Scope, body: bytes) -> None:
        """Send a request, under a name for the exchange."""

    async def receive(self, exchange: str) -> list[Message]:
        """Return the next messages of the response; may return none, but only after a while."""

    async def leave(self, exchange: str) -> None:
        """Abandon an exchange, without waiting."""

    async def wait_until_ready(self) -> None:
        """Return when the replica responds, however long that takes."""


def create_front(replicas: Sequence[Replica], options: ServerOptions) -> Starlette:
    """Return the ASGI application that distributes requests over replicas of the same application.

    Parameters
    ----------
    replicas : sequence of Replica
        Their applications have the same `options`.
    options : ServerOptions
    """
    front = _Front(replicas, options)
    app = Starlette(
        routes=[Mount("/", app=front)], middleware=[Middleware(Guard, options=options)], exception_handlers=HANDLERS
    )
    app.state.expire = front.expire
    return app


def session_of(owner: str, body: bytes) -> str:
    """Return an identifier shared by the requests of a conversation: its opening, or the client's ``prompt_cache_key``."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return owner  # the application refuses it
    if not isinstance(asked, dict):
        return owner
    if isinstance(key := asked.get("prompt_cache_key"), str):
        return f"{owner} {key}"
    said = asked.get("messages") or asked.get("input") or asked.get("prompt")
    if not isinstance(said, list) or not all(isinstance(message, dict) for message in said):
        return f"{owner} {json.dumps(said)[:_OPENING]}"
    by_user = [number for number, message in enumerate(said) if message.get("role") == "user"]
    return f"{owner} {json.dumps(said[: by_user[0] + 1] if by_user else said)}"


def ranked(session: str, n_replicas: int) -> list[int]:
    """Return the numbers of the replicas in the order of a session's preference (rendezvous hashing).

    The sessions of a replica that is lost spread over all others, and return when it does.
    """

    def weight(number: int) -> bytes:
        return hashlib.sha256(f"{number} {session}".encode("utf-8", "surrogatepass")).digest()

    return sorted(range(n_replicas), key=weight)


class _Front:
    """Relays requests to replicas, and leaves out those that are lost until they respond again."""

    def __init__(self, replicas: Sequence[Replica], options: ServerOptions) -> None:
        self._replicas = replicas
        self._options = options
        self._lost: dict[int, asyncio.Task[None]] = {}
        self._expired = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await read_bytes(request, self._options)
        merge = {"/health": self._health, "/metrics": self._metrics}.get(scope["path"])
        if merge is not None and scope["method"] == "GET":
            return await (await merge(scope))(scope, receive, send)
        return await self._respond(request, body, send)

    async def _respond(self, request: Request, body: bytes, send: Send) -> None:
        """Relay a response until its end, or until the client leaves or the server ends."""
        scope, has_begun = request.scope, False

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        work = asyncio.create_task(self._relay(scope, body, send_noting))
        leaving, expired = asyncio.create_task(disconnected(request)), asyncio.create_task(self._expired.wait())
        try:
            await asyncio.wait({work, leaving, expired}, return_when=asyncio.FIRST_COMPLETED)
            if is_done := work.done():
                work.result()
        finally:
            for task in (work, leaving, expired):
                task.cancel()
            await asyncio.gather(work, leaving, expired, return_exceptions=True)
        if not is_done and self._expired.is_set():
            error = ApiError.from_failure(Failed("the server is shutting down", "shutdown"))
            if not has_begun:
                raise error
            await send(_ending(scope, error))

    async def expire(self) -> None:
        """End all requests with an error."""
        self._expired.set()

    async def _relay(self, scope: Scope, body: bytes, send: Send) -> None:
        """Send the response of the first replica that has room; one that is lost before it responds is replaced."""
        order = ranked(session_of(scope["state"]["owner"], body), len(self._replicas))
        candidates = [number for number in order if number not in self._lost]
        for number in candidates:
            start: Message | None = None
            try:
                async with contextlib.aclosing(self._exchange(number, scope, body)) as messages:
                    async for message in messages:
                        if message["type"] == "http.response.start":
                            if message["status"] in _BUSY and number != candidates[-1]:
                                break
                            MutableHeaders(raw=message["headers"])["X-Etesian-Replica"] = str(number)
                            start = message
                        await send(message)
            except LostError:
                if start is not None:
                    lost = ApiError(
                        502, "the replica was lost; the same request returns the same text", code="replica_lost"
                    )
                    await send(_ending(scope, lost))
            if start is not None:
                return
        raise ApiError(503, "no replica is available", code="unavailable", headers={"Retry-After": "5"})

    async def _exchange(self, number: int, scope: Scope, body: bytes) -> AsyncGenerator[Message, None]:
        """Yield the messages of a replica's response, the first of them only when there is a body as well."""
        replica, name, has_ended = self._replicas[number], secrets.token_hex(16), False
        held: list[Message] = []
        try:
            await replica.begin(name, {key: scope[key] for key in _SENT if key in scope}, body)
            while not has_ended:
                held += await replica.receive(name)
                if len(held) == 1 and held[0]["type"] == "http.response.start":
                    continue
                for message in held:
                    has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
                    yield message
                held = []
        except LostError:
            if number not in self._lost:
                self._lost[number] = asyncio.create_task(self._wait_for(number))
            has_ended = True
            raise
        finally:
            if not has_ended:
                await replica.leave(name)

    async def _wait_for(self, number: int) -> None:
        _log.warning("replica %d is lost; its requests go to others until it responds again", number)
        await self._replicas[number].wait_until_ready()
        _log.warning("replica %d responds again", number)
        del self._lost[number]

    async def _health(self, scope: Scope) -> Response:
        states = [json.loads(text) for _, text in await self._fetch_all(scope)]
        sums = {name: sum(state[name] for state in states) for name in ("running", "waiting")}
        status = {"status": "ok" if states else "unavailable", **sums, "replicas": len(states)}
        return JSONResponse(status, 200 if states else 503)

    async def _metrics(self, scope: Scope) -> Response:
        text = generate_latest(_Merged(await self._fetch_all(scope)))
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _fetch_all(self, scope: Scope) -> list[tuple[int, str]]:
        """Return the responses of the replicas that respond, with their numbers."""

        async def fetch(number: int) -> tuple[int, str]:
            parts = [message.get("body", b"") async for message in self._exchange(number, scope, b"")]
            return number, b"".join(parts).decode()

        present = [number for number in range(len(self._replicas)) if number not in self._lost]
        found = await asyncio.gather(*map(fetch, present), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, LostError):
                raise each
        return [each for each in found if not isinstance(each, BaseException)]


class _Merged:
    """A collector of the metrics of all replicas, with the number of the replica as a label."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self._families: dict[str, Metric] = {}
        for number, text in texts:
            for family in text_string_to_metric_families(text):
                merged = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for name, labels, value, *_ in family.samples:
                    merged.add_sample(name, {**labels, "replica": str(number)}, value)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()


def _ending(scope: Scope, error: ApiError) -> Message:
    """Return the last message of a stream that cannot be continued; only streams have more than one message with a body."""
    event = error_event(error, named=scope["path"] == _NAMED_EVENTS)
    return {"type": "http.response.body", "body": event, "more_body": False}
