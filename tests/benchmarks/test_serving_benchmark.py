"""The serving benchmarks run at toy size against a server in this process, and their arithmetic is right."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import serving
import serving_faults
import serving_overhead
from serving import Answer, summarize

pytest.importorskip("uvicorn")


def test_rates_and_quantiles_by_hand():
    answers = [Answer("a b c", [0.5, 0.7, 0.9]), Answer("a b", [0.1, 0.4])]
    figures = summarize(answers, 2.0, lambda text: len(text.split()))
    assert (figures["tokens"], figures["tokens_per_second"]) == (5, 2.5)
    assert figures["first_token_seconds"]["p50"] == pytest.approx(0.3)
    assert figures["seconds_per_token"]["p50"] == pytest.approx((0.2 + 0.3) / 2)


@pytest.fixture
def n_started(monkeypatch):
    """Serve and load a toy decoder in this process; holds the number of servers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "decode" / "serve"))
    from http_server import running
    from toy_decoder import make_decoder

    count = [0]

    @contextmanager
    def in_this_process(command, *, model):
        count[0] += 1
        with running(engine={"slots": 2}) as server:
            yield server.port, os.getpid()

    monkeypatch.setattr(serving, "started", in_this_process)
    monkeypatch.setattr(serving.Library, "decoder", property(lambda _: make_decoder()))
    return count


def test_runs_are_recorded_compared_with_the_library_and_resumed(tmp_path, n_started, capsys):
    arguments = ["--users", "1", "2", "--tokens", "6", "--without-plain", "--out", str(tmp_path)]
    serving.main(arguments)
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [(run["users"], run["prefix"]) for run in runs] == [
        (1, "cold"),
        (1, "cold"),
        (1, "warm"),
        (2, "cold"),
        (2, "warm"),
    ]
    assert all(run["equal_texts"] == run["texts"] == 6 * run["users"] for run in runs[1:])
    assert all(run["tokens_per_second"] > 0 for run in runs)
    serving.main(arguments)
    assert n_started == [1]
    assert "| etesian serve | 2 | warm |" in capsys.readouterr().out


def test_requests_that_fail_are_counted_and_the_others_compared(tmp_path, n_started, capsys):
    serving_faults.main(
        ["--requests", "60", "--users", "4", "--tokens", "2", "5", "--parts", "2", "--out", str(tmp_path)]
    )
    report = json.loads((tmp_path / "faults.json").read_text())
    assert report["results"]["malformed"] == 3
    assert report["statuses"] == {"400": 3}
    assert report["results"]["cancelled"] + report["results"]["finished"] == 57
    assert report["equal_texts"] == report["results"]["finished"] >= 51
    assert [state["requests"] for state in report["states"]] == [0, 30, 60]
    assert all(state["running"] == state["waiting"] == 0 and state["memory_bytes"] > 1e6 for state in report["states"])
    assert "| 60 |" in capsys.readouterr().out


def test_texts_that_differ_from_the_librarys_are_counted(n_started):
    asked = serving_faults.draw_requests(20, 1, (2, 3), seed=0)
    results = [(each.fate, "something else") for each in asked]
    judged = serving_faults.judge(asked, results, serving.Library("toy"))
    assert (judged["equal_texts"], judged["results"]) == (0, {"finished": 17, "cancelled": 2, "malformed": 1})


def test_overhead_of_pairs_by_hand():
    blocks = [[{"library": 1.0, "server": each}] for each in (1.1, 1.2, 1.4)]
    found = serving_overhead.summarize(blocks)
    assert (found["overhead"], found["server_seconds"]) == (pytest.approx(0.2), 1.2)
    assert found["interval"] == pytest.approx([0.1, 0.4])
    assert (found["blocks"], found["pairs"]) == (3, 3)


def test_overhead_is_measured_with_and_without_speculation(tmp_path, n_started, monkeypatch, capsys):
    monkeypatch.setattr(serving_overhead, "called", called_here)
    serving_overhead.main(["--blocks", "2", "--pairs", "2", "--tokens", "3", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "overhead.json").read_text())
    assert [report[name]["pairs"] for name in ("speculation", "plain")] == [4, 4]
    assert [len(block["plain"]) for block in report["seconds"]] == [2, 2]
    assert "over 4 pairs in 2 blocks" in capsys.readouterr().out


@contextmanager
def called_here(model, n_tokens):
    """Call the toy decoder of these tests, which another process does not have."""
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=serving_overhead._call, args=(theirs, model, n_tokens))
    thread.start()

    def answer(prompt, speculate):
        ours.send((prompt, speculate))
        return ours.recv()

    yield answer
    ours.send(None)
    thread.join()
