"""The bundled pair loads, speaks one vocabulary, predicts unseen source, and its page tells what its files are."""

from __future__ import annotations

import json
import math
import sysconfig
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from etesian.decode.bundled import bundled_folder
from etesian.decode.drafters.ngram import NgramDrafter

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
LARGEST_BYTES = 25 * 2**20
WINDOW = 512


@pytest.fixture(scope="module")
def record():
    return json.loads((bundled_folder() / "training.json").read_text())


@pytest.fixture(scope="module")
def models():
    return {
        name: AutoModelForCausalLM.from_pretrained(bundled_folder() / name, dtype=torch.float32).eval()
        for name in ("target", "draft")
    }


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(bundled_folder() / "target")


@pytest.fixture(scope="module")
def held_out_windows(record, tokenizer):
    names = [name.removeprefix("python/") for name in record["held_out"] if name.startswith("python/")]
    texts = [(LIBRARY / name).read_text() for name in names if (LIBRARY / name).is_file()]
    ids = tokenizer("".join(texts)).input_ids
    starts = torch.linspace(0, len(ids) - WINDOW - 1, 12).long().tolist()
    return torch.tensor([ids[start : start + WINDOW + 1] for start in starts])


@torch.inference_mode()
def loss(model, windows):
    logits = model(windows[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).item()


def test_target_and_draft_speak_the_same_vocabulary(models, tokenizer):
    other = AutoTokenizer.from_pretrained(bundled_folder() / "draft")
    assert other.get_vocab() == tokenizer.get_vocab()
    assert {model.config.vocab_size for model in models.values()} == {len(tokenizer)}
    source = "def f(x):\n    return {'ä': x}\n"
    assert tokenizer.decode(tokenizer(source).input_ids) == source


def test_ngram_proposes_tokens_of_that_vocabulary(tokenizer):
    table = NgramDrafter.load(bundled_folder() / "ngram.npz").table
    assert table.vocabulary_size == len(tokenizer)


def test_all_together_are_at_most_25_mib_and_the_draft_is_far_smaller(models):
    assert sum(path.stat().st_size for path in bundled_folder().rglob("*") if path.is_file()) <= LARGEST_BYTES
    assert models["target"].num_parameters() >= 10 * models["draft"].num_parameters()


def test_target_predicts_held_out_modules_far_better_than_the_draft_and_both_better_than_chance(
    models, record, tokenizer, held_out_windows
):
    losses = {name: loss(model, held_out_windows) for name, model in models.items()}
    assert losses["target"] < losses["draft"] - 0.3
    assert losses["draft"] < 0.7 * math.log(len(tokenizer))  # a uniform guess costs log(vocabulary)
    # The record is of all held-out modules, of every package; the library's own are a sample of them.
    assert losses["target"] == pytest.approx(record["target"]["held_out_loss"], abs=0.4)
    assert losses["draft"] == pytest.approx(record["draft"]["held_out_loss"], abs=0.4)


def test_page_and_record_tell_the_shapes_of_the_models(models, record):
    page = (bundled_folder() / "README.md").read_text()
    for name, model in models.items():
        assert record[name]["parameters"] == model.num_parameters()
        assert f"{model.num_parameters():,}" in page
    assert all(f"| {package['name']} | {package['version']} |" in page for package in record["packages"])


def test_sampled_text_is_not_a_loop(models, tokenizer):
    ids = tokenizer(["class Stack:\n", "def read_lines(path):\n", "import os\n"], padding=False).input_ids
    torch.manual_seed(0)
    for prompt in ids:
        out = models["target"].generate(
            torch.tensor([prompt]), do_sample=True, temperature=0.8, top_k=0, max_new_tokens=96, pad_token_id=0
        )
        written = out[0, len(prompt) :].tolist()
        assert len(set(written)) > len(written) / 4
