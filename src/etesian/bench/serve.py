"""A store in the browser, as it grows: `serve`. Reads alone, answers GET alone, to this machine unless told otherwise."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from etesian.bench.analysis import Analysis
from etesian.bench.errors import InputError
from etesian.bench.report.page import Content, load_libraries, render_content, render_page
from etesian.bench.store import Store, StoredRun

HOST = "127.0.0.1"

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
"""Of every answer: nothing is kept, nothing is loaded from elsewhere, no other page may frame or read it."""

Analyze = Callable[[list[StoredRun]], Analysis]


@dataclass(frozen=True)
class Snapshot:
    """The page's content at one state of the store."""

    state: str
    content: Content


class LiveReport:
    """The report of a store, made anew only when the store has changed.

    Parameters
    ----------
    store
        Read, never written.
    analyze
        Makes the analysis of its runs; an `InputError` is shown in its place.
    title
        Heading of the page.
    commands
        To be shown under how to reproduce the runs.
    """

    def __init__(
        self, store: Store, analyze: Analyze, *, title: str, commands: Mapping[str, str] | None = None
    ) -> None:
        self.title = title
        self._store, self._analyze, self._commands = store, analyze, commands
        self._lock = Lock()  # many ask at once, one analyzes
        self._latest: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Give the content at the store's present state."""
        with self._lock:
            state = self._store.state()
            if self._latest is None or self._latest.state != state:
                self._latest = Snapshot(state, self._make())
            return self._latest

    def _make(self) -> Content:
        entries = self._store.entries()
        if not entries:
            return message(self.title, "The store holds no runs yet. They appear here as they finish.")
        try:
            analysis = self._analyze(entries)
        except InputError as error:
            return message(self.title, f"{error}.")
        return render_content(analysis, title=self.title, commands=self._commands)


def message(title: str, text: str) -> Content:
    """Say something in place of a report."""
    from markupsafe import escape  # comes with jinja2, an extra

    return Content(f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>", {"marks": {}, "figures": {}, "races": {}})


class ReportServer(ThreadingHTTPServer):
    """Serves a live report at ``/``, and its content as JSON at ``/content``.

    Parameters
    ----------
    report
        What to serve.
    host
        Name or address to listen on.
    port
        0 for any that is free.

    Raises
    ------
    InputError
        The address or the port cannot be had.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, report: LiveReport, *, host: str = HOST, port: int = 0) -> None:
        self.report = report
        self.known_names = {"localhost", socket.gethostname().lower(), host.lower()}
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(_why_not(host, port, error)) from None

    @property
    def url(self) -> str:
        """Where the page is, as a browser takes it."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}/"

    def is_own_name(self, host_header: str) -> bool:
        """Whether a request was sent to an address, or to a name of this machine.

        A page of somebody else can make its own name point here (DNS rebinding), and would then be let to read the
        answer; an address cannot be made to point elsewhere.
        """
        name = urlsplit(f"//{host_header}").hostname or ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.known_names
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over browsers that went away amid an answer; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def serve(report: LiveReport, *, host: str = HOST, port: int = 0, announce: Callable[[str], None] = print) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    report
        What to serve.
    host, port
        Where; port 0 for any that is free.
    announce
        Is told the address once it answers.

    Raises
    ------
    InputError
        The address or the port cannot be had.
    ImportError
        A library that the page is made with is missing.
    """
    load_libraries()
    with ReportServer(report, host=host, port=port) as server, contextlib.suppress(KeyboardInterrupt):
        announce(server.url)  # an interrupt may come as soon as the address is known
        server.serve_forever(poll_interval=0.2)


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "etesian", ""
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a silent browser keeps a thread

    def do_GET(self) -> None:
        if not self._is_for_us():
            return self._answer(HTTPStatus.FORBIDDEN, "this server answers to its address and to localhost alone\n")
        makers = {"/": self._page, "/content": self._content}
        make = makers.get(urlsplit(self.path).path)
        if make is None:
            return self._answer(HTTPStatus.NOT_FOUND, "there is / and /content\n")
        try:
            return make()
        except InputError as error:  # the store went away; the page goes on asking
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def parse_request(self) -> bool:
        """Refuse whatever might change something, by any name."""
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        self.close_connection = True  # what else was sent is not read
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered\n", allow="GET, HEAD")
        return False

    def end_headers(self) -> None:
        """Protect every answer, also those that the library makes."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Keep quiet: a page that asks every two seconds would fill the terminal."""

    def _is_for_us(self) -> bool:
        return self.server.is_own_name(self.headers.get("Host", ""))

    def _page(self) -> None:
        snapshot = self.server.report.snapshot()
        script = (resources.files("etesian.bench") / "report" / "live.js").read_text("utf-8")
        data = {**snapshot.content.data, "state": snapshot.state}
        page = render_page(Content(snapshot.content.body, data), title=self.server.report.title, live=script)
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
    """Say in words why there is no server here."""
    if isinstance(error, OverflowError):
        return f"--port takes a number from 0 to 65535; got {port}"
    code = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or code == errno.EADDRNOTAVAIL:
        return f"--host must be a name or an address of this machine; got {host!r}"
    if code == errno.EADDRINUSE:
        return f"port {port} of {host} is taken by another program; --port 0 takes any that is free"
    if code == errno.EACCES:
        return f"port {port} needs rights that this program does not have; --port 0 takes any that is free"
    return f"nothing can listen on port {port} of {host}: {error}"
