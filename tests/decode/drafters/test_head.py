"""Draft heads: the compiled pass against a reference in torch, the formats of other projects, and the laws of drafters."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from random_heads import CONFIG, EMBEDDINGS, FEATURES, OUTPUTS, VOCABULARY, WIDTH, random_head  # noqa: E402

from etesian.decode import (  # noqa: E402
    GREEDY,
    Decoder,
    DraftRequest,
    FixedPolicy,
    LookupDrafter,
    Sampling,
    TableModel,
    TokenTree,
)
from etesian.decode.drafters.head.drafter import MOST_DECLINED, HeadDrafter  # noqa: E402
from etesian.decode.drafters.head.folder import is_head_folder, read_head, write_head  # noqa: E402
from etesian.decode.drafters.head.model import HeadModel  # noqa: E402
from etesian.decode.drafters.model import ModelDrafter  # noqa: E402
from etesian.decode.sampling import Chooser  # noqa: E402
from etesian.decode.speculation.costs import PassCosts  # noqa: E402
from etesian.errors import InputError  # noqa: E402


def reference(weights, embeddings, states, positions, sees):
    """States and logits of all rows of a sequence or tree in torch; `sees` is the mask of shape (n_rows, n_rows)."""
    c = weights.config
    w = {name: torch.from_numpy(value) for name, value in vars(weights).items() if isinstance(value, np.ndarray)}

    def rms(x, factor):
        return torch.nn.functional.rms_norm(x, factor.shape, factor, c.norm_epsilon)

    def rotated(x):  # (head, row, head_width)
        speeds = c.rope_theta ** (-torch.arange(0, c.head_width, 2) / c.head_width)
        angles = torch.tensor(positions)[:, None] * torch.cat([speeds, speeds])
        turned = torch.cat([-x[..., c.head_width // 2 :], x[..., : c.head_width // 2]], -1)
        return x * angles.cos() + turned * angles.sin()

    state = rms(states, w["state_norm"])
    residual = state if c.norm_before_residual else states
    x = torch.cat([rms(embeddings, w["embedding_norm"]), state], -1)
    q, k, v = ((x @ w[name].T).unflatten(-1, (-1, c.head_width)) for name in ("queries", "keys", "values"))
    if "query_norm" in w:
        q, k = rms(q, w["query_norm"]), rms(k, w["key_norm"])
    q, k, v = rotated(q.transpose(0, 1)), rotated(k.transpose(0, 1)), v.transpose(0, 1)
    k, v = (part.repeat_interleave(c.n_heads // c.n_key_heads, 0) for part in (k, v))
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=torch.tensor(sees))
    h = residual + mixed.transpose(0, 1).flatten(1) @ w["attention_out"].T
    y = rms(h, w["inner_norm"])
    h = h + (torch.nn.functional.silu(y @ w["gate"].T) * (y @ w["up"].T)) @ w["down"].T
    return h, rms(h, w["final_norm"]) @ w["output"].T


def model_of(weights, type_name="F32"):
    return HeadModel(weights, lambda tokens: EMBEDDINGS[tokens], type_name=type_name)


@pytest.mark.parametrize(
    ("config", "head_norms"),
    [(CONFIG, False), (replace(CONFIG, n_features=3, norm_before_residual=True), True)],
    ids=["one state", "three states, normalized residual and head norms"],
)
def test_a_chain_and_a_tree_below_it_equal_a_reference_in_torch(config, head_norms):
    weights = random_head(config, head_norms=head_norms)
    features = np.random.default_rng(1).normal(size=(6, config.n_features * FEATURES)).astype(np.float32)
    text, tree = [3, 1, 4, 1, 5, 9, 2], [6, 7, 6]
    context = model_of(weights).context()
    context.supply(0, features)
    context.extend(text[:4])
    chain = context.score(text[4:], [-1, 0, 1])
    branches = context.score(tree, [2, 2, 4])

    fused = torch.from_numpy(features @ weights.fuse.T)
    sees = np.tri(6, dtype=bool)
    tokens = torch.from_numpy(EMBEDDINGS[text[1:]])
    states, logits = reference(weights, tokens, fused, list(range(1, 7)), sees)
    assert chain.logits == pytest.approx(logits[3:].numpy(), abs=2e-4)
    # below the text, a node reads the head's own state of its parent
    grown = torch.cat([fused, states[5:6].expand(2, -1)])
    wide = np.zeros((9, 9), bool)
    wide[:6, :6], wide[6:, :6] = sees, True
    wide[[6, 7, 8, 8], [6, 7, 7, 8]] = True
    embedded = torch.cat([tokens, torch.from_numpy(EMBEDDINGS[tree])])
    first, _ = reference(weights, embedded[:8], grown, [*range(1, 7), 7, 7], wide[:8, :8])
    grown = torch.cat([grown, first[7:8]])
    _, logits = reference(weights, embedded, grown, [*range(1, 7), 7, 7, 8], wide)
    assert branches.logits == pytest.approx(logits[6:].numpy(), abs=2e-4)


def test_kept_nodes_are_seen_like_text_and_quantized_products_are_close():
    weights = random_head()
    features = np.random.default_rng(1).normal(size=(4, FEATURES)).astype(np.float32)
    exact, rounded = (model_of(weights, name).context() for name in ("F32", "Q8_0"))
    for context in (exact, rounded):
        context.supply(0, features)
        context.extend([3, 1, 4])
        context.score([1, 5, 6, 7], [-1, 0, 0, 1])
        context.keep([0, 1])
    one, other = (context.score([7], [-1]).logits for context in (exact, rounded))
    assert other == pytest.approx(one, abs=0.15)
    again = model_of(weights).context()
    again.supply(0, features)
    again.extend([3, 1, 4])
    assert again.score([1, 5, 6, 7], [-1, 0, 0, 1]).logits[3] == pytest.approx(one[0], abs=1e-4)


def test_tokens_without_hidden_states_are_skipped():
    weights, features = random_head(), np.random.default_rng(1).normal(size=(3, FEATURES)).astype(np.float32)
    long, short = (model_of(weights).context() for _ in range(2))
    long.supply(50, features)
    long.extend([0] * 51)
    short.supply(0, features)
    short.extend([0])
    one, other = (context.score([4, 2, 5], [-1, 0, 1]).logits for context in (long, short))
    assert one == pytest.approx(other, abs=1e-3)  # rotations depend on differences of positions only


def test_written_heads_are_read_back(tmp_path):
    weights = random_head()
    write_head(tmp_path, weights)
    assert is_head_folder(tmp_path)
    again = read_head(tmp_path)
    assert again.config == weights.config
    assert again.output_tokens.tolist() == OUTPUTS.tolist()
    assert again.queries == pytest.approx(weights.queries, abs=1e-3)


def foreign_tensors(weights, layer):
    names = {
        "queries": "self_attn.q_proj", "keys": "self_attn.k_proj", "values": "self_attn.v_proj",
        "attention_out": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
        "embedding_norm": "input_layernorm", "state_norm": "hidden_norm", "inner_norm": "post_attention_layernorm",
    }  # fmt: skip
    tensors = {f"{layer}.{name}.weight": getattr(weights, ours) for ours, name in names.items()}
    tensors |= {"fc.weight": weights.fuse, "norm.weight": weights.final_norm, "lm_head.weight": weights.output}
    tensors["d2t"] = OUTPUTS - np.arange(len(OUTPUTS))
    tensors["t2d"] = np.isin(np.arange(VOCABULARY), OUTPUTS)
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()}


LAYER = {
    "hidden_size": WIDTH, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64,
    "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "model_type": "llama",
}  # fmt: skip
EAGLE3 = LAYER | {"draft_vocab_size": len(OUTPUTS), "target_hidden_size": FEATURES}
SPECULATORS = {
    "speculators_model_type": "eagle3", "draft_vocab_size": len(OUTPUTS), "target_hidden_size": FEATURES,
    "norm_before_residual": False, "transformer_layer_config": LAYER, "eagle_aux_hidden_state_layer_ids": [1, 2, 4],
}  # fmt: skip


def write_foreign(folder, config, tensors):
    from safetensors.torch import save_file

    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(("config", "layer"), [(EAGLE3, "midlayer"), (SPECULATORS, "layers.0")])
def test_heads_of_other_projects_are_read(tmp_path, config, layer):
    weights = random_head(replace(CONFIG, n_features=3))
    write_foreign(tmp_path, config, foreign_tensors(weights, layer))
    assert is_head_folder(tmp_path)
    head = read_head(tmp_path)
    assert head.config.feature_layers == ((1, 2, 4) if config is SPECULATORS else None)
    assert replace(head.config, feature_layers=None) == weights.config
    for name, value in vars(weights).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(head, name), value), name


def test_layers_to_read_are_those_of_the_format(tmp_path):
    weights = random_head(replace(CONFIG, n_features=3))
    config = EAGLE3 | {"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 11, 20]}}
    write_foreign(tmp_path, config, foreign_tensors(weights, "midlayer"))
    assert read_head(tmp_path).config.feature_layers == (2, 12, 21)  # it names layers by their outputs
    assert replace(CONFIG, n_features=3).layers_of(32) == (2, 16, 29)
    assert CONFIG.layers_of(32) == ()
    with pytest.raises(ValueError, match="must name the 2 layers"):
        replace(CONFIG, n_features=2).layers_of(32)
    with pytest.raises(ValueError, match="must name 3 layers; got 2"):
        replace(CONFIG, n_features=3, feature_layers=(1, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn"}}, "scales its rotations"),
        ({"hidden_act": "gelu"}, "only 'silu'"),
        ({"intermediate_size": 32}, "must be floats of shape"),
        ({"speculators_model_type": "mlp_speculator"}, "only 'eagle3'"),
        ({"rope_scaling": True}, r"config.json' does not describe the head \('bool' object has no attribute 'get'\)"),
        ({"eagle_aux_hidden_state_layer_ids": [1, 2]}, "feature_layers must name 3 layers; got 2"),
        ({"eagle_aux_hidden_state_layer_ids": ["x"]}, "does not describe the head .invalid literal for int"),
        ({"rope_theta": float("nan")}, "does not describe the head .rope_theta must be a positive number; got nan"),
        ({"rope_theta": 10**39}, "does not describe the head .rope_theta must be a positive number; got 1e"),
        ({"num_attention_heads": 0}, "does not describe the head"),
        ({"norm_before_residual": 10**400}, "norm_before_residual must be true or false; got 1000"),
        ({"hidden_size": 10**400}, "does not describe the head|must be floats of shape"),
    ],
)
def test_heads_that_are_not_supported_are_refused(tmp_path, change, message):
    write_foreign(tmp_path, EAGLE3 | change, foreign_tensors(random_head(replace(CONFIG, n_features=3)), "midlayer"))
    with pytest.raises(InputError, match=message):
        read_head(tmp_path)


def test_unknown_tensors_and_missing_files_are_refused(tmp_path):
    tensors = foreign_tensors(random_head(replace(CONFIG, n_features=3)), "midlayer")
    write_foreign(tmp_path, EAGLE3, tensors | {"midlayer.self_attn.q_proj.bias": torch.zeros(32)})
    with pytest.raises(InputError, match=r"q_proj\.bias"):
        read_head(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no safetensors"):
        read_head(tmp_path)


TARGET = TableModel(
    VOCABULARY, scale=3.0, seed=1
)  # its hidden states are its logits, so that a head can know the next token


def drafter_of(inner=None):
    config = replace(CONFIG, feature_width=VOCABULARY)
    return HeadDrafter(model_of(random_head(config)), inner)


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(temperature=1.0, seed=5),
        Sampling(temperature=0.7, top_k=5),
        Sampling(temperature=0.7, top_k=2**63),
        Sampling(temperature=0.7, seed=np.int64(5)),
    ],
)
@pytest.mark.parametrize("inner", [None, LookupDrafter()], ids=["alone", "with lookup"])
def test_b1_a_head_gives_plain_decodings_text(inner, sampling):
    decoder = Decoder(TARGET, drafter_of(inner), policy=FixedPolicy(8, 4))
    for prompt in ([3, 1, 4, 1, 5], [3, 1, 4, 1, 5, 9, 2], [6]):
        expected = Decoder(TARGET).generate(prompt, sampling, max_tokens=25).token_ids
        drafted = decoder.generate(prompt, sampling, max_tokens=25)
        assert drafted.token_ids == expected
    assert any(stage.name == "head" and stage.passes for stage in drafted.stats.stages)


def test_two_heads_need_different_names():
    with pytest.raises(InputError, match="name must differ from those of the inner stages, head; got 'head'"):
        drafter_of(drafter_of())


def test_b4_a_head_that_knows_the_next_token_is_accepted_whole():
    # The target's token is the last one plus 1, and its hidden state names the token: the output layer can add 1 again.
    counting = 9 * np.roll(np.eye(24, dtype=np.float32), 1, axis=1)
    target = TableModel.from_function(lambda tokens: counting[tokens[-1]], 24)
    weights = random_head(replace(CONFIG, feature_width=24))
    head = replace(
        weights,
        fuse=np.eye(WIDTH, 24, dtype=np.float32),
        attention_out=np.zeros_like(weights.attention_out),
        down=np.zeros_like(weights.down),
        final_norm=np.ones(WIDTH, np.float32),
        output=np.eye(24, WIDTH, -1, dtype=np.float32),
        output_tokens=np.arange(24),
    )
    decoder = Decoder(target, HeadDrafter(model_of(head)), policy=FixedPolicy(1, 1))
    out = decoder.generate([0, 1, 2], max_tokens=20)
    assert out.token_ids == tuple(range(3, 23))
    assert out.stats.stages[0].accepted == out.stats.stages[0].proposed == 9  # the first pass has no hidden states yet
    assert out.stats.passes == 11


def test_the_ranking_of_a_partial_vocabulary_is_that_of_the_whole_one():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, len(OUTPUTS))).astype(np.float32)
    whole = np.full((2, VOCABULARY), -np.inf, np.float32)
    whole[:, OUTPUTS] = logits
    for sampling in (GREEDY, Sampling(temperature=1.0, seed=3), Sampling(temperature=1.0, top_k=4, seed=3),
                     Sampling(temperature=1.0, banned_tokens=[5], seed=3), Sampling(forced_tokens={1: 8})):  # fmt: skip
        chooser = Chooser(sampling, VOCABULARY, 0)
        tokens, confidences = chooser.rank(logits, np.array([0, 1]), 3, OUTPUTS)
        expected, shares = chooser.rank(whole, np.array([0, 1]), 3)
        assert tokens.tolist() == expected.tolist()
        assert confidences == pytest.approx(shares, abs=1e-6)


class SureInTurn:
    """Proposes a certain chain at every second call, so that no pass of the head is worth its time."""

    stages = ("sure",)

    def __init__(self):
        self.n_calls = 0

    def propose(self, request):
        self.n_calls += 1
        length = request.max_depth if self.n_calls % 2 == 0 else 0
        return TokenTree.chain([7] * length, [1.0] * length, "sure")

    def observe(self, tree, accepted):
        """Learn nothing."""


@pytest.mark.parametrize("n_accepted", [0, 1, 3])
@pytest.mark.parametrize("inner", [None, SureInTurn], ids=["alone", "with passes that are not needed"])
def test_a_draft_after_earlier_ones_is_that_of_a_fresh_drafter(n_accepted, inner):
    features = np.random.default_rng(4).normal(size=(60, FEATURES)).astype(np.float32)
    model, chooser = model_of(random_head()), Chooser(GREEDY, VOCABULARY, 0)

    def proposed(drafter, text, n_states):
        states = features[len(text) - 1 - n_states : len(text) - 1]
        rate = 1e-9  # any pass is worth its time, unless it cannot add anything
        request = DraftRequest(np.array(text, np.int32), 8, 4, chooser, rate, hidden_states=states)
        return drafter.propose(request)

    drafter, text = HeadDrafter(model, inner and inner()), [3, 1, 4, 1, 5]
    n_new, n_compared = len(text) - 1, 0
    for next_token in (2, 6, 5, 3, 5, 8):
        tree = proposed(drafter, text, n_new)
        if "head" in tree.origins:
            expected = proposed(HeadDrafter(model), text, len(text) - 1)
            assert tree.tokens.tolist() == expected.tokens.tolist()
            assert tree.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
            n_compared += 1
        accepted = tree.likeliest_path().tokens[:n_accepted].tolist()
        text = [*text, *accepted, next_token]
        n_new = len(accepted) + 1
    assert n_compared == (6 if inner is None else 3)


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(temperature=0.8, seed=3),
        Sampling(temperature=1.0, top_k=2, seed=3),
        Sampling(temperature=0.9, top_p=0.6, seed=4),
        Sampling(temperature=1.1, top_k=6, top_p=0.8, seed=5),
        Sampling(temperature=0.7, min_p=0.3, seed=6),
    ],
    ids=["greedy", "temperature", "top-k", "top-p", "top-k and top-p", "min-p"],
)
@pytest.mark.parametrize(
    ("pass_seconds", "node_seconds"),
    [(0.0, 0.0), (0.004, 0.0), (0.0, 0.0002)],
    ids=["free passes", "dear passes", "dear nodes"],
)
def test_a_draft_in_one_compiled_call_is_that_of_single_steps(monkeypatch, sampling, pass_seconds, node_seconds):
    features = np.random.default_rng(7).normal(size=(20, FEATURES)).astype(np.float32)
    model, chooser = model_of(random_head()), Chooser(sampling, VOCABULARY, 0)
    monkeypatch.setattr(ModelDrafter, "_learn_from", lambda *_: None)  # single steps learn after each pass
    trees = []
    for is_plain in (True, False):
        monkeypatch.setattr(Chooser, "is_plain", is_plain)
        costs = PassCosts([1, 8], [0.01 * pass_seconds + 1e-9, pass_seconds + 1e-9])
        monkeypatch.setattr(costs, "observe", lambda rows, seconds: None)
        drafter, text = HeadDrafter(model, costs=costs), [3, 1, 4, 1, 5]
        trees.append([])
        for step in range(4):
            rows = features[:4] if step == 0 else features[4 + step : 5 + step]
            request = DraftRequest(
                np.array(text, np.int32), 12, 5, chooser, 100.0, hidden_states=rows, node_seconds=node_seconds
            )
            tree = drafter.propose(request)
            trees[-1].append(tree)
            drafter.observe(tree, [0])
            text = [*text, 7 + step]
    assert sum(map(len, trees[0])) > 20
    for one, other in zip(*trees, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.parents.tolist() == other.parents.tolist()
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def drafted_passes(drafter, n_steps, *, rate=1e-9, node_seconds=0.0):
    """Propose for a text that grows by a token per step; returns the passes of the head in each step."""
    features, chooser = np.random.default_rng(4).normal(size=(n_steps + 4, FEATURES)), Chooser(GREEDY, VOCABULARY, 0)
    passes = []
    for step in range(n_steps):
        before = drafter.stage_statistics()["head"].passes
        text, states = np.arange(step + 2, dtype=np.int32) % 7, features[step : step + 1]
        drafter.propose(DraftRequest(text, 8, 4, chooser, rate, hidden_states=states, node_seconds=node_seconds))
        passes.append(drafter.stage_statistics()["head"].passes - before)
    return passes


def test_a_head_that_gains_less_than_it_takes_drafts_seldom():
    drafter = HeadDrafter(model_of(random_head()))
    drafted_passes(drafter, 3)  # shows what drafts take
    passes = drafted_passes(drafter, 2 * (MOST_DECLINED + 1), rate=1e9)
    assert [n > 0 for n in passes] == 2 * ([False] * MOST_DECLINED + [True])
    assert all(drafted_passes(drafter, 3))


def test_a_head_that_has_declined_drafts_at_the_start_of_another_text():
    drafter = HeadDrafter(model_of(random_head()))
    drafted_passes(drafter, 3)
    for _ in range(3):  # each with a chooser of its own
        assert [n > 0 for n in drafted_passes(drafter, 5, rate=1e9)][1:] == [False] * 4
    assert drafted_passes(drafter, 1, rate=1e9)[0] > 0


def test_leaves_whose_nodes_cost_more_than_they_gain_are_not_read():
    dear, cheap = (
        drafted_passes(HeadDrafter(model_of(random_head())), 3, rate=1e-6, node_seconds=cost) for cost in (1e6, 0.0)
    )
    assert dear == [1, 1, 1]
    assert min(cheap) > 1
