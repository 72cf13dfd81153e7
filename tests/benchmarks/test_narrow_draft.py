"""The narrow draft model is trained on the head's texts and measured on the same held-out positions."""

from __future__ import annotations

import json

import narrow_draft
import numpy as np
import pytest
import torch
from tiny_bundle import write_model

from etesian.decode.draft_training.fitting import Corpus
from etesian.decode.draft_training.target import load_target
from etesian.decode.draft_training.training import TrainingOptions, output_rows, read_samples, train_draft


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("target"), initializer_range=0.3)


@pytest.fixture(scope="module")
def head(target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    options = TrainingOptions(minutes=0.01, n_outputs=64, n_tokens=8)
    train_draft(load_target(target), folder, options, lambda line: None)
    return folder


def test_record_holds_both_acceptances(target, head, tmp_path):
    narrow_draft.main([str(head), "--target", str(target), "--minutes", "0.02", "--width", "64", "--layers", "1",
                       "--out", str(tmp_path)])  # fmt: skip
    (found,) = json.loads((tmp_path / "records.json").read_text())["results"]
    assert found["steps"] > 0
    assert 0 <= found["acceptance"] <= 1
    assert found["head_acceptance"] == json.loads((head / "training.json").read_text())["curve"][-1]["acceptance"]
    assert "| narrow model, 1 layers of width 64 |" in (tmp_path / "table.md").read_text()


def test_choices_do_not_depend_on_later_tokens(target, head):
    loaded, (texts, _) = load_target(target), read_samples(head / "work")
    tokens = np.arange(64)
    index = np.full(loaded.model.vocabulary_size, -1)
    index[tokens] = tokens
    torch.manual_seed(0)
    model = narrow_draft.NarrowModel(output_rows(loaded.network, tokens), width=64, n_layers=2)
    batch = Corpus(texts, loaded.model.embed, index).batch(np.arange(1))
    batch["is_known"] = torch.ones_like(batch["is_known"])
    with torch.no_grad():
        before, _ = model(batch)
        batch["embeddings"][:, -1] = batch["embeddings"][:, -1].flip(-1)
        after, _ = model(batch)
    torch.testing.assert_close(after[:-1], before[:-1])
    assert not torch.allclose(after[-1], before[-1])


def test_acceptance_is_the_share_of_the_targets_first_choices(target, head):
    loaded, (_, held_out) = load_target(target), read_samples(head / "work")
    index = np.arange(loaded.model.vocabulary_size)
    corpus = Corpus(held_out, loaded.model.embed, index)

    def perfect(batch):
        wanted = batch["first_choice"][batch["is_known"]]
        wrong = torch.arange(len(wanted)) % 4 == 0
        chosen = torch.where(wrong, (wanted + 1) % len(index), wanted)
        return torch.nn.functional.one_hot(chosen, len(index)).float(), batch["is_known"]

    assert narrow_draft.acceptance(perfect, corpus) == pytest.approx(0.75, abs=0.03)
