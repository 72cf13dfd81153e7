"""A live store in the browser: what it answers, to whom, and that it grows; nothing is written, and nothing is left behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_fakes import make_run
from browser import CHROMIUM, COMMON_FLAGS, needs_chromium

from etesian.bench import InputError, Store, analyze, serve
from etesian.bench.serve import HEADERS, LiveReport, ReportServer


class Visitor:
    """Sends requests to a server in this process and reads complete answers."""

    def __init__(self, server: ReportServer) -> None:
        self.server = server
        self.port = server.server_address[1]

    def ask(
        self, path: str = "/content", *, method: str = "GET", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def content(self) -> dict[str, object]:
        return json.loads(self.ask()[2])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "runs.db") as opened:
        yield opened


@pytest.fixture
def visitor(store: Store) -> Iterator[Visitor]:
    with ReportServer(LiveReport(store, analyze, title="Words & co")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Visitor(server)
        server.shutdown()
        thread.join()


def test_empty_store_has_a_message_until_runs_finish(store: Store, visitor: Visitor) -> None:
    assert "The store holds no runs yet" in visitor.content()["body"]
    store.add(make_run("words"), suite="suite")
    assert "words reached loss ≤ 3.28 in 1 of 1 runs" in visitor.content()["body"]
    store.add(make_run("words", 1), suite="suite")
    assert "words reached loss ≤ 3.28 in 2 of 2 runs" in visitor.content()["body"]


def test_a_run_that_is_replaced_is_shown(store: Store, visitor: Visitor) -> None:
    store.add(make_run("words", 0, outcome="failed", error="no data"), suite="suite")
    assert "no data" in visitor.content()["body"]
    store.add(make_run("words", 0), suite="suite", replace=True)
    assert "no data" not in visitor.content()["body"]


def test_state_differs_after_any_change(store: Store) -> None:
    states = [store.state()]
    for seed, started in [(0, "2026-01-01"), (1, "2026-01-01"), (1, "2026-01-02"), (0, "2026-01-02")]:
        store.add(make_run("words", seed, started=started), suite="suite", replace=True)
        states.append(store.state())
    assert len(set(states)) == 5
    assert store.state() == states[-1]


def test_an_unchanged_store_is_analyzed_once_and_answered_without_content(store: Store) -> None:
    analyzed = []

    def analyze_and_count(entries):
        analyzed.append(len(entries))
        return analyze(entries)

    store.add(make_run("words"), suite="suite")
    live = LiveReport(store, analyze_and_count, title="Words")
    assert live.snapshot() is live.snapshot()
    assert analyzed == [1]
    store.add(make_run("words", 1), suite="suite")
    assert live.snapshot() is live.snapshot()
    assert analyzed == [1, 2]


def test_what_the_browser_has_is_not_sent_again(store: Store, visitor: Visitor) -> None:
    _, headers, _ = visitor.ask()
    assert visitor.ask(**{"If-None-Match": headers["etag"]})[::2] == (304, "")
    store.add(make_run("words"), suite="suite")
    assert visitor.ask(**{"If-None-Match": headers["etag"]})[0] == 200


def test_failed_analysis_is_shown_as_a_message(store: Store) -> None:
    store.add(make_run("words"), suite="suite")
    live = LiveReport(store, lambda entries: analyze(entries, baseline="<pear>"), title="Words")
    assert "baseline must be an entry; got &#39;&lt;pear&gt;&#39;" in live.snapshot().content.body


def test_page_is_complete_and_loads_nothing_from_elsewhere(store: Store, visitor: Visitor) -> None:
    store.add(make_run("words"), suite="suite")
    status, headers, page = visitor.ask("/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert "Words &amp; co" in page
    assert 'fetch("content"' in page
    assert visitor.ask("/", method="HEAD")[::2] == (200, "")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a b", "[", "[::1", "[x]", "]:1", "\u00e9"],
)
def test_host_names_of_other_sites_are_refused(visitor: Visitor, host: str) -> None:
    status, _, text = visitor.ask(Host=host)
    assert (status, text) == (403, "this server responds only to its address and to localhost\n")


def drain(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(1 << 16):
            received += block
    return received


def test_slow_request_is_ended_after_a_total_time(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", visitor.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):  # each byte arrives well within the limit
                connection.sendall(b"G")
                time.sleep(0.05)
        assert drain(connection) == b""
    assert time.monotonic() - began < 6
    assert visitor.ask()[0] == 200


def test_large_request_is_ended(visitor: Visitor) -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", visitor.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head + b"".join(b"A%d: %s\r\n" % (k, b"x" * 6000) for k in range(20)))
            connection.sendall(b"\r\n")
        assert b"200" not in drain(connection)
    assert visitor.ask()[0] == 200


def test_old_connection_is_closed_after_its_response(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "CONNECTION_SECONDS", 0.0)
    with socket.create_connection(("127.0.0.1", visitor.port), timeout=10) as connection:
        connection.sendall(b"GET /content HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        assert drain(connection).count(b"HTTP/1.1 200") == 1


def test_more_connections_than_allowed_are_closed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MAX_CONNECTIONS", 2)
    with ReportServer(LiveReport(store, analyze, title="")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with contextlib.ExitStack() as opened:
            connections = [
                opened.enter_context(socket.create_connection(server.server_address[:2], timeout=10)) for _ in range(3)
            ]
            assert drain(connections[2]) == b""
            connections[0].sendall(b"GET /content HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b"200" in drain(connections[0])
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8000", "[::1]:8000", "192.0.2.1"])
def test_addresses_and_own_names_are_answered(visitor: Visitor, host: str) -> None:
    assert visitor.ask(Host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ANYTHING"])
def test_only_get_is_answered(visitor: Visitor, method: str) -> None:
    status, headers, _ = visitor.ask("/", method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/content", "/../etc/passwd", "/content/..", "//evil.example/"])
def test_every_answer_protects_itself_and_nothing_else_is_found(visitor: Visitor, path: str) -> None:
    status, headers, _ = visitor.ask(path)
    assert status == (200 if path in ("/", "/content") else 404)
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "Python" not in headers["server"]


def test_removed_store_is_reported_and_the_server_continues(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    visitor.ask()
    store.close()
    kept = (tmp_path / "runs.db").read_bytes()
    (tmp_path / "runs.db").write_bytes(b"no database" * 100)
    status, _, text = visitor.ask()
    assert status == 503
    assert "cannot be used: file is not a database" in text
    store.close()
    (tmp_path / "runs.db").write_bytes(kept)
    assert visitor.ask()[0] == 200


def test_serving_writes_nothing(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    store.add(make_run("words"), suite="suite")
    before = (tmp_path / "runs.db").read_bytes()
    visitor.ask("/")
    visitor.ask()
    assert (tmp_path / "runs.db").read_bytes() == before


def test_port_in_use_is_reported(store: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"port {port} of 127.0.0.1 is in use by another program; --port 0 selects"
        ):
            ReportServer(LiveReport(store, analyze, title=""), port=port)


def test_address_of_another_machine_is_reported(store: Store) -> None:
    with pytest.raises(InputError, match=r"--host must be a name or an address of this machine; got '192\.0\.2\.1'"):
        ReportServer(LiveReport(store, analyze, title=""), host="192.0.2.1")


@pytest.fixture
def command(tmp_path: Path, store: Store) -> Iterator[subprocess.Popen[str]]:
    store.add(make_run("words"), suite="suite")
    line = [sys.executable, "-m", "etesian", "bench", "serve", str(tmp_path / "runs.db")]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_the_command_listens_to_this_machine_alone_and_ends_with_ctrl_c(command: subprocess.Popen[str]) -> None:
    url = command.stderr.readline().split()[1].rstrip(";")
    assert url.startswith("http://127.0.0.1:")
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        command.send_signal(signal.SIGINT)  # with a browser that keeps a connection open
        stdout, stderr = command.communicate(timeout=60)
    assert (command.returncode, stdout, stderr) == (0, "", "stopped\n")


@needs_chromium
def test_a_browser_shows_runs_that_finish_while_it_looks(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    """Add the second run after the first request of the browser for changes."""
    store.add(make_run("words"), suite="suite")
    asked = threading.Event()
    snapshot = visitor.server.report.snapshot

    def noted():
        found = snapshot()
        if asked.is_set() and len(store.endings("suite", make_run().target)) == 1:
            store.add(make_run("words", 1), suite="suite")
        asked.set()
        return found

    visitor.server.report.snapshot = noted
    flags = [*COMMON_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=12000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, visitor.server.url], capture_output=True, text=True, timeout=120, check=True
    )
    assert "words reached loss ≤ 3.28 in 2 of 2 runs" in done.stdout
    assert 'id="live" role="status">Live: ' in done.stdout
    assert "CONSOLE" not in done.stderr
