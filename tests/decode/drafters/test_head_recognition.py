"""A head finds its target by a sample of embeddings, whatever number type the weights have."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from random_heads import OUTPUTS, random_head  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from etesian.decode.drafters.head import recognition  # noqa: E402
from etesian.decode.drafters.head.folder import CONFIG, read_json, write_head  # noqa: E402
from etesian.decode.drafters.head.model import HeadModel  # noqa: E402
from etesian.decode.drafters.head.recognition import embedding_sample, installed_head, is_head_of  # noqa: E402
from etesian.decode.drafters.head.weights import HeadConfig  # noqa: E402
from etesian.decode.models.cpu.architecture import read_network  # noqa: E402
from etesian.decode.models.cpu.model import CpuModel  # noqa: E402
from etesian.decode.models.cpu.quantized.rounding import quantized  # noqa: E402


def network(seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    return read_network(LlamaForCausalLM(config).eval())


def head_for(target):
    width = target.width
    config = HeadConfig(
        width=width, n_heads=4, n_key_heads=2, head_width=8, inner_width=64, feature_width=width,
        vocabulary_size=target.vocabulary_size,
    )  # fmt: skip
    return random_head(config)


@pytest.fixture
def heads(tmp_path, monkeypatch):
    """A folder of installed heads, with one for the first target."""
    monkeypatch.setattr(recognition, "HEADS", tmp_path / "heads")
    target = CpuModel(network())
    write_head(tmp_path / "heads" / "first", head_for(target), embedding_sample(target))
    (tmp_path / "heads" / "README.md").write_text("no head")
    return tmp_path / "heads"


@pytest.mark.parametrize("form", [None, "Q8_0", "Q4_0"])
def test_a_target_in_any_number_type_finds_its_head(heads, form):
    own = network()
    assert installed_head(CpuModel(own if form is None else quantized(own, form))) == heads / "first"


def test_other_targets_have_no_head(heads):
    target = CpuModel(network())
    assert installed_head(target) == heads / "first"
    other = CpuModel(network(seed=1))
    assert installed_head(other) is None
    config = read_json(heads / "first" / CONFIG)
    assert is_head_of(config, target)
    for change in ({"vocabulary_size": 7}, {"feature_width": 8}, {"target_sample": None}, {"target_sample": [["x"]]}):
        assert not is_head_of(config | change, target)
    (heads / "first" / CONFIG).write_text(json.dumps(config | {"target_sample": [[0.0] * 16] * 16}))
    assert installed_head(target) is None


def test_a_head_without_an_output_layer_uses_the_targets_embeddings(heads):
    target = CpuModel(network())
    weights = head_for(target)
    embeddings = target.embed(OUTPUTS)
    logits = []
    for output in (embeddings, None):
        model = HeadModel(type(weights)(**{**vars(weights), "output": output}), target.embed, type_name="F32")
        context = model.context()
        context.supply(0, np.ones((3, target.width), np.float32))
        logits.append(context.score([1, 2], [-1, 0]).logits)
    np.testing.assert_array_equal(*logits)
