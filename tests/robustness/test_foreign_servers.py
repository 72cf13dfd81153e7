"""Commands that ask a server explain what it answers, and neither print nor keep the secrets of its address."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import run_command

from etesian.bench import Store
from etesian.errors import InputError


@pytest.fixture
def answering() -> Iterator[Callable[..., int]]:
    """Start servers that send given bytes to each connection in turn, whatever is asked; return their ports."""
    listeners: list[socket.socket] = []

    def start(*answers: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(10)
                        connection.recv(1 << 16)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(1 << 16):  # closed with unread bytes, the connection would be reset
                            pass
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in listeners:
        each.close()


def http_answer(body: bytes, kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + body


ANSWERS = {
    "nothing": b"",
    "no HTTP": b"\x1b[31mSSH-2.0\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "bad length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "no JSON": http_answer(b"<html>"),
    "nested": http_answer(b"[" * 100_000),
    "no object": http_answer(b"[]"),
    "wrong types": http_answer(b'{"data": [5], "experiments": 5}'),
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % k for k in range(500)) + b"\r\n{}",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_of_another_server_is_explained(answering: Callable[..., int], answer: bytes, tmp_path: Path) -> None:
    for words in (
        ("chat", "--url"),
        ("bench", "import", "mlflow", "--store", str(tmp_path / "s.db"), "--target", "x<=1"),
    ):
        done = run_command(*words, f"http://127.0.0.1:{answering(answer)}", given=b"hello\n")
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
        assert "\x1b" not in done.output


def test_names_and_texts_of_a_server_control_no_terminal(answering: Callable[..., int]) -> None:
    name = "\x1b[31m[/]\u202e"
    piece = {"token_ids": [1], "texts": ["hello"], "origins": [name]}
    event = {"choices": [{"finish_reason": "stop", "etesian": piece}], "usage": {"completion_tokens_details": {}}}
    port = answering(
        http_answer(json.dumps({"data": [{"id": name, "stages": [name]}]}).encode()),
        http_answer(f"data: {json.dumps(event)}\n\n".encode()),
        http_answer(b"data: {\n"),
        http_answer(b'data: {"error": {"message": "\\u001b[31m"}}\n'),
    )
    given = b"hello\n/stats\nagain\nand again\n"
    done = run_command("chat", "--url", f"http://127.0.0.1:{port}", "--show-origins", given=given)
    assert done.stdout.startswith("hello")
    assert "\\x1b[31m[/]\\u202e 1 (100%)" in done.stderr
    assert "is not one of an OpenAI-compatible server" in done.stderr
    assert "the server ended the answer: \\x1b[31m" in done.stderr
    assert not set(done.output) & set("\x1b\u202e")


@pytest.mark.parametrize(
    "address",
    [
        "http://u:PW-9x7@127.0.0.1:9",
        "http://u:PW-9x7@h:port",
        "http://u:PW-9x7@[h",
        "ftp://u:PW-9x7@h",
        "http://127.0.0.1:9/?t=PW-9x7",
    ],
)
def test_secrets_in_addresses_of_servers_are_hidden(address: str, tmp_path: Path) -> None:
    for words in (
        ("chat", "--url"),
        ("bench", "import", "mlflow", "--store", str(tmp_path / "s.db"), "--target", "x<=1"),
    ):
        done = run_command(*words, address)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")
        assert "PW-9x7" not in done.output


@pytest.mark.parametrize("option", ["sslmode", "connect_timeout", "gssencmode"])
def test_errors_of_drivers_are_not_chained_with_their_secrets(option: str) -> None:
    pytest.importorskip("psycopg")
    address = f"postgresql://user-4m2:PW-9x7@127.0.0.1:1/db?{option}=Q-4m2"
    with pytest.raises(InputError) as caught:
        Store(address)
    text = "".join(traceback.format_exception(caught.value))
    assert not any(secret in text for secret in ("user-4m2", "PW-9x7", "Q-4m2")), text
