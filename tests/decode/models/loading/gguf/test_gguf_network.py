"""Models from GGUF files compute what transformers computes from the same weights, with rows that are exact."""

from __future__ import annotations

from typing import Any

import gguf_files
import numpy as np
import pytest
import tiny_models

from etesian.decode.decoder import Decoder
from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.loading import LoadOptions
from etesian.decode.models.loading.gguf import load_gguf
from etesian.decode.models.loading.gguf.directory import Gguf, open_gguf
from etesian.decode.models.loading.gguf.families import FAMILIES
from etesian.decode.models.loading.gguf.network import read_network
from etesian.decode.models.loading.gguf.tokenizer import read_tokenizer
from etesian.decode.sampling import Sampling
from etesian.errors import InputError

torch = pytest.importorskip("torch")

CHANGES = {"gpt2": {"n_embd": 64}, "qwen3": {"head_dim": 32}, "gemma": {"head_dim": 32}}
NAMES = {"gemma3": "gemma3_text"}
"""Of families that transformers calls otherwise."""
WIDTHS = {"hidden_size": 64, "intermediate_size": 96}


def tiny(family: str, **changes):
    shape = CHANGES.get(family, {}) if family == "gpt2" else WIDTHS | CHANGES.get(family, {})
    return tiny_models.tiny_model(family, **(shape | changes))


def random_tokens(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, tiny_models.VOCABULARY_SIZE, n)


def logits_of(model: CpuModel, tokens: np.ndarray) -> np.ndarray:
    return model.context().score(tokens, np.arange(-1, len(tokens) - 1)).logits


def expected_logits(model, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(tokens)[None]).logits[0].float().numpy()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(((found - expected) ** 2).mean()) / expected.std())


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_file_gives_the_logits_of_transformers(family, tmp_path):
    model, tokens = tiny(NAMES.get(family, family)), random_tokens(60)
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    # keys and values are kept in bfloat16; all else is float32
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < 0.005


@pytest.mark.parametrize("type_name", gguf_files.TYPES)
def test_quantized_file_gives_the_logits_of_its_dequantized_weights_but_for_rounding(type_name, tmp_path):
    tokens = random_tokens(40)
    model = gguf_files.write_random_gguf(tmp_path / "tiny.gguf", type_name)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    # a block's activations are rounded to 1/127 of the largest: 0.7% of a normal one, over 2 layers and 9 products;
    # beside weights in bfloat16 they are rounded to bfloat16, by up to 0.4%
    tolerance = {"F32": 0.005, "F16": 0.005, "BF16": 0.015}.get(type_name, 0.03)
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < tolerance


@pytest.mark.parametrize("type_name", ["F16", "Q8_0", "Q4_1", "Q5_K", "Q6_K"])
def test_rows_of_a_quantized_model_are_exact(type_name, tmp_path):
    gguf_files.write_random_gguf(tmp_path / "tiny.gguf", type_name)
    one, _ = load_gguf(tmp_path / "tiny.gguf", n_threads=1)
    three, _ = load_gguf(tmp_path / "tiny.gguf", n_threads=3)
    tokens = random_tokens(70)
    context, rows = one.context(), []
    for token in tokens:
        rows.append(context.score([token], [-1]).logits[0].copy())
        context.keep([0])
    assert one.traits.rows_are_exact
    assert np.array_equal(logits_of(one, tokens), rows)
    assert np.array_equal(logits_of(three, tokens), rows)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.3, seed=5)])
def test_speculation_writes_the_text_of_plain_decoding(sampling, tmp_path):
    gguf_files.write_random_gguf(tmp_path / "tiny.gguf", "Q4_0")
    model, _ = load_gguf(tmp_path / "tiny.gguf")
    decoder, prompt = Decoder(model, LookupDrafter()), [5, 6, 7, 8, 5, 6, 7, 8, 5, 6]
    found = decoder.generate(prompt, sampling, max_tokens=80)
    assert found.token_ids == decoder.generate(prompt, sampling, max_tokens=80, speculate=False).token_ids


def test_types_may_differ_between_queries_keys_and_values(tmp_path):
    model, tokens = tiny_models.tiny_model("llama", hidden_size=256, intermediate_size=256), random_tokens(30)
    types = {"attn_q": "Q5_K", "attn_k": "Q8_0", "attn_v": "Q6_K", "ffn_gate": "Q8_0", "ffn_up": "F16"}

    def rounded(name, weight):
        type_name = next((types[each] for each in types if each in name), "F32")
        rng = np.random.default_rng(len(name))
        if type_name.endswith("K"):
            return gguf_files.random_blocks(type_name, *weight.shape, rng, spread=0.06), type_name
        from gguf import GGMLQuantizationType
        from gguf.quants import quantize

        rows = quantize(weight, GGMLQuantizationType[type_name]).view(np.uint8)
        return rows.reshape(len(weight), -1), type_name

    held = gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model, rounded=rounded)
    gguf_files.write_tiny_gguf(
        tmp_path / "plain.gguf", model, rounded=lambda name, _: (held[name].view(np.uint8), "F32")
    )
    mixed, plain = (load_gguf(tmp_path / name)[0] for name in ("tiny.gguf", "plain.gguf"))
    assert relative_error(logits_of(mixed, tokens), logits_of(plain, tokens)) < 0.03


def test_types_that_change_inside_a_strip_become_float32(tmp_path):
    model, tokens = tiny_models.tiny_model("llama", hidden_size=96, num_attention_heads=4), random_tokens(30)

    def rounded(name, weight):  # 48 rows of keys: one strip and a half
        from gguf import GGMLQuantizationType
        from gguf.quants import quantize

        type_name = "F16" if "attn_v" in name else "Q8_0" if "attn_k" in name else "F32"
        rows = quantize(weight, GGMLQuantizationType[type_name]).view(np.uint8)
        return rows.reshape(len(weight), -1), type_name

    held = gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model, rounded=rounded)
    gguf_files.write_tiny_gguf(
        tmp_path / "plain.gguf", model, rounded=lambda name, _: (held[name].view(np.uint8), "F32")
    )
    mixed, plain = (load_gguf(tmp_path / name)[0] for name in ("tiny.gguf", "plain.gguf"))
    assert np.array_equal(logits_of(mixed, tokens), logits_of(plain, tokens))


@pytest.mark.parametrize(
    ("rope", "metadata"),
    [
        (
            {"rope_type": "linear", "factor": 4.0},
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 64,
            },
        ),
        (
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 8.0,
                "beta_slow": 2.0,
                "attention_factor": 0.8,
            },
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 64,
                "llama.rope.scaling.yarn_beta_fast": 8.0,
                "llama.rope.scaling.yarn_beta_slow": 2.0,
                "llama.rope.scaling.yarn_attn_factor": 0.8,
            },
        ),
    ],
    ids=["linear", "yarn", "yarn-own-numbers"],
)
def test_scaled_rotations_are_those_of_transformers(rope, metadata, tmp_path):
    model, tokens = tiny("llama", rope_parameters=rope | {"rope_theta": 10_000.0}), random_tokens(100)
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model, metadata=metadata)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < 0.01
    unscaled = tiny("llama")
    assert relative_error(expected_logits(unscaled, tokens), expected_logits(model, tokens)) > 0.05


@pytest.mark.parametrize(
    "metadata",
    [{"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, {"llama.rope.scaling.factor": 0.0}],
    ids=["none", "0"],
)
def test_rotations_without_scaling_stay_as_they_are(metadata, tmp_path):  # as in llama.cpp
    model, tokens = tiny("llama"), random_tokens(100)
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model, metadata=metadata)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < 0.005


SLIDING, FULL = "sliding_attention", "full_attention"
HALF_SCALED = {
    FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
    SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
}


@pytest.mark.parametrize(
    ("family", "changes", "metadata"),
    [
        (
            "gemma3_text",
            {"layer_types": [SLIDING] * 7, "rope_parameters": HALF_SCALED},
            {"gemma3.attention.sliding_window_pattern": [True] * 7},
        ),
        (
            "gemma3_text",
            {"layer_types": [FULL, SLIDING, SLIDING, FULL, FULL, SLIDING, FULL], "rope_parameters": HALF_SCALED},
            {"gemma3.attention.sliding_window_pattern": [False, True, True, False, False, True, False]},
        ),
        ("gemma2", {"rope_parameters": {"rope_type": "linear", "factor": 8.0, "rope_theta": 10_000.0}}, {}),
    ],
    ids=["all-layers", "own-choice", "gemma2"],
)
def test_layers_with_a_window_have_rotations_of_their_own_where_the_family_has(family, changes, metadata, tmp_path):
    model, tokens = tiny(family, **changes), random_tokens(60)
    name = family.removesuffix("_text")
    scaling = {f"{name}.rope.scaling.type": "linear", f"{name}.rope.scaling.factor": 8.0}
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model, metadata=scaling | metadata)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < 0.005


def test_window_shorter_than_the_text_is_kept(tmp_path):
    model, tokens = tiny("phi3", sliding_window=9), random_tokens(60)
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", model)
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < 0.005


@pytest.mark.parametrize(
    ("metadata", "part"),
    [
        ({"llama.expert_count": 8}, "expert_count"),
        ({"llama.rope.scaling.type": "wavy"}, "'wavy'"),
        ({"llama.rope.scaling.type": "longrope"}, "'rope_factors_short.weight'"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.yarn_ext_factor": 0.5}, "yarn_ext_factor"),
        ({"llama.rope.scaling.factor": -2.0}, "must be above 0"),
        ({"llama.rope.freq_base": 1.0}, "must be above 1"),
        ({"llama.attention.sliding_window": 8, "llama.attention.sliding_window_pattern": [True]}, "for 1 layers"),
        ({"llama.attention.causal": False}, "both directions"),
        ({"llama.attention.value_length": 8}, "differ in width"),
        ({"llama.rope.dimension_count": 8}, "rotates 8 of 16"),
        ({"llama.block_count": 2}, "with 2 layers"),
        ({"llama.block_count": 2_000_000_000}, "claims 2000000000 layers"),
        ({"llama.embedding_length": 128}, "must have the shape"),
        ({"llama.attention.head_count_kv": 3}, "not a multiple"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "must be a finite number"),
        ({"tokenizer.ggml.pre": "rot13"}, "'rot13'"),
        ({"tokenizer.ggml.model": "bert"}, "'bert'"),
        ({"tokenizer.ggml.eos_token_id": 4_000}, "from 0 to 299"),
        ({"general.architecture": "mamba"}, "'mamba'"),
    ],
)
def test_metadata_that_does_not_fit_is_named(metadata, part, tmp_path):
    gguf_files.write_tiny_gguf(tmp_path / "tiny.gguf", tiny("llama"), metadata=metadata)
    with pytest.raises(InputError) as raised:
        load_gguf(tmp_path / "tiny.gguf")
    assert part in str(raised.value)
    assert "tiny.gguf" in str(raised.value)


ARRAY, EMPTY, NESTED = np.array([1, 1]), np.empty(0, np.int32), ()
WRONG_TYPES = {
    "general.architecture": (ARRAY, NESTED, 1),
    "llama.context_length": (ARRAY, True, "8"),
    "llama.expert_count": (ARRAY, EMPTY, NESTED, "", False),
    "llama.attention.causal": (ARRAY, "yes", 1),
    "llama.attention.max_alibi_bias": (ARRAY, EMPTY, NESTED, "", False),
    "llama.attention.sliding_window": (ARRAY, EMPTY, NESTED, "", False),
    "llama.final_logit_softcapping": (ARRAY, EMPTY, NESTED, "", False),
    "llama.rope.scaling.type": (ARRAY, EMPTY, NESTED, 0, False),
    "llama.rope.scaling.factor": (ARRAY, EMPTY, NESTED, "4", False),
    "llama.rope.scale_linear": (ARRAY, EMPTY, NESTED, "4", False),
    "tokenizer.ggml.model": (ARRAY, EMPTY, NESTED, 1),
    "tokenizer.ggml.pre": (ARRAY, EMPTY, NESTED, 1),
    "tokenizer.ggml.add_bos_token": (ARRAY, EMPTY, NESTED, "no", 1),
    "tokenizer.ggml.bos_token_id": (ARRAY, NESTED, "1", True),
    "tokenizer.chat_template": (ARRAY, EMPTY, NESTED, 1, True),
}
"""Values that `open_gguf` reads, by keys whose values are single numbers, booleans or strings of another type."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Gguf:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    gguf_files.write_tiny_gguf(path, tiny("llama"))
    return open_gguf(path)


def with_metadata(file: Gguf, changes: dict[str, Any]) -> Gguf:
    return Gguf(file.path, file.metadata | changes, file.tensors)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in WRONG_TYPES for value in WRONG_TYPES[key]])
def test_metadata_of_another_type_is_named(key, value, whole):
    changed = with_metadata(whole, {key: value})
    with pytest.raises(InputError, match=rf"{key}' of .*tiny\.gguf' must be .*; got "):
        read_network(changed), read_tokenizer(changed)


@pytest.mark.parametrize("value", [1e308, -1e308, 1e-308, float("inf"), float("nan"), True, "x"])
@pytest.mark.parametrize(
    "name", ["rope.freq_base", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.factor"]
)
def test_number_that_float32_cannot_hold_is_named(name, value, whole):
    yarn = {"llama.rope.scaling.type": "yarn", f"llama.{name}": value}
    with pytest.raises(InputError, match=rf"llama\.{name}' of .*tiny\.gguf' must be a finite number"):
        read_network(with_metadata(whole, yarn))


@pytest.mark.parametrize("value", [1, 1e30, 2e-38, 3e38])
def test_number_that_float32_can_hold_gives_finite_rotations(value, whole):
    names = ("type", "yarn_beta_fast", "yarn_beta_slow", "factor")
    values = dict(zip(names, ("yarn", value, value, value), strict=True))
    network = read_network(with_metadata(whole, {f"llama.rope.scaling.{name}": values[name] for name in names}))
    assert np.isfinite(network.rotation_speeds).all()


def test_number_of_heads_may_be_stated_for_each_layer(whole):
    per_layer = {"llama.attention.head_count_kv": np.array([2, 2], np.int32)}
    assert read_network(with_metadata(whole, per_layer)).architecture.n_key_heads == 2
    per_layer = {"llama.attention.head_count_kv": np.array([2, 1], np.int32)}
    with pytest.raises(InputError, match="differs between layers"):
        read_network(with_metadata(whole, per_layer))


@pytest.mark.parametrize("pattern", [np.array([1.0, float("nan")]), (), "x", True])
def test_pattern_of_windows_of_another_type_is_named(pattern, whole):
    changes = {"llama.attention.sliding_window": 8, "llama.attention.sliding_window_pattern": pattern}
    with pytest.raises(InputError, match=r"sliding_window_pattern' of .*tiny\.gguf'"):
        read_network(with_metadata(whole, changes))


def test_unsupported_type_and_missing_tensor_are_named(tmp_path):
    path = tmp_path / "tiny.gguf"
    gguf_files.write_tiny_gguf(path, tiny("llama"))
    file = open_gguf(path)
    del file.tensors["blk.1.ffn_down.weight"]
    network = read_network(file)
    with pytest.raises(InputError, match=r"no tensor 'blk\.1\.ffn_down\.weight'"):
        network.read_layer(1)
    object.__setattr__(file.tensors["blk.0.ffn_down.weight"], "type_name", "IQ2_XS")
    with pytest.raises(InputError, match="of type IQ2_XS; supported are"):
        network.read_layer(0)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [(LoadOptions(dtype="fp32"), 1e-4), (LoadOptions(dtype="bf16"), 0.05), (LoadOptions(quantize="q8_0"), 0.05)],
    ids=["fp32", "bf16", "q8_0"],
)
def test_weights_of_a_file_are_converted_on_request(options, tolerance, tmp_path):
    tokens = random_tokens(40)
    model = gguf_files.write_random_gguf(tmp_path / "tiny.gguf", "Q4_1")
    packed, _ = load_gguf(tmp_path / "tiny.gguf", options)
    assert relative_error(logits_of(packed, tokens), expected_logits(model, tokens)) < tolerance
    assert packed.weight_bytes > 1.5 * load_gguf(tmp_path / "tiny.gguf")[0].weight_bytes


def test_bfloat16_file_runs_in_bfloat16_with_exact_rows(tmp_path):
    tokens = random_tokens(40)
    gguf_files.write_random_gguf(tmp_path / "tiny.gguf", "BF16")
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    requested, _ = load_gguf(tmp_path / "tiny.gguf", LoadOptions(dtype="bf16"))
    assert packed.weights.packed.dtype == np.uint16
    assert packed.traits.rows_are_exact
    assert np.array_equal(logits_of(packed, tokens), logits_of(requested, tokens))
    exact, _ = load_gguf(tmp_path / "tiny.gguf", LoadOptions(dtype="fp32"))
    assert exact.weights.packed.dtype == np.float32


def test_embeddings_have_the_shape_of_the_tokens(tmp_path):
    model = gguf_files.write_random_gguf(tmp_path / "tiny.gguf", "Q4_1")
    packed, _ = load_gguf(tmp_path / "tiny.gguf")
    tokens = random_tokens(12).reshape(3, 4)
    found, expected = packed.embed(tokens), model.get_input_embeddings().weight.detach().numpy()[tokens]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_safetensors_are_quantized_on_loading():
    model, tokens = tiny("qwen2", hidden_size=128), random_tokens(40)
    expected = expected_logits(model, tokens)
    errors = [
        relative_error(logits_of(CpuModel.from_transformers(model, quantize=name), tokens), expected)
        for name in ("q8_0", "q5_1", "q4_0")
    ]
    assert errors[0] < 0.05
    assert errors[0] < errors[1] < errors[2] < 0.5
