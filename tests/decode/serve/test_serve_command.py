"""The commands `etesian serve` and `etesian chat --url`."""

from __future__ import annotations

import socket

import pytest
from command_line import run_command
from http_server import running
from toy_decoder import PlainChat, make_decoder

from etesian.cli import decode_serve
from etesian.decode import Sampling
from etesian.decode.serve import http

KEY = "a-key-of-a-user-0001"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(KEY)
    with running(api_keys=http.read_api_keys(file)) as found:
        yield found


def test_chat_talks_to_a_server(server):
    address = f"http://127.0.0.1:{server.port}"
    for url in (address, f"{address}/v1/"):
        found = run_command(
            "chat",
            "--url",
            url,
            "--max-tokens",
            12,
            "--show-origins",
            given=b"abc\n/stats\nab\n",
            env={"ETESIAN_API_KEY": KEY},
        )
        plain = make_decoder(drafter="none")
        turns = [{"role": "user", "content": "abc"}]
        first = plain.generate(PlainChat().encode(turns), max_tokens=12).text
        turns += [{"role": "assistant", "content": first}, {"role": "user", "content": "ab"}]
        second = plain.generate(PlainChat().encode(turns), max_tokens=12).text
        assert found.exit_code == 0
        assert found.stdout.split() == (first + "\n" + second).split()
        assert "12 tokens in" in found.stderr
        assert "lookup" in found.stderr


def test_sampling_options_reach_the_server(server):
    found = run_command(
        "chat", "--url", f"http://127.0.0.1:{server.port}", "--max-tokens", 9, "--temperature", 1, "--seed", 4, "--top-k", 5,
        given=b"abc\n", env={"ETESIAN_API_KEY": KEY},
    )  # fmt: skip
    prompt = PlainChat().encode([{"role": "user", "content": "abc"}])
    expected = make_decoder(drafter="none").generate(prompt, Sampling(temperature=1.0, seed=4, top_k=5), max_tokens=9)
    assert found.stdout.split() == expected.text.split()


def test_chat_explains_what_is_wrong_with_a_server(server):
    for url, message in (
        (f"http://127.0.0.1:{server.port}", "a valid API key is required"),
        ("http://127.0.0.1:9", "does not respond"),
        ("127.0.0.1:8000", "--url must be an address such as http://127.0.0.1:8000"),
    ):
        found = run_command("chat", "--url", url, given=b"", env={"ETESIAN_API_KEY": "", "OPENAI_API_KEY": ""})
        assert found.exit_code == 2
        assert message in found.stderr


def test_a_line_that_is_not_utf8_is_reported_and_the_session_goes_on(server):
    found = run_command(
        "chat", "--url", f"http://127.0.0.1:{server.port}", "--max-tokens", 9, given=b"hi \xff\nabc\n/system \xc3\nabc\n",
        env={"ETESIAN_API_KEY": KEY},
    )  # fmt: skip
    errors = ["a line must be UTF-8 text; character 4 is invalid", "a line must be UTF-8 text; character 9 is invalid"]
    assert (found.exit_code, found.stderr.splitlines()[::2]) == (0, [f"error: {error}" for error in errors])
    prompt = PlainChat().encode([{"role": "user", "content": "abc"}])
    assert found.stdout.startswith(make_decoder(drafter="none").generate(prompt, max_tokens=9).text)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("qx\nzx", ""), "ETESIAN_API_KEY must hold an API key of printable characters of Latin-1"),
        (("qx\n zx", ""), "ETESIAN_API_KEY must hold an API key of printable characters of Latin-1"),
        (("", "qx\x1bzx"), "OPENAI_API_KEY must hold an API key of printable characters of Latin-1"),
        (("qx\U0001f600zx", ""), "ETESIAN_API_KEY must hold an API key of printable characters of Latin-1"),
        (("qx\udcffzx", ""), "ETESIAN_API_KEY must hold an API key of printable characters of Latin-1"),
        (("qx zx", ""), "a valid API key is required"),
        ((f" {KEY}\r\n", ""), ""),
        ((" \n", f"{KEY}\n"), ""),
    ],
)
def test_a_key_is_stripped_and_never_shown(server, keys, message):
    environment = dict(zip(("ETESIAN_API_KEY", "OPENAI_API_KEY"), keys, strict=True))
    found = run_command("chat", "--url", f"http://127.0.0.1:{server.port}", given=b"", env=environment)
    assert found.exit_code == (2 if message else 0)
    assert message in found.stderr
    assert not any(part in found.stderr for part in ("qx", "zx", KEY))


def test_serve_passes_its_options_on(tmp_path, monkeypatch):
    file = tmp_path / "keys"
    file.write_text(KEY)
    served = []
    monkeypatch.setattr(decode_serve.ModelChoice, "load", lambda *_: make_decoder())
    monkeypatch.setattr(
        http, "run_server", lambda app, options, announce: served.append((app.state.service.engine, options))
    )
    monkeypatch.setattr(http, "listen", lambda _: socket.socket())
    found = run_command(
        "serve", "--model", "models/toy.gguf", "--host", "0.0.0.0", "--port", 9000, "--slots", 3, "--context", 99, "--cache-mb", 2,
        "--api-key-file", file, "--allow-host", "llm.example", "--max-tokens", 50,
    )  # fmt: skip
    assert (found.exit_code, found.stderr) == (0, "stopped\n")
    ((engine, options),) = served
    assert (engine.options.slots, engine.options.context, engine.options.cache_bytes) == (3, 99, 2 << 20)
    assert (options.model_name, options.port, options.max_tokens, options.allowed_hosts) == (
        "toy",
        9000,
        50,
        ("llm.example",),
    )
    assert "everybody who can reach" in run_command("serve", "--host", "0.0.0.0").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "port must be a number from 0 to 65535; got 70000"),
        (["--slots", "0"], "slots must be a whole number, at least 1; got 0"),
        (["--context", "1"], "context must be a whole number, at least 2; got 1"),
        (["--cache-mb", "-1"], "cache_mb must be a whole number, at least 0; got -1"),
        (["--name", "toy\udcff"], "--name must be UTF-8 text; character 4 is invalid"),
        (["--model", "\udcff.gguf"], "--name must be UTF-8 text; character 1 is invalid"),
        (["--host", "a..b"], "--host must be a name or an address of this machine; got 'a..b'"),
        (["--host", "\udcff"], "--host must be a name or an address of this machine; got '\\udcff'"),
        (["--host", "a" * 70 + ".example"], "--host must be a name or an address of this machine; got 'aaa"),
        (["--api-key-file", "missing"], "missing cannot be read: No such file or directory"),
        (["--time-limit", "-1"], "time_limit must be above 0; got -1"),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decode_serve.ModelChoice, "load", lambda *_: pytest.fail("the model was loaded"))
    found = run_command("serve", *arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr


def test_a_port_in_use_is_reported_before_the_model_is_loaded(monkeypatch):
    monkeypatch.setattr(decode_serve.ModelChoice, "load", lambda *_: pytest.fail("the model was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run_command("serve", "--port", taken.getsockname()[1])
    assert found.exit_code == 2
    assert "--port 0 selects a free port" in found.stderr
