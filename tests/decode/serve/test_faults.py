"""Faults: cancelled and malformed requests leave no slot, task, thread or memory behind; draining and signals."""

from __future__ import annotations

import concurrent.futures
import gc
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import numpy as np
import pytest
from http_server import running
from toy_decoder import END, Caller, PlainChat, english_like, make_decoder

from etesian.decode import Sampling
from etesian.errors import InputError

PROMPTS = ["a", "abc ab", "the cat of the hat " * 2, "fade"]


def expected_tokens():
    """What the library writes for every prompt and seed of `burst`."""
    plain = make_decoder(drafter="none")
    return {
        (prompt, seed): plain.generate(prompt, Sampling(temperature=1.0, seed=seed), max_tokens=4).token_ids
        for prompt in PROMPTS
        for seed in range(3)
    }


def burst(engine, rng, n, expected):
    """Run `n` small requests, 10% of them cancelled and 5% malformed, and compare the others; return their number."""
    n_finished, callers = 0, []
    for number in range(n):
        fate, prompt, seed = rng.random(), PROMPTS[rng.integers(len(PROMPTS))], int(rng.integers(3))
        if fate < 0.05:
            with pytest.raises(InputError):
                Caller(engine, [999_999], Sampling())
        else:
            sampling = Sampling(temperature=1.0, seed=seed)
            caller = Caller(engine, prompt, sampling, max_tokens=4, owner=str(rng.integers(3)))
            if fate < 0.15:
                caller.task.cancel()
            else:
                callers.append((caller, prompt, seed))
        if len(callers) == 20 or number == n - 1:
            for waiting, asked, seed in callers:
                assert waiting.result().token_ids == expected[asked, seed]
            n_finished, callers = n_finished + len(callers), []
    return n_finished


def test_a_thousand_requests_leave_nothing_behind(make_engine):
    decoder = make_decoder(drafter="shuffled")  # lookup drafters remember texts, up to a limit
    engine, rng = make_engine(decoder, slots=4, queue=1_000, cache_bytes=2_000), np.random.default_rng(0)
    n_threads, expected = threading.active_count(), expected_tokens()
    burst(engine, rng, 300, expected)  # fills all buffers
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    assert burst(engine, rng, 700, expected) > 500
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    wait_until(lambda: engine.n_running == engine.n_waiting == 0)
    assert threading.active_count() == n_threads
    assert grown < 100 * 700  # a request that leaves anything behind leaves kilobytes


def test_http_requests_that_fail_leave_nothing_behind():
    with running(engine={"slots": 2, "queue": 50}) as server:
        server.chat()
        n_threads = threading.active_count()
        for number in range(60):
            answer = server.ask("/v1/chat/completions", b"{") if number % 3 else server.chat(max_tokens=2)
            assert answer.status == (400 if number % 3 else 200)
        assert (server.engine.n_running, server.engine.n_waiting) == (0, 0)
        assert threading.active_count() <= n_threads + 2  # a pool of threads may grow once


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_requests_that_outlast_the_drain_end_with_an_error(path, capfd):
    endless = {"temperature": 0, "speculate": False, "stream": True}
    if path.endswith("completions"):
        endless |= {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 10**6, "ignore_eos": True}
    else:
        endless |= {"input": "ab", "max_output_tokens": 10**6}
    whole = endless | {"stream": False}
    long = make_decoder(english_like(), drafter="none")
    long.end_tokens = ()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with running(long, engine={"slots": 2}, drain_seconds=0.2, max_tokens=10**6) as server:
            streamed, collected = (pool.submit(server.ask, path, body) for body in (endless, whole))
            wait_until(lambda: server.engine.counters.tokens > 20 and server.engine.n_running == 2)
        last = streamed.result(timeout=10).events[-1]
        assert last["error"] == {
            "message": "the server is shutting down", "type": "server_error", "param": None, "code": "shutdown",
        }  # fmt: skip
        assert collected.result(timeout=10).status == 503
        assert collected.result().json["error"] == last["error"]
    assert "Traceback" not in capfd.readouterr().err


def wait_until(is_true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


SERVER = """
    import sys
    sys.path[:0] = {paths!r}
    from http_server import create_app, ServerOptions, Engine, EngineOptions, make_decoder
    from etesian.decode.serve.http import run_server
    options = ServerOptions(model_name="toy", port=0, drain_seconds=60, max_tokens=1_000_000)
    run_server(create_app(Engine(make_decoder(), EngineOptions(slots=2)), options), options,
               announce=lambda url: print(url, flush=True))
    print("ended", flush=True)
"""


@pytest.fixture
def process():
    code = textwrap.dedent(SERVER).format(paths=sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as found:
        yield found
        found.kill()


def start_streaming(process, max_tokens):
    """Begin a stream, and return its connection after the first event."""
    import http.client

    port = int(process.stdout.readline().strip().rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"messages": [{"role": "user", "content": "ab"}], "stream": True, "temperature": 0, "max_tokens": max_tokens}
    body["logit_bias"] = {str(END): -1000}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.readline()
    return connection, response


def test_sigterm_finishes_running_streams(process):
    connection, response = start_streaming(process, 600)
    process.send_signal(signal.SIGTERM)
    text = response.read().decode()
    connection.close()
    assert text.rstrip().endswith("data: [DONE]")
    parts = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    sampling = Sampling(logit_bias={END: -1000.0})
    prompt = PlainChat().encode([{"role": "user", "content": "ab"}])
    expected = make_decoder(drafter="none").generate(prompt, sampling, max_tokens=600).text
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == expected
    assert (process.wait(timeout=30), process.stdout.read()) == (0, "ended\n")


def test_a_second_ctrl_c_ends_at_once(process):
    connection, response = start_streaming(process, 100_000)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it drains
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    response.close()
    connection.close()
