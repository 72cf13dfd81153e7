"""Run the application: sockets, signals and draining."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from etesian.decode.serve.http.connection import bounded_connections
from etesian.decode.serve.http.options import ServerOptions
from etesian.errors import InputError

_MOST_CONNECTIONS = 512
_EXIT_INTERRUPTED = 130
_BACKLOG = 128
_SWITCH_SECONDS = 2e-4
"""Time for which the event loop may delay the engine; Python's default is as long as a pass of a small model."""
_SECONDS_FOR_ERRORS = 5  # after the drain


class DrainingServer(uvicorn.Server):
    """Drains at the first signal, ends what still runs with an error, and ends at once at a second Ctrl-C.

    Parameters
    ----------
    app : Starlette
        ``app.state.expire`` is a coroutine function that ends all running requests with an error.
    options : ServerOptions
    """

    def __init__(self, app: Starlette, options: ServerOptions) -> None:
        super().__init__(configure(app, options))
        self._expire = app.state.expire
        self._drain_seconds = options.drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for running requests, at most for `ServerOptions.drain_seconds`."""
        expiring = asyncio.create_task(self._expire_later())
        await super().shutdown(sockets)
        expiring.cancel()

    async def _expire_later(self) -> None:
        await asyncio.sleep(self._drain_seconds)
        await self._expire()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT."""
        if self.should_exit and sig == signal.SIGINT:
            os._exit(_EXIT_INTERRUPTED)
        self.should_exit = True


def listen(options: ServerOptions) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    InputError
        If the address or the port is not available.
    """
    host, port = options.host, options.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (socket.gaierror, ValueError):  # ValueError if the name cannot be encoded
        raise InputError(f"--host must be a name or an address of this machine; got {host!r}") from None
    except OSError as error:
        raise InputError(
            f"cannot listen on port {port} of {host}: {error.strerror or error}; --port 0 selects a free port"
        ) from None


def configure(app: Starlette, options: ServerOptions) -> uvicorn.Config:
    """Return the configuration of uvicorn. Its parser and event loop do not depend on which packages are installed."""
    AppStatus.disable_automatic_graceful_drain()  # streams end by themselves while the server drains
    return uvicorn.Config(
        app,
        http=bounded_connections(options),
        loop="asyncio",
        ws="none",
        log_config=None,  # the default closes every handler of the process, its own and other libraries'
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=math.ceil(options.drain_seconds) + _SECONDS_FOR_ERRORS,
        lifespan="on",
    )


def run_server(app: Starlette, options: ServerOptions, *, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish running requests for up to `ServerOptions.drain_seconds`.

    Parameters
    ----------
    app : Starlette
        As for `DrainingServer`.
    options : ServerOptions
    announce : callable
        Called with the URL once the server listens.

    Raises
    ------
    InputError
        If the address or the port is not available.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    with listen(options) as listening:
        host, port = listening.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        DrainingServer(app, options).run(sockets=[listening])
