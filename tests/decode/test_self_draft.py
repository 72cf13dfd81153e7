"""The target as its own draft: formats, expected gain by hand, the automatic choice, and the same text."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tiny_bundle import write_model

from etesian.decode import Decoder, FixedPolicy, Sampling, TableModel, self_draft
from etesian.decode.self_draft import copy_format, count_parameters, expected_gain, is_candidate, is_worthwhile
from etesian.decode.speculation import PassCosts
from etesian.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("target"), width=64, initializer_range=0.3)


def test_formats_are_named_behind_a_colon():
    assert copy_format("lookup") is None
    assert copy_format("self") == "q4_1"
    assert copy_format("self:q8_0") == "q8_0"
    for wrong in ("self:", "self:q9"):
        with pytest.raises(InputError, match="self:q8_0"):
            copy_format(wrong)


def test_the_expected_gain_is_that_of_the_best_chain():
    flat, cheap = PassCosts([1, 64], [1.0, 1.0]), PassCosts([1, 64], [0.25, 0.25])
    # four tokens: (1 - 0.85 ** 5) / 0.15 = 3.7086 tokens in 4 * 0.25 + 1 = 2 plain passes; three give 1.821, five 1.845
    assert expected_gain(flat, cheap, 0.85) == pytest.approx(1.8543, abs=1e-4)
    steep = PassCosts([1, 64], [1.0, 64.0])  # every row costs as much as a pass
    assert is_worthwhile(flat, cheap)
    assert not is_worthwhile(steep, cheap)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_k=50, seed=3)], ids=["greedy", "top-k"])
def test_b1_a_copy_drafts_most_tokens_of_the_same_text(folder, sampling):
    loaded = Decoder.load(folder, draft="self:q8_0")
    assert loaded.drafter.stages == ("lookup", "self")
    decoder = Decoder(loaded.target, loaded.drafter, loaded.tokenizer, policy=FixedPolicy(4, 4))
    drafted = decoder.generate("wind", sampling, max_tokens=60)
    assert drafted.token_ids == decoder.generate("wind", sampling, max_tokens=60, speculate=False).token_ids
    assert drafted.stats.mean_accepted_length > 2


def test_a_copy_is_chosen_automatically_where_it_pays(folder, monkeypatch):
    assert Decoder.load(folder).drafter.stages == ("lookup",)  # far too small
    monkeypatch.setattr(self_draft, "FEWEST_PARAMETERS", 1)
    target = Decoder.load(folder, draft=None).target
    parts = 64 * (128 + 64 + 3 * 96) * 2  # queries, keys and values; attention output; gate, up and down
    assert count_parameters(target.architecture) == parts + 300 * 64
    assert is_candidate(target)
    monkeypatch.setattr("etesian.decode.load.is_worthwhile", lambda target, copy: True)
    assert Decoder.load(folder).drafter.stages == ("lookup", "self")
    assert Decoder.load(folder, draft=None).drafter.stages == ("lookup",)
    monkeypatch.setattr("etesian.decode.load.is_worthwhile", lambda target, copy: False)
    assert Decoder.load(folder).drafter.stages == ("lookup",)
    monkeypatch.setattr(self_draft, "available_bytes", lambda: 1_000.0)
    assert not is_candidate(target)
    assert not is_candidate(TableModel(8))
