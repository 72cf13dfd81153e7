"""A replica on a node of a cluster: an engine and its application behind calls that carry the messages of ASGI."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sse_starlette.sse import SendTimeoutError
from starlette.types import Message, Scope

from etesian.decode.decoder import Decoder
from etesian.decode.serve.engine import Engine
from etesian.decode.serve.http.app import create_app
from etesian.decode.serve.http.options import ServerOptions
from etesian.decode.serve.options import EngineOptions
from etesian.errors import InputError

_LOG = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 5.0
"""A replica responds at least this often."""
_MOST_MESSAGES = 64  # of a response that wait for the front; then the replica waits, for at most `send_seconds`
_FORGET_SECONDS = 120.0


class ServedReplica:
    """An engine and its application, as Ray Serve deploys them."""

    def __init__(self, load: Callable[[], Decoder], engine_options: EngineOptions, options: ServerOptions) -> None:
        self._problem: str | None = None
        self._exchanges: dict[str, _Exchange] = {}
        try:
            self.engine = Engine(load(), engine_options)
            self._app = create_app(self.engine, options)
        except InputError as error:
            self._problem = str(error)
        else:
            self.engine.start()

    async def problem(self) -> str | None:
        """Return the reason why this replica cannot serve, if there is one."""
        return self._problem

    async def live(self) -> None:
        """Return never: the call ends when this replica dies."""
        await asyncio.Event().wait()

    async def begin(self, name: str, scope: Scope, body: bytes) -> None:
        """Run the application on a request, and return."""
        for old in [old for old, exchange in self._exchanges.items() if exchange.is_forgotten]:
            await self.leave(old)
        self._exchanges[name] = _Exchange(self._app, scope, body)

    async def receive(self, name: str) -> list[Message] | None:
        """Return the next messages, or none after a while; None if the exchange is unknown or broke off."""
        exchange = self._exchanges.get(name)
        messages = None if exchange is None else await exchange.next_messages()
        if messages is None or (messages and _is_last(messages[-1])):
            await self.leave(name)
        return messages

    async def leave(self, name: str) -> None:
        """End an exchange; the application sees that the client disconnected."""
        exchange = self._exchanges.pop(name, None)
        if exchange is not None:
            exchange.end()


class _Exchange:
    """A request that the application responds to."""

    def __init__(self, app: Any, scope: Scope, body: bytes) -> None:
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_MOST_MESSAGES)
        self._body: bytes | None = body
        self._received = time.monotonic()
        self._task = asyncio.create_task(self._run(app, scope))

    @property
    def is_forgotten(self) -> bool:
        """True if the front has not asked for messages in a long time."""
        return time.monotonic() - self._received > _FORGET_SECONDS

    async def next_messages(self) -> list[Message] | None:
        """Return all messages that are there, after the first has arrived; None if the application broke off."""
        self._received = time.monotonic()
        found: list[Message | None] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                found.append(await self._messages.get())
        while not self._messages.empty():
            found.append(self._messages.get_nowait())
        whole = [message for message in found if message is not None]
        return whole if whole or not found else None

    def end(self) -> None:
        """Cancel the application, unless it has ended."""
        self._task.cancel()

    async def _run(self, app: Any, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        except SendTimeoutError:
            pass  # the front has stopped reading; its client is gone or too slow
        except Exception as error:
            _LOG.error("a response broke off: %s: %s", type(error).__name__, error)
        finally:
            with suppress(asyncio.QueueFull):
                self._messages.put_nowait(None)

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()  # until the task is cancelled
        return {"type": "http.request", "body": body, "more_body": False}


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)
