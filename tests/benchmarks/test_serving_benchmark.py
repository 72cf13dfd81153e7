"""The serving benchmark runs at toy size against a server in this process, resumes, and its arithmetic is right."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import serving
from serving import Answer, summarize

pytest.importorskip("uvicorn")


def test_rates_and_quantiles_by_hand():
    answers = [Answer("a b c", [0.5, 0.7, 0.9]), Answer("a b", [0.1, 0.4])]
    figures = summarize(answers, 2.0, lambda text: len(text.split()))
    assert (figures["tokens"], figures["tokens_per_second"]) == (5, 2.5)
    assert figures["first_token_seconds"]["p50"] == pytest.approx(0.3)
    assert figures["seconds_per_token"]["p50"] == pytest.approx((0.2 + 0.3) / 2)


def test_runs_are_recorded_compared_with_the_library_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "decode" / "serve"))
    from http_server import running
    from toy_decoder import make_decoder

    n_started = 0

    @contextmanager
    def in_this_process(command, *, model):
        nonlocal n_started
        n_started += 1
        with running(engine={"slots": 2}) as server:
            yield server.port, 2**30

    monkeypatch.setattr(serving, "started", in_this_process)
    monkeypatch.setattr(serving.Library, "decoder", property(lambda _: make_decoder()))
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
    assert n_started == 1
    assert "| etesian serve | 2 | warm |" in capsys.readouterr().out
