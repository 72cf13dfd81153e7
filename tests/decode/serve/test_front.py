"""The front of several replicas, which here are engines in this process: affinity, relaying and lost replicas."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import http.client
import json
import time
from collections import Counter

import pytest
from http_server import MODEL, listening_app, running
from toy_decoder import END, make_decoder

from etesian.decode.serve import EngineOptions
from etesian.decode.serve.http import ServerOptions, read_api_keys
from etesian.decode.serve.http.front import LostError, create_front, ranked, session_of
from etesian.decode.serve.replica import ServedReplica

LONG = {"logit_bias": {str(END): -1000}, "max_tokens": 1_000_000, "stream": True}


class Here:
    """A replica in this process, which a test can kill and restart."""

    def __init__(self, engine: EngineOptions, options: ServerOptions) -> None:
        self.served = ServedReplica(make_decoder, engine, options)
        self.is_dead = False
        self.n_begun = 0

    def check(self) -> None:
        if self.is_dead:
            raise LostError("killed by the test")

    async def begin(self, exchange, scope, body) -> None:
        self.check()
        self.n_begun += 1
        await self.served.begin(exchange, scope, body)

    async def receive(self, exchange):
        messages = await self.served.receive(exchange)
        self.check()
        if messages is None:
            raise LostError("unknown")
        return messages

    async def leave(self, exchange) -> None:
        await self.served.leave(exchange)

    async def wait_until_ready(self) -> None:
        while self.is_dead:
            await asyncio.sleep(0.01)

    @property
    def n_running(self) -> int:
        return self.served.engine.n_running


@contextlib.contextmanager
def front(n_replicas=2, *, engine=None, **options):
    """Serve replicas of a toy model until the block ends."""
    chosen = ServerOptions(**{"model_name": MODEL, "port": 0, "drain_seconds": 1.0, "max_tokens": 2_000_000, **options})
    replicas = [Here(EngineOptions(**(engine or {})), chosen) for _ in range(n_replicas)]
    with listening_app(create_front(replicas, chosen), chosen) as found:
        yield found, replicas
    for replica in replicas:
        replica.served.engine.close()


def test_requests_that_outlast_the_drain_end_with_an_error():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with front(drain_seconds=1.0) as (server, replicas):
            streamed = pool.submit(server.chat, **LONG)
            collected = pool.submit(server.chat, **LONG | {"stream": False})
            while sum(replica.n_running for replica in replicas) < 2:
                time.sleep(0.01)
        assert streamed.result(timeout=10).events[-1]["error"]["code"] == "shutdown"
        assert collected.result(timeout=10).status == 503
        assert collected.result().json["error"]["code"] == "shutdown"


@pytest.fixture
def served():
    with front() as found:
        yield found


def replica_of(answer) -> int:
    return int(answer.headers["X-Etesian-Replica"])


def open_stream(server, path="/v1/chat/completions", **body):
    """Begin a stream, and return its response after the first event."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    response.readline()
    return connection, response


def open_chat(server, content="ab", **options):
    return open_stream(server, messages=[{"role": "user", "content": content}], **{**LONG, **options})


def wait_until(is_true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def without_identity(value):
    return {name: each for name, each in value.items() if name not in ("id", "created", "created_at", "output")}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 9, "seed": 3, "n": 2},
        ),
        ("/v1/chat/completions", {"messages": []}),
        ("/v1/completions", {"prompt": ["ab", "cab"], "max_tokens": 9, "logprobs": 2}),
        ("/v1/responses", {"input": "ab", "max_output_tokens": 9}),
        ("/tokenize", {"content": "abc"}),
        ("/v1/completions", b"{"),
        ("/v1/models/other", None),
        ("/no/such/path", None),
    ],
)
def test_responses_are_those_of_a_single_server(served, path, body):
    with running() as single:
        expected = single.ask(path, body)
    answer = served[0].ask(path, body)
    assert answer.status == expected.status
    found, wanted = without_identity(answer.json), without_identity(expected.json)
    for usage in (found.pop("usage", {}), wanted.pop("usage", {})):
        usage.pop("completion_tokens_details", None)  # drafters draw at random
    assert found == wanted


def test_conversation_stays_on_the_replica_that_has_its_prefix_cached(served):
    server, _ = served
    for opening in ("abc", "cab", "bad", "fade"):
        turns = [{"role": "user", "content": opening * 10}]
        first = server.ask("/v1/chat/completions", {"messages": turns, "max_tokens": 9})
        turns += [first.json["choices"][0]["message"], {"role": "user", "content": "b"}]
        second = server.ask("/v1/chat/completions", {"messages": turns, "max_tokens": 9})
        assert replica_of(first) == replica_of(second)
        assert second.json["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32  # no other opening has these


def test_sessions_spread_over_replicas_and_only_those_of_a_lost_one_move():
    orders = [ranked(f"conversation {number}", 4) for number in range(2_000)]
    counts = Counter(order[0] for order in orders)
    assert all(400 < counts[number] < 600 for number in range(4))
    assert {len(set(order)) for order in orders} == {4}
    fewer = [ranked(f"conversation {number}", 3) for number in range(2_000)]
    assert [order[0] for order in fewer] == [next(n for n in order if n < 3) for order in orders]


USER, SYSTEM = {"role": "user", "content": "a"}, {"role": "system", "content": "b"}


@pytest.mark.parametrize(
    ("body", "continued", "is_same"),
    [
        ({"messages": [SYSTEM, USER]}, {"messages": [SYSTEM, USER, SYSTEM, USER], "seed": 2}, True),
        ({"messages": [SYSTEM, USER]}, {"messages": [SYSTEM, {**USER, "content": "c"}]}, False),
        ({"input": [USER]}, {"input": [USER, SYSTEM]}, True),
        ({"prompt": "a" * 300}, {"prompt": "a" * 400}, True),
        ({"prompt": [1] * 300}, {"prompt": [1] * 400}, True),
        ({"prompt": "ab"}, {"prompt": "cd"}, False),
        ({"prompt": "ab", "prompt_cache_key": "k"}, {"prompt": "cd", "prompt_cache_key": "k"}, True),
        ({"prompt": "ab", "prompt_cache_key": "k"}, {"prompt": "ab", "prompt_cache_key": "l"}, False),
    ],
)
def test_session_is_the_opening_of_a_conversation(body, continued, is_same):
    sessions = [session_of("owner", json.dumps(each).encode()) for each in (body, continued)]
    assert (sessions[0] == sessions[1]) == is_same
    assert session_of("another", json.dumps(body).encode()) != sessions[0]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"messages": 3}', b'{"prompt": null}'])
def test_bodies_that_are_refused_have_a_session_too(body):
    assert session_of("owner", body).startswith("owner")


def test_refused_requests_reach_no_replica(tmp_path):
    file = tmp_path / "keys"
    file.write_text("a-key-of-a-user-0001")
    with front(api_keys=read_api_keys(file), max_body_bytes=2_000, body_seconds=0.3) as (server, replicas):
        key = {"Authorization": "Bearer a-key-of-a-user-0001"}
        assert server.chat().status == 401
        assert server.ask("/v1/models", Host="evil.example", **key).status == 403
        assert server.ask("/tokenize", {"content": "a" * 3_000}, **key).status == 413
        assert server.ask("/tokenize", b"", Content_Length="9", **key).status == 408
        assert [replica.n_begun for replica in replicas] == [0, 0]
        assert server.ask("/tokenize", {"content": "a"}, **key).json["count"] == 1


def test_full_replica_passes_requests_on_until_all_are_full():
    with front(engine={"slots": 1, "queue": 0}) as (server, replicas):
        connections = [open_chat(server)]
        home = int(connections[0][1].headers["X-Etesian-Replica"])
        other = server.chat(max_tokens=3)
        assert (other.status, replica_of(other)) == (200, 1 - home)
        wait_until(lambda: replicas[1 - home].n_running == 0)
        connections.append(open_chat(server))
        refused = server.chat()
        assert (refused.status, refused.json["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        for connection, response in connections:
            response.close()
            connection.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "ab"}], **LONG}),
        ("/v1/completions", {"prompt": "ab", **LONG}),
        ("/v1/responses", {"input": "ab", "stream": True, "max_output_tokens": 1_000_000, "temperature": 0}),
    ],
)
def test_stream_of_a_lost_replica_ends_with_an_error_event(served, path, body):
    server, replicas = served
    connection, response = open_stream(server, path, **body)
    number = int(response.headers["X-Etesian-Replica"])
    replicas[number].is_dead = True
    lines = response.read().decode().rstrip().split("\n")
    connection.close()
    event = json.loads(lines[-1].removeprefix("data: "))
    assert (event["error"]["type"], event["error"]["code"]) == ("server_error", "replica_lost")
    assert ("event: error" in lines) == (path == "/v1/responses")
    assert "[DONE]" not in lines[-1]


def test_lost_replica_is_left_out_until_it_responds_again(served):
    server, replicas = served
    home = replica_of(server.chat())
    replicas[home].is_dead = True
    assert replica_of(server.chat()) == 1 - home
    assert server.ask("/health").json["replicas"] == 1
    replicas[home].is_dead = False
    wait_until(lambda: server.ask("/health").json["replicas"] == 2)
    assert replica_of(server.chat()) == home


def test_server_without_a_living_replica_says_so(served):
    server, replicas = served
    for replica in replicas:
        replica.is_dead = True
    for _ in range(2):
        answer = server.chat(stream=True)
        assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    assert server.ask("/health").status == 503


def test_client_that_leaves_frees_its_slot(served):
    server, replicas = served
    connection, response = open_chat(server)
    assert sum(replica.n_running for replica in replicas) == 1
    response.close()
    connection.close()
    wait_until(lambda: sum(replica.n_running for replica in replicas) == 0)


def test_front_that_dies_leaves_no_slot(caplog):
    with front(send_seconds=0.3) as (server, replicas):
        connection, response = open_chat(server)
        home = int(response.headers["X-Etesian-Replica"])
        replicas[home].leave = lambda exchange: asyncio.sleep(0)  # nobody tells the replica
        response.close()
        connection.close()
        wait_until(lambda: replicas[home].n_running == 0)
    gc.collect()
    assert not caplog.records  # such as an exception that nobody retrieved


def test_health_and_metrics_sum_up_the_replicas(served):
    server, _ = served
    answers = [server.chat("abcdefgh"[number:], max_tokens=5) for number in range(8)]
    counts = Counter(replica_of(answer) for answer in answers)
    assert len(counts) == 2
    lines = server.ask("/metrics").text.splitlines()
    requests = 'etesian_http_requests_total{path="/v1/chat/completions",replica="%d",status="200"} %s'
    assert all(requests % (number, float(counts[number])) in lines for number in range(2))
    assert len([line for line in lines if line.startswith("# TYPE etesian_passes_total")]) == 1
    assert server.ask("/health").json == {"status": "ok", "running": 0, "waiting": 0, "replicas": 2}
