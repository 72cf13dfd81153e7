"""A live report: the runs of a store in the browser, updated as they finish.

The server only reads the store and only answers GET. It listens on the loopback interface by default.
"""

from __future__ import annotations

import contextlib
import errno
import io
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import urlsplit

from etesian.bench.analysis import Analysis
from etesian.bench.errors import InputError
from etesian.bench.record import StoredRun
from etesian.bench.report.document import lay_out
from etesian.bench.report.render_html import (
    Content,
    assemble_page,
    load_templates,
    message_content,
    package_file,
    render_content,
)
from etesian.bench.store import Store

HOST = "127.0.0.1"

REQUEST_SECONDS = 30.0
"""Longest time until a request is complete, counted from the end of the previous one, and to take its response."""

REQUEST_BYTES = 1 << 16
"""Largest size of a request."""

CONNECTION_SECONDS = 600.0
"""Age from which a connection is closed after its response; browsers open another."""

LINGER_SECONDS = 2.0
"""Time that a closed connection waits for the rest of what the client sends, so that the client can read its response."""

MAX_CONNECTIONS = 64
"""Largest number of simultaneous connections; others are closed at once."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every response: no caching, no external resources, no embedding or reading by other pages."""

Analyze = Callable[[list[StoredRun]], Analysis]


@dataclass(frozen=True)
class Snapshot:
    """Content of the page for one state of the store."""

    state: str
    content: Content


class LiveReport:
    """The report of a store, rendered again only when the store has changed.

    Parameters
    ----------
    store
        Store to read.
    analyze
        Function that analyzes the runs. The message of an `InputError` is shown instead of a report.
    title
        Heading of the page.
    commands
        Commands to show under "How to reproduce".
    """

    def __init__(
        self, store: Store, analyze: Analyze, *, title: str, commands: Mapping[str, str] | None = None
    ) -> None:
        self.title = title
        self._store, self._analyze, self._commands = store, analyze, commands
        self._lock = Lock()  # concurrent requests share one analysis
        self._latest: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return the content for the current state of the store."""
        with self._lock:
            state = self._store.state()
            if self._latest is None or self._latest.state != state:
                self._latest = Snapshot(state, self._make())
            return self._latest

    def _make(self) -> Content:
        entries = self._store.entries()
        if not entries:
            return message_content(self.title, "The store holds no runs yet. Runs appear here as they finish.")
        try:
            analysis = self._analyze(entries)
        except InputError as error:
            return message_content(self.title, f"{error}.")
        return render_content(lay_out(analysis, title=self.title, commands=self._commands))


class ReportServer(ThreadingHTTPServer):
    """HTTP server of a live report at ``/`` and of its content as JSON at ``/content``.

    Parameters
    ----------
    report
        Report to serve.
    host
        Host name or address to listen on.
    port
        Port to listen on; 0 for any free port.

    Raises
    ------
    InputError
        If the address or the port is not available.
    """

    daemon_threads = True
    block_on_close = False
    is_stopping = False

    def __init__(self, report: LiveReport, *, host: str = HOST, port: int = 0) -> None:
        self.report = report
        self._free_connections = BoundedSemaphore(MAX_CONNECTIONS)
        self.known_names = {"localhost", socket.gethostname().lower(), host.lower()}
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(_why_not(host, port, error)) from None

    @property
    def url(self) -> str:
        """URL of the page."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}/"

    def is_own_name(self, host_header: str) -> bool:
        """Return True if a request was sent to an IP address or to a name of this machine.

        Another site could make its own name resolve to this machine (DNS rebinding) and read the response.
        """
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:  # such as an unclosed bracket
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.known_names
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, unless there are too many."""
        if self._free_connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it is closed."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect during a response, and all errors once the server stops; report others as usual."""
        if not (self.is_stopping or isinstance(sys.exc_info()[1], ConnectionError | TimeoutError)):
            super().handle_error(request, client_address)


def serve(report: LiveReport, *, host: str = HOST, port: int = 0, announce: Callable[[str], None] = print) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    report
        Report to serve.
    host, port
        Address to listen on; port 0 for any free port.
    announce
        Called with the URL once the server is ready.

    Raises
    ------
    InputError
        If the address or the port is not available.
    ImportError
        If a library that the page requires is not installed.
    """
    load_templates()
    with ReportServer(report, host=host, port=port) as server, contextlib.suppress(KeyboardInterrupt):
        announce(server.url)  # the user may interrupt from here on
        try:
            server.serve_forever(poll_interval=0.2)
        finally:
            server.is_stopping = True  # connections end in the middle of requests


class _RequestStream(io.RawIOBase):
    """Bytes of one request at a time, with limits on their number and on the total time until they arrive."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """Start the clock and the count of a request."""
        self._deadline, self._bytes_left = time.monotonic() + REQUEST_SECONDS, REQUEST_BYTES

    def drain(self) -> None:
        """Read what the client still sends: closing a connection with unread bytes makes its system discard the response."""
        self._deadline = min(self._deadline, time.monotonic() + LINGER_SECONDS)
        block = bytearray(REQUEST_BYTES)
        while self.readinto(memoryview(block)):
            pass

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0 or self._bytes_left <= 0:
            raise TimeoutError("the request takes too long or is too large")
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer[: self._bytes_left])
        self._connection.settimeout(REQUEST_SECONDS)  # for the response
        self._bytes_left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "etesian", ""
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Replace the stream of the library, which limits the time between two bytes only."""
        super().setup()
        self._stream, self._began = _RequestStream(self.connection), time.monotonic()
        self.rfile = io.BufferedReader(self._stream)

    def handle_one_request(self) -> None:
        """Read and answer one request within the limits."""
        self._stream.begin()
        super().handle_one_request()
        if time.monotonic() - self._began > CONNECTION_SECONDS:
            self.close_connection = True

    def finish(self) -> None:
        """End the response, and let the client read it before the connection is closed."""
        super().finish()
        with contextlib.suppress(OSError):  # the client is gone, or still sends
            self.connection.shutdown(socket.SHUT_WR)
            self._stream.drain()

    def do_GET(self) -> None:
        if not self._is_for_us():
            return self._answer(HTTPStatus.FORBIDDEN, "this server responds only to its address and to localhost\n")
        makers = {"/": self._page, "/content": self._content}
        make = makers.get(urlsplit(self.path).path)
        if make is None:
            return self._answer(HTTPStatus.NOT_FOUND, "the paths are / and /content\n")
        try:
            return make()
        except InputError as error:  # the store is not available; the page keeps polling
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def parse_request(self) -> bool:
        """Refuse all methods but GET and HEAD."""
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        self.close_connection = True  # the body of the request is not read
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is supported\n", allow="GET, HEAD")
        return False

    def end_headers(self) -> None:
        """Add the security headers to every response, including those of the library."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name in the standard library
        """Log nothing: a page that polls every two seconds would fill the terminal."""

    def _is_for_us(self) -> bool:
        return self.server.is_own_name(self.headers.get("Host", ""))

    def _page(self) -> None:
        snapshot = self.server.report.snapshot()
        data = {**snapshot.content.data, "state": snapshot.state}
        content = Content(snapshot.content.title, snapshot.content.body, data)
        page = assemble_page(content, live_script=package_file("live.js"))
        self._answer(HTTPStatus.OK, page, kind="text/html")

    def _content(self) -> None:
        snapshot = self.server.report.snapshot()
        tag = f'"{snapshot.state}"'
        if self.headers.get("If-None-Match") == tag:
            return self._answer(HTTPStatus.NOT_MODIFIED, "", etag=tag)
        content = {"state": snapshot.state, "body": snapshot.content.body, "data": dict(snapshot.content.data)}
        return self._answer(HTTPStatus.OK, json.dumps(content, allow_nan=False), kind="application/json", etag=tag)

    def _answer(self, status: HTTPStatus, text: str, *, kind: str = "text/plain", **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        own = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        for name, value in {**own, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _why_not(host: str, port: int, error: Exception) -> str:
    """Explain why the server cannot listen."""
    if isinstance(error, OverflowError):
        return f"--port must be a number from 0 to 65535; got {port}"
    code = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or code == errno.EADDRNOTAVAIL:
        return f"--host must be a name or an address of this machine; got {host!r}"
    if code == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; --port 0 selects a free port"
    if code == errno.EACCES:
        return f"port {port} requires privileges; --port 0 selects a free port"
    return f"cannot listen on port {port} of {host}: {error}"
