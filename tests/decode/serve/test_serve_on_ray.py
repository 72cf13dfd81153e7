"""Replicas on a local Ray cluster: a replica that is killed in the middle of a stream, and what the command passes on."""

from __future__ import annotations

import concurrent.futures
import http.client
import importlib.util
import json
import os
import socket
import sys
import time
from contextlib import contextmanager

import pytest
from command_line import run_command
from http_server import MODEL, Answer, listening_app
from toy_decoder import END, PlainChat, make_decoder

from etesian.cli import decode_serve
from etesian.decode import Sampling
from etesian.decode.serve import EngineOptions, on_ray
from etesian.decode.serve import http as http_interface
from etesian.decode.serve.http import ServerOptions
from etesian.decode.serve.http.front import create_front
from etesian.errors import InputError

NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydantic and asyncio, in Ray Serve
OPTIONS = ServerOptions(model_name=MODEL, port=0, drain_seconds=1.0)
N_TOKENS = 2_000
REQUEST = {"temperature": 1.0, "seed": 7, "max_tokens": N_TOKENS, "logit_bias": {str(END): -1000}, "stream": True}


@pytest.fixture(scope="module")
def cluster():
    """Two cores on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for replicas, which import the toy decoder
        ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def replicas(cluster):
    with on_ray.deployed(cluster, make_decoder, EngineOptions(slots=2), OPTIONS, n_replicas=2) as found:
        yield found


@contextmanager
def serving(replicas):
    with listening_app(create_front(replicas, OPTIONS), OPTIONS) as found:
        yield found


def kill(ray, number):
    """Kill the process of a replica, as the kernel would."""
    (named,) = [
        each for each in ray.util.list_named_actors(all_namespaces=True) if f"{MODEL}-{number}#" in each["name"]
    ]
    ray.kill(ray.get_actor(named["name"], namespace=named["namespace"]))


def killed_stream(ray, server, content):
    """Stream a response, kill its replica after the first event, and return the events."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {"messages": [{"role": "user", "content": content}], **REQUEST}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    first = response.readline()
    kill(ray, response.headers["X-Etesian-Replica"])
    began = time.monotonic()
    answer = Answer(response.status, response.headers, (first + response.read()).decode())
    assert time.monotonic() - began < 10
    connection.close()
    return answer.events


def text_of(events):
    parts = [event for event in events if event != "[DONE]" and "choices" in event]
    return "".join(part["choices"][0]["delta"].get("content", "") for part in parts)


def expected_text(content):
    sampling = Sampling(temperature=1.0, seed=7, logit_bias={END: -1000.0})
    prompt = PlainChat().encode([{"role": "user", "content": content}])
    return make_decoder(drafter="none").generate(prompt, sampling, max_tokens=N_TOKENS).text


def home_of(server, content):
    return int(server.chat(content, max_tokens=1).headers["X-Etesian-Replica"])


def no_model():
    raise InputError("model 'nowhere' does not exist")


@NEEDS_RAY
def test_model_that_no_node_can_load_is_reported(cluster):  # first: it needs the cores of `replicas`
    options = ServerOptions(model_name="nowhere")
    with (
        pytest.raises(InputError, match="a replica cannot serve the model: model 'nowhere' does not exist"),
        on_ray.deployed(cluster, no_model, EngineOptions(), options, n_replicas=1),
    ):
        pytest.fail("deployed")


@NEEDS_RAY
def test_replica_killed_in_a_stream_fails_that_request_only(cluster, replicas):
    with serving(replicas) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        names = {home_of(server, content): content for content in ("abc", "cab", "bad", "fade", "hid", "jab")}
        assert set(names) == {0, 1}
        kept = pool.submit(server.chat, names[1], **REQUEST)
        lost = killed_stream(cluster, server, names[0])
        assert lost[-1]["error"]["code"] == "replica_lost"
        assert text_of(lost) != expected_text(names[0])
        assert expected_text(names[0]).startswith(text_of(lost))
        events = kept.result(timeout=30).events
        assert (events[-1], text_of(events)) == ("[DONE]", expected_text(names[1]))

        retried = server.chat(names[0], **REQUEST)
        assert retried.headers["X-Etesian-Replica"] == "1"
        assert text_of(retried.events) == expected_text(names[0])
        wait_until(lambda: server.ask("/health").json["replicas"] == 2, seconds=30)
        returned = server.chat(names[0], **REQUEST)
        assert returned.headers["X-Etesian-Replica"] == "0"
        assert text_of(returned.events) == expected_text(names[0])


@NEEDS_RAY
def test_front_outside_the_cluster_reaches_replicas_through_a_courier(cluster, replicas):
    handles = [replica.handle for replica in replicas]
    with serving(on_ray.through_courier(cluster, handles)) as server:
        wait_until(lambda: server.ask("/health").json["replicas"] == 2, seconds=30)
        assert text_of(server.chat("abc", **REQUEST).events) == expected_text("abc")
        assert killed_stream(cluster, server, "abc")[-1]["error"]["code"] == "replica_lost"
        assert text_of(server.chat("abc", **REQUEST).events) == expected_text("abc")


NODES = [{"CPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}]


@pytest.mark.parametrize(
    ("n_replicas", "n_gpus", "cores"), [(1, 0, 16), (2, 0, 8), (3, 0, 5), (5, 0, 4), (20, 0, 1), (1, 1, 16), (2, 1, 8)]
)
def test_replicas_get_the_largest_equal_share_of_cores(n_replicas, n_gpus, cores):
    assert on_ray.cores_each(NODES, n_replicas, n_gpus) == cores


@pytest.mark.parametrize(
    ("nodes", "n_replicas", "n_gpus", "most"), [(NODES, 21, 0, 20), (NODES, 3, 1, 2), ([], 1, 0, 0)]
)
def test_replicas_without_room_are_refused(nodes, n_replicas, n_gpus, most):
    with pytest.raises(InputError, match=f"the cluster has room for {most} replicas .*; got {n_replicas}"):
        on_ray.cores_each(nodes, n_replicas, n_gpus)


@NEEDS_RAY
def test_missing_ray_serve_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    monkeypatch.delattr(pytest.importorskip("ray"), "serve", raising=False)
    with (
        pytest.raises(InputError, match=r"pip install 'etesian\[ray\]'"),
        on_ray.deployed(None, make_decoder, EngineOptions(), OPTIONS, n_replicas=1),
    ):
        pytest.fail("deployed")


def test_command_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(on_ray, "serve_on_ray", lambda *given, **named: calls.append((given, named)))
    monkeypatch.setattr(http_interface, "listen", lambda _: socket.socket())
    monkeypatch.setattr(decode_serve.ModelChoice, "load", lambda *_: pytest.fail("the model was loaded here"))
    found = run_command(
        "serve", "--model", "/models/toy.gguf", "--slots", 3, "--port", 9000, "--device", "cuda", "--on", "ray://head:10001",
        "--replicas", 4,
    )  # fmt: skip
    assert (found.exit_code, found.stderr) == (0, "stopped\n")
    (((load, engine, options), named),) = calls
    assert (load.__self__.model, engine.slots, options.port, options.model_name) == ("/models/toy.gguf", 3, 9000, "toy")
    assert (named["address"], named["n_replicas"], named["n_gpus"]) == ("ray://head:10001", 4, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replicas", "2"], "--replicas must be at least 1, and needs --on ray; got 2"),
        (["--on", "ray", "--replicas", "0"], "--replicas must be at least 1, and needs --on ray; got 0"),
        (["--on", "slurm"], "on must be 'ray' or 'ray://host:port'; got 'slurm'"),
    ],
)
def test_mistakes_are_found_before_anything_is_deployed(arguments, message):
    found = run_command("serve", *arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr


def wait_until(is_true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
