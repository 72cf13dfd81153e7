"""Connections of the server, which slow clients cannot hold: uvicorn bounds only the time between two requests."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from etesian.decode.serve.http.options import ServerOptions


def bounded_connections(options: ServerOptions) -> type[asyncio.Protocol]:
    """Return the class of connections that are cut off when a client sends a request or reads a response too slowly.

    Parameters
    ----------
    options : ServerOptions
        Time limits: `body_seconds` for the head of a request, as for its body, and `send_seconds` for a full output buffer.
    """

    class BoundedConnection(_BoundedConnection):
        head_seconds, send_seconds = options.body_seconds, options.send_seconds

    return BoundedConnection


class _BoundedConnection(H11Protocol):
    """A connection with a time limit wherever it waits for the client.

    The application limits the time for the body of a request. Here, the head must arrive in time, and nothing may stay
    unsent: neither while a response is sent, nor after its end.
    """

    head_seconds: float
    send_seconds: float

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._next_request = _Deadline()  # also of what is left of the last response
        self._room = _Deadline()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request. Output is sent at once; asyncio takes care of that for sockets of its own only."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._next_request.start(self.head_seconds, transport)

    def data_received(self, data: bytes) -> None:
        """Handle input, which may complete the head of a request."""
        super().data_received(data)
        self._stop_waiting_if_busy()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is already there."""
        self._next_request.start(self.head_seconds, self.transport)
        super().on_response_complete()
        self._stop_waiting_if_busy()

    def pause_writing(self) -> None:
        """Wait until the client has made room."""
        super().pause_writing()
        self._room.start(self.send_seconds, self.transport)

    def resume_writing(self) -> None:
        """There is room."""
        super().resume_writing()
        self._room.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waits."""
        self._next_request.stop()
        self._room.stop()
        super().connection_lost(exc)

    def _stop_waiting_if_busy(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._next_request.stop()


class _Deadline:
    """Cuts a connection off, unless it is stopped in time."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, transport: asyncio.Transport) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, transport.abort)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
