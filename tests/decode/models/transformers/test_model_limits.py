"""What models of transformers are refused or limited: never are tokens scored wrongly in silence."""

from __future__ import annotations

import types

import numpy as np
import pytest
import tiny_models

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from etesian.decode.models.transformers.model import HuggingFaceModel  # noqa: E402
from etesian.decode.models.transformers.model_limits import model_limits  # noqa: E402
from etesian.errors import InputError  # noqa: E402


def plain_logits(network, tokens) -> np.ndarray:
    with torch.no_grad():
        return network(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()


# Refused by what they are.


@pytest.mark.parametrize("family", ["mamba", "recurrent_gemma", "jamba", "qwen3_next"])
def test_recurrent_models_are_refused_by_name(family):
    with pytest.raises(InputError, match=rf"model type '{family}' keeps a running state .* attention layers only"):
        HuggingFaceModel(tiny_models.tiny_model(family))


def test_encoder_decoders_are_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    with pytest.raises(InputError, match="model type 't5' is an encoder-decoder"):
        HuggingFaceModel(T5ForConditionalGeneration(config))


def test_models_without_output_layer_are_refused():
    with pytest.raises(InputError, match="LlamaModel has no output layer"):
        HuggingFaceModel(tiny_models.tiny_model("llama").base_model)


def test_attention_that_takes_no_mask_is_refused():
    network = tiny_models.tiny_model("llama")
    network.config._attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match=r"'flash_attention_2' of model type 'llama' takes no tree's mask; .*'sdpa'"):
        HuggingFaceModel(network)


def test_models_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="lies on meta; load it whole"):
        HuggingFaceModel(tiny_models.tiny_model("llama").to("meta"))


def test_models_that_look_ahead_are_refused():
    # BERT's rows see tokens to their right, so no plain pass is what a pass over a cache gives.
    with pytest.raises(InputError, match=r"BertLMHeadModel \(model type 'bert'\) scores drafted tokens differently"):
        HuggingFaceModel(tiny_models.tiny_model("bert"))


# Refused, or run as a chain, by what they do.


def broken(change):
    """A Llama whose forward pass changes its arguments."""
    network = tiny_models.tiny_model("llama")
    forward = type(network).forward

    def changed_forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, **others):
        arguments = {"attention_mask": attention_mask, "position_ids": position_ids, "past_key_values": past_key_values}
        return forward(self, input_ids=input_ids, **change(arguments), **others)

    network.forward = types.MethodType(changed_forward, network)
    return network


def without(name):
    return lambda arguments: arguments | {name: None}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["position_ids", "attention_mask"])
def test_models_that_ignore_depths_or_ancestors_run_as_chains(name, dtype):
    model = HuggingFaceModel(broken(without(name)).to(getattr(torch, dtype)))
    assert not model.supports_trees


def test_models_that_forget_the_text_are_refused():
    with pytest.raises(InputError, match=r"cannot be run with .* \(ValueError: its layers keep no keys and values\)"):
        HuggingFaceModel(broken(without("past_key_values")))


def test_errors_of_a_forward_pass_are_told():
    def fail(arguments):
        raise TypeError("token_type_ids are required")

    with pytest.raises(InputError, match=r"cannot be run with a key-value cache \(TypeError: token_type_ids are req"):
        HuggingFaceModel(broken(fail))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["bloom", "mpt"])
def test_models_biased_by_a_keys_index_run_as_chains(family, dtype):
    network = tiny_models.tiny_model(family).to(getattr(torch, dtype))
    model = HuggingFaceModel(network)
    assert not model.supports_trees
    context = model.context()
    context.extend([5, 6, 7])
    context.score([8, 9], [-1, 0])
    rows = context.score([10, 11], [1, 2]).logits
    tolerance = 1e-5 if dtype == "float32" else 0.05
    expected = plain_logits(network, [5, 6, 7, 8, 9, 10, 11])
    np.testing.assert_allclose(rows, expected[-2:], rtol=0, atol=tolerance)
    context.keep([0, 1, 2])
    np.testing.assert_allclose(context.score([11], [-1]).logits, expected[-1:], rtol=0, atol=tolerance)
    with pytest.raises(InputError, match="takes chains only"):
        context.score([1, 2], [-1, -1])


# How long texts may be.


def test_window_that_is_not_the_configurations_limits_the_text():
    # The layers keep looking at 7 tokens, whatever the configuration says later: no window can be shown to be right.
    network = tiny_models.tiny_model("mistral", sliding_window=7)
    fixed = network.config
    model_config = tiny_models.tiny_config("mistral", sliding_window=7)
    model_config._attn_implementation = fixed._attn_implementation
    network.config = model_config
    model = HuggingFaceModel(network)
    assert model.supports_trees
    assert model.max_length == 7
    assert fixed.sliding_window == model_config.sliding_window == 7


def test_window_is_put_back_after_the_check():
    network = tiny_models.tiny_model("mistral", sliding_window=40)
    assert HuggingFaceModel(network).max_length == 256
    assert network.config.sliding_window == 40


@pytest.mark.parametrize(
    ("family", "changes", "longest"),
    [
        ("llama", {}, 256),
        ("bloom", {"max_position_embeddings": None}, None),  # biased by distance: no end
        ("mpt", {"max_position_embeddings": None, "max_seq_len": 90}, 90),
        ("llama4_text", {"attention_chunk_size": 64}, 64),  # beyond a chunk, keys are hidden by index
        ("gpt_neo", {"num_layers": 3, "attention_types": [[["local"], 3]], "window_size": 50}, 50),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, 256),
        (
            "phi3",
            {
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 1e4,
                    "short_factor": [1.0] * 6,
                    "long_factor": [2.0] * 6,
                    "original_max_position_embeddings": 64,
                },
                "original_max_position_embeddings": 64,
            },
            64,  # frequencies change there, and cached keys would be stale
        ),
    ],
)
def test_longest_text_is_where_attention_or_positions_change(family, changes, longest):
    assert model_limits(tiny_models.tiny_config(family, **changes)).max_length == longest


def test_windows_are_read_where_layers_have_one():
    def limits(family, **changes):
        found = model_limits(tiny_models.tiny_config(family, **changes))
        return found.window, found.mixes_layers

    assert limits("mistral", sliding_window=7) == (7, False)
    assert limits("gemma3_text", sliding_window=7, num_hidden_layers=6) == (7, True)
    assert limits("qwen2", sliding_window=7, use_sliding_window=False) == (None, False)
    assert limits("llama") == (None, False)
