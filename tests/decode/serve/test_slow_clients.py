"""Clients that send or read too slowly are cut off in bounded time, and leave no slot and no connection behind."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
from http_server import running
from toy_decoder import END

LIMIT = 0.4  # seconds that the server grants
PATIENCE = 30.0  # until the test fails
LONG = {"logprobs": True, "top_logprobs": 20, "logit_bias": {str(END): -1000}, "temperature": 0}


@pytest.fixture(scope="module")
def server():
    with running(engine={"slots": 1}, body_seconds=LIMIT, send_seconds=LIMIT, max_tokens=1_000_000) as found:
        yield found


def connect(server):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    return client


def request(body, length=None):
    raw = json.dumps({"messages": [{"role": "user", "content": "ab"}], **body}).encode()
    kind, size = "Content-Type: application/json", f"Content-Length: {length or len(raw)}"
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n{size}\r\n\r\n".encode() + raw


def send_slowly(client, raw):
    """Send one byte at a time until the server ends the connection; return the seconds that it took."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in raw:
            client.send(bytes([byte]))
            time.sleep(0.01)
            assert time.monotonic() - began < PATIENCE
        pytest.fail("the server took everything")
    return time.monotonic() - began


def wait_until(is_true):
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_idle(server):
    return not server.connections and server.engine.n_running == server.engine.n_waiting == 0


def test_head_that_arrives_byte_by_byte_is_cut_off(server):
    with connect(server) as client:
        assert send_slowly(client, request({}).partition(b"\r\n\r\n")[0] + b"X" * 10_000) > LIMIT / 2
    wait_until(lambda: is_idle(server))


def test_body_that_arrives_byte_by_byte_is_cut_off(server):
    with connect(server) as client:
        head, _, body = request({}, length=100_000).partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        send_slowly(client, body + b" " * 10_000)
    wait_until(lambda: is_idle(server))


def test_client_that_sends_nothing_is_cut_off(server):
    with connect(server) as client:
        client.settimeout(PATIENCE)
        assert client.recv(1) == b""


def test_second_head_that_arrives_byte_by_byte_is_cut_off(server):
    with connect(server) as client:
        client.settimeout(PATIENCE)
        client.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(20).startswith(b"HTTP/1.1 200 OK")
        send_slowly(client, b"GET /health HTTP/1.1\r\nX: " + b"X" * 10_000)
    wait_until(lambda: is_idle(server))


def test_client_that_never_reads_its_stream_is_cut_off(server):
    with connect(server) as client:
        client.send(request({**LONG, "stream": True, "max_tokens": 1_000_000}))
        wait_until(lambda: server.engine.n_running == 1)
        wait_until(lambda: is_idle(server))
        assert server.chat(max_tokens=3).status == 200  # in the only slot


def test_client_that_never_reads_a_large_answer_is_cut_off(server):
    with connect(server) as client:
        client.send(request({**LONG, "max_tokens": 5_000}))
        wait_until(lambda: server.engine.n_running == 1)
        wait_until(lambda: is_idle(server))


def test_client_that_pauses_within_the_limit_gets_everything(server):
    with connect(server) as client:
        client.settimeout(PATIENCE)
        raw = request({**LONG, "max_tokens": 300})
        client.send(raw[:100])
        time.sleep(LIMIT / 4)
        client.send(raw[100:])
        received = b""
        while not received.endswith(b"}}}"):
            part = client.recv(1 << 20)
            assert part, received[-200:]
            received += part
        content = json.loads(received.partition(b"\r\n\r\n")[2])["choices"][0]["logprobs"]["content"]
        assert len(content) == 300
