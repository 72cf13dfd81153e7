"""Wait for the events of tasks, abandon them when the client leaves, and stream them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response

from etesian.decode.generation import Generation, Piece
from etesian.decode.request import Request as EngineRequest
from etesian.decode.serve.http.errors import ApiError, unexpected_error
from etesian.decode.serve.http.request_options import Service
from etesian.decode.serve.tasks import Busy, Event, Failed, Finished

Numbered = tuple[int, Event]


class Choices:
    """The running tasks of one HTTP request. Iterating yields their events with the number of the task.

    Parameters
    ----------
    service : Service
    requests : sequence of Request
    owner : str
    streams : bool
        False to receive no pieces, only the last event of each task.

    Raises
    ------
    ApiError
        If the queue is full.
    """

    def __init__(self, service: Service, requests: Sequence[EngineRequest], owner: str, *, streams: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Numbered] = asyncio.Queue()  # bounded by the lengths of the outputs
        self._n_open = len(requests)
        self._streams, self._seconds = streams, service.options.stream_seconds
        self._lock = threading.Lock()
        self._arrived: list[Numbered] = []
        self._is_expected = False  # the loop will look for events
        self._timer: asyncio.TimerHandle | None = None
        receivers = [partial(self._receive, number) for number in range(len(requests))]
        try:
            self._tasks = service.engine.submit_all(
                requests, receivers, owner=owner, time_limit=service.options.time_limit
            )
        except Busy as busy:
            raise ApiError.from_busy(busy) from None

    def __aiter__(self) -> AsyncIterator[Numbered]:
        return self

    async def __anext__(self) -> Numbered:
        """Return the next event.

        Raises
        ------
        ApiError
            If a task failed; the others are abandoned.
        """
        if self._n_open == 0:
            raise StopAsyncIteration
        number, event = await self._events.get()
        if isinstance(event, Failed):
            self.cancel()
            raise ApiError.from_failure(event)
        self._n_open -= isinstance(event, Finished)
        return number, event

    @property
    def is_waiting(self) -> bool:
        """True if the next event has not arrived yet."""
        return self._n_open > 0 and self._events.empty()

    def cancel(self) -> None:
        """Abandon all tasks; their slots are free before the next pass."""
        for task in self._tasks:
            task.cancel()

    def _receive(self, number: int, event: Event) -> None:
        """Keep an event, in the engine's thread; wake up the loop for last ones, and for others if it will not look for them."""
        is_last = not isinstance(event, Piece)
        if not is_last and not self._streams:
            return
        with self._lock:
            self._arrived.append((number, event))
            if self._is_expected and not is_last:
                return
            self._is_expected = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Pass on the events that have arrived, and look again after a while if there were any."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            arrived, self._arrived = self._arrived, []
            self._is_expected = bool(arrived)
        for each in _joined(arrived):
            self._events.put_nowait(each)
        self._timer = self._loop.call_later(self._seconds, self._deliver) if arrived else None


def _joined(events: Sequence[Numbered]) -> Iterator[Numbered]:
    """Yield the events of one task after those of another; the pieces of each task are joined."""
    by_task: dict[int, list[Event]] = {}
    for number, event in events:
        by_task.setdefault(number, []).append(event)
    for number, found in by_task.items():
        pieces = [event for event in found if isinstance(event, Piece)]
        if pieces:
            yield number, Piece.joined(pieces)
        yield from ((number, event) for event in found if not isinstance(event, Piece))


async def collect(request: Request, choices: Choices) -> list[Generation]:
    """Return the outputs of all tasks, in order; abandon them if the client disconnects.

    Raises
    ------
    ApiError
        If a task failed or the client left.
    """
    found: dict[int, Generation] = {}

    async def gather() -> None:
        async for number, event in choices:
            if isinstance(event, Finished):
                found[number] = event.generation

    work, leaving = asyncio.create_task(gather()), asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ApiError(499, "the client disconnected")
        work.result()
    finally:
        choices.cancel()
        for each in (work, leaving):
            each.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)
    return [found[number] for number in sorted(found)]


async def disconnected(request: Request) -> None:
    """Wait until the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def stream(
    request: Request, choices: Choices, chunks: AsyncIterator[dict[str, Any]], *, named: bool = False
) -> Response:
    """Return a response that streams chunks as server-sent events.

    The response starts with the first chunk, or with the first keep-alive comment, so that early errors have an HTTP status.

    Parameters
    ----------
    request : Request
    choices : Choices
        Abandoned when the stream ends in any way.
    chunks : async iterator of dict
        JSON objects, one for each event.
    named : bool
        True if events are named by their ``"type"``, as those of ``/v1/responses``; otherwise the stream ends with ``[DONE]``.

    Raises
    ------
    ApiError
        If a task failed, or the client left, before the first chunk.
    """
    service: Service = request.app.state.service
    options = service.options
    first, leaving = asyncio.ensure_future(anext(chunks)), asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({first, leaving}, timeout=options.ping_seconds, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not first.done():
            raise ApiError(499, "the client disconnected")
        if first.done() and (error := first.exception()) is not None:
            raise error
    except BaseException:
        choices.cancel()
        first.cancel()
        raise
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

    async def events() -> AsyncIterator[bytes]:
        ready = b""
        try:
            yield _event(await first, named=named)
            async for chunk in chunks:
                ready += _event(chunk, named=named)
                if choices.is_waiting:
                    yield ready
                    ready = b""
            yield ready if named else ready + b"data: [DONE]\n\n"
        except Exception as error:
            shown = error if isinstance(error, ApiError) else unexpected_error(error)
            yield ready + error_event(shown, named=named)
        finally:
            choices.cancel()

    return EventSourceResponse(events(), ping=options.ping_seconds, sep="\n", send_timeout=options.send_seconds)


def error_event(error: ApiError, *, named: bool) -> bytes:
    """Return the last event of a stream that cannot be continued; `named` as in `stream`."""
    return _event({"type": "error", **error.body} if named else error.body, named=named)


def _event(chunk: dict[str, Any], *, named: bool) -> bytes:
    data = json.dumps(chunk, ensure_ascii=False, allow_nan=False)  # on one line
    head = f"event: {chunk['type']}\n" if named else ""
    return f"{head}data: {data}\n\n".encode()
