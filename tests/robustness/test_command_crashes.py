"""Commands killed at random moments: the same command, run again, finishes with the result of an undisturbed run."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import KILLED, Command, kill_at_random, killed, left_processes, n_kills, temporary_files, wait_until

from etesian.decode.draft_training.samples import Samples
from etesian.decode.drafters.head.folder import read_head
from etesian.sparse.io import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def contents_of(folder: Path) -> set[tuple[str, int, int]]:
    """Return names, sizes and times of files."""
    return {(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)}


def test_killed_fit_leaves_the_old_file_or_the_new_one(folder: Path) -> None:
    rng, path = np.random.default_rng(0), folder / "m.npz"
    rows = [f"{user},{item},{rng.integers(1, 6)}" for user in range(300) for item in rng.choice(300, 5, replace=False)]
    (folder / "r.csv").write_text("\n".join(["user,item,rating", *rows]))
    options = "--n-factors 200 --schedule serial --tol none --max-iter 1 --random-state 0"
    fit = Command(["fit", "ratings", "r.csv", "-o", "m.npz", *options.split()], folder)
    fit.finish()
    undisturbed = path.read_bytes()
    seconds = -time.monotonic()
    fit.finish()
    seconds += time.monotonic()
    assert path.read_bytes() == undisturbed
    old = undisturbed[::-1]
    for number in range(n_kills(4)):
        path.write_bytes(old)
        process = fit.process()
        if number % 2:
            assert kill_at_random(process, rng, seconds) in (KILLED, 0)
        else:  # while it writes
            before = contents_of(folder)
            process.start()
            wait_until(lambda before=before: contents_of(folder) != before, process)  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.01))
            assert killed(process) in (KILLED, 0)
        assert path.read_bytes() in (old, undisturbed)
        assert {each.name for each in folder.iterdir()} - {"r.csv", "m.npz"} == {
            e.name for e in temporary_files(folder)
        }
        assert not left_processes(process.pid)
    fit.finish()
    assert path.read_bytes() == undisturbed
    load_model(path)


def progress_of(run: Path) -> tuple[int, float, int]:
    """Read everything that a killed training left; return its shards, seconds of sampling and steps."""
    from safetensors import safe_open

    shards, seconds, n_steps = 0, 0.0, 0
    if (run / "work/sampling.json").exists():
        sampling = json.loads((run / "work/sampling.json").read_text())
        shards, seconds = sampling["shards"], sampling["seconds"]
    for path in run.glob("work/*/*.npz"):
        Samples.load(path)
    if (run / "work/checkpoint.safetensors").exists():
        with safe_open(run / "work/checkpoint.safetensors", "pt") as file:
            n_steps = json.loads(file.metadata()["record"])["n_steps"]
        read_head(run)  # there is one for each checkpoint
    return shards, seconds, n_steps


def test_killed_draft_training_continues_and_finishes(folder: Path, bundle: Path) -> None:
    rng, run = np.random.default_rng(0), folder / "head"
    options = "--minutes 0.03 --outputs 64 --tokens-per-text 8"
    module = "etesian.decode.draft_training.training"
    train = Command(
        ["draft", "train", "--target", str(bundle / "target"), "-o", str(run), *options.split()],
        folder,
        [(module, "SHARD_PROMPTS", 2), (module, "SAVE_SECONDS", 0.05)],
    )
    before = (0, 0.0, 0)
    for number in range(n_kills(4)):
        process = train.process()
        process.start()
        if number % 2:  # when it trains, otherwise also while it loads and samples
            wait_until((run / "work/checkpoint.safetensors").exists, process)
        time.sleep(rng.uniform(0, 1.0))
        assert killed(process) in (KILLED, 0), train.log
        now = progress_of(run)
        assert all(later >= earlier for later, earlier in zip(now, before, strict=True)), (before, now)
        assert not left_processes(process.pid)
        before = now
    train.finish()
    assert "resumed after" in train.log
    record = json.loads((run / "training.json").read_text())
    assert record["steps"] >= before[2] > 0
    assert progress_of(run)[2] == record["steps"]


class Client:
    """Requests to a server that may die at any moment."""

    def __init__(self, port: int) -> None:
        self.port = port

    def complete(self, prompt: str, **options: Any) -> str | None:
        """Return the text that the server writes, or None if it does not respond."""
        body = {"model": "toy", "prompt": prompt, "max_tokens": 24, **options}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        assert answer.status == 200, content
        return content["choices"][0]["text"]

    def send_until_it_dies(self, seed: int) -> None:
        """Send requests that end soon or late."""
        for number in itertools.count():
            if self.complete("wind " * (seed % 4 + 1), seed=seed + number, temperature=1.0) is None:
                return

    def texts(self) -> list[str | None]:
        """Return a greedy and a sampled text, neither of which ends early."""
        endless = {"logit_bias": {"0": -100}}
        samplings = ({"temperature": 0}, {"temperature": 0.8, "seed": 3})
        return [self.complete("sea and wind", **endless, **sampling) for sampling in samplings]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def servers() -> Iterator[list[BaseProcess]]:
    """Processes to end with the test."""
    started: list[BaseProcess] = []
    yield started
    for process in started:
        process.kill()
        process.join()


def test_killed_server_restarts_on_its_port_with_the_same_texts(
    folder: Path, bundle: Path, servers: list[BaseProcess]
) -> None:
    client, rng = Client(free_port()), np.random.default_rng(0)
    serve = Command(["serve", "--model", str(bundle), "--name", "toy", "--port", str(client.port)], folder)
    found: list[list[str | None]] = []
    for _ in range(1 + n_kills(1)):
        servers.append(serve.process())
        servers[-1].start()
        wait_until(lambda: client.complete("a", max_tokens=1) is not None, servers[-1])
        assert servers[-1].is_alive(), serve.log
        found.append(client.texts())
        load = [threading.Thread(target=client.send_until_it_dies, args=(100 * k,)) for k in range(6)]
        for thread in load:
            thread.start()
        time.sleep(rng.uniform(0, 0.5))
        assert killed(servers[-1]) == KILLED
        for thread in load:
            thread.join()
        assert not left_processes(servers[-1].pid)
    assert all(found[0])
    assert found == found[:1] * len(found)
