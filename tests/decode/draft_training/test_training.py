"""Draft training at toy size: samples, the unrolled head against the compiled one, resuming, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from command_line import run_command  # noqa: E402
from tiny_bundle import write_model  # noqa: E402

from etesian.decode import Decoder, FixedPolicy, Sampling  # noqa: E402
from etesian.decode.draft_training import training  # noqa: E402
from etesian.decode.draft_training.fitting import RIDGE, Corpus, Fitting, acceptance, fit_residual, unrolled  # noqa: E402
from etesian.decode.draft_training.module import HeadModule  # noqa: E402
from etesian.decode.draft_training.muon import Muon32  # noqa: E402
from etesian.decode.draft_training.prompts import documentation_passages, library_functions, prompts, read_passages  # noqa: E402
from etesian.decode.draft_training.samples import Samples, sample_texts  # noqa: E402
from etesian.decode.draft_training.target import load_target  # noqa: E402
from etesian.decode.draft_training.training import (  # noqa: E402
    TrainingOptions,
    _sampled,
    head_config,
    output_rows,
    train_draft,
)
from etesian.decode.drafters.head.folder import read_head  # noqa: E402
from etesian.decode.drafters.head.model import HeadModel  # noqa: E402
from etesian.errors import InputError  # noqa: E402

OPTIONS = TrainingOptions(minutes=0.01, n_outputs=64, n_tokens=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("target"), initializer_range=0.3)


@pytest.fixture(scope="module")
def target(folder):
    return load_target(folder)


@pytest.fixture(scope="module")
def samples(target):
    prompts = [[5, 9, 5, 7 + place] for place in range(6)]
    return Samples.joined(sampled(target, prompts, 0.0))


def sampled(target, prompts, temperature, n_tokens=12, seed=0):
    return sample_texts(
        target.model,
        prompts,
        n_tokens=n_tokens,
        temperatures=[temperature] * len(prompts),
        end_tokens=target.end_tokens,
        rng=np.random.default_rng(seed),
    )


def test_samples_are_the_targets_own_choices_and_hidden_states(target, samples):
    starts = np.cumsum(samples.lengths) - samples.lengths
    for start, length in zip(starts, samples.lengths, strict=True):
        text = samples.tokens[start : start + length]
        context = target.model.context()
        scores = context.score(text[:-1], np.arange(-1, length - 2))
        hidden = samples.hidden_states[start : start + length - 1].astype(np.float32)
        assert hidden == pytest.approx(scores.hidden_states, rel=1e-3, abs=1e-2)
        first = int(samples.prompt_lengths[0]) - 1
        assert (
            samples.top_tokens[start + first : start + length - 1, 0].tolist()
            == scores.logits[first:].argmax(1).tolist()
        )
        assert text[first + 1 :].tolist() == scores.logits[first:].argmax(1).tolist()
        logprobs = torch.from_numpy(scores.logits[first]).log_softmax(0).topk(16).values.numpy()
        assert samples.top_logprobs[start + first].astype(np.float32) == pytest.approx(logprobs, abs=1e-2)


def corpus_of(target, samples):
    index = np.arange(300)
    return Corpus(samples, target.model.embed, index)


def scales_of(target):
    n_numbers = len(target.model.kept_layers) * target.model.width
    return np.random.default_rng(3).uniform(0.5, 2.0, n_numbers).astype(np.float32)


def module_of(target):
    torch.manual_seed(1)
    module = HeadModule(head_config(target), output_rows(target.network, np.arange(300)), scales_of(target))
    with torch.no_grad():
        for parameter in module.parameters():  # the layer's last products start at zero
            parameter.add_(0.2 * torch.randn_like(parameter) * (parameter.ndim == 2))
    return module


def test_the_unrolled_head_computes_what_the_compiled_one_drafts(target, samples):
    module, batch = module_of(target), corpus_of(target, samples).batch(np.array([0]))
    with torch.no_grad():
        steps = unrolled(module, batch, 3)
    length = int(samples.lengths[0])
    tokens, features = samples.tokens[:length], samples.hidden_states[: length - 1].astype(np.float32)
    head = HeadModel(module.weights(np.arange(300)), target.model.embed, type_name="F32")
    for n_true in (6, 8):  # tokens up to here are read with the target's states, the next two with the head's own
        context = head.context()
        context.supply(0, features[: n_true - 1])
        context.extend(tokens[: n_true - 1])
        drafted = context.score(tokens[n_true - 1 : n_true + 2], [-1, 0, 1]).logits
        for step, (logits, places) in enumerate(steps):
            row = int(places[0, : n_true - 2 + step].sum())
            assert drafted[step] == pytest.approx(logits[row].numpy(), abs=2e-3)


def test_the_residual_starts_at_the_least_squares_estimate_of_the_next_state(target, samples):
    corpus = corpus_of(target, samples)
    module = HeadModule(head_config(target), output_rows(target.network, np.arange(300)), scales_of(target))
    width = target.model.width
    last = samples.hidden_states[:, -width:] / np.sqrt(np.mean(scales_of(target)[-width:] ** 2))
    inputs, wanted, first = [], [], 0
    for length, n_prompt in zip(samples.lengths, samples.prompt_lengths, strict=True):
        tokens, states = samples.tokens[first : first + length], last[first : first + length]
        first += length
        for place in range(n_prompt - 2, length - 2):  # the last state before the target's first own choice
            embedding = target.model.embed(tokens[place + 1 : place + 2])[0]
            state, following = states[place : place + 2].astype(np.float64)
            parts = [each / np.sqrt(np.mean(each.astype(np.float64) ** 2) + 1e-5) for each in (embedding, state)]
            inputs.append(np.concatenate(parts))
            wanted.append(following - state)
    x, y = np.array(inputs), np.array(wanted)
    gram = x.T @ x
    penalty = RIDGE * np.trace(gram) / len(gram) + 1e-6
    expected = np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ y).T
    before = acceptance(module, corpus)
    fit_residual(module, corpus)
    assert module.residual.detach().numpy() == pytest.approx(expected, abs=2e-2)
    assert acceptance(module, corpus)[0] > before[0]


def test_batches_hold_texts_of_similar_lengths_and_all_texts_in_turn(target, tmp_path):
    fitting, lengths = Fitting(module_of(target), tmp_path, 0), np.arange(100)
    batches = [fitting._next_texts(lengths) for _ in range(5)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(100))
    assert max(np.ptp(lengths[batch]) for batch in batches) < 20


def test_training_lowers_the_loss_and_raises_acceptance(target, samples, tmp_path):
    corpus = corpus_of(target, samples)
    module = HeadModule(head_config(target), output_rows(target.network, np.arange(300)), scales_of(target))
    fitting = Fitting(module, tmp_path, 0)
    first = fitting.run(corpus, 60, lambda: fitting.n_steps >= 5)
    before = acceptance(fitting.module, corpus)
    last = fitting.run(corpus, 60, lambda: fitting.n_steps >= 80)
    assert last < 0.8 * first
    assert acceptance(fitting.module, corpus)[0] > before[0]
    first = Corpus(Samples.joined(sampled(target, [[5, 9, 5, 7]], 0.0)), corpus.embed, corpus.output_index)
    assert acceptance(fitting.module, corpus, 1) == pytest.approx(acceptance(fitting.module, first))


def state_of(fitting, parameter):
    kind = parameter.ndim == 1
    return fitting._optimizers[kind].state[parameter]["exp_avg" if kind else "momentum_buffer"]


def test_a_run_resumes_where_its_checkpoint_was_written(target, samples, tmp_path):
    corpus, module = corpus_of(target, samples), module_of(target)
    fitting = Fitting(module, tmp_path, 0)
    fitting.run(corpus, 60, lambda: fitting.n_steps >= 3)
    fitting.save()
    again = Fitting(module_of(target), tmp_path, 0)
    assert again.resume()
    assert (again.n_steps, again.seconds) == (3, fitting.seconds)
    assert torch.equal(again.module.queries, module.queries)
    for one, other in zip(again.module.parameters(), module.parameters(), strict=True):
        assert torch.equal(state_of(again, one), state_of(fitting, other))


def test_run_that_ends_between_its_last_two_files_writes_both_when_repeated(target, tmp_path, monkeypatch):
    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    run = tmp_path / "head"
    for owner, name in ((training, "write_head"), (Fitting, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            with pytest.raises(KilledError):
                train_draft(target, run, OPTIONS, lambda _: None)
    train_draft(target, run, OPTIONS, lambda _: None)
    assert read_head(run).config == head_config(target)
    assert (run / "work/checkpoint.safetensors").is_file()


def test_a_trained_head_drafts_and_the_text_is_plain_decodings(folder, target, tmp_path):
    lines = []
    record = train_draft(target, tmp_path / "head", OPTIONS, lines.append)
    assert (
        record["curve"][-1]["acceptance"]
        == json.loads((tmp_path / "head/training.json").read_text())["curve"][-1]["acceptance"]
    )
    assert any("accepted" in line for line in lines)
    loaded = Decoder.load(folder, draft=tmp_path / "head")
    assert loaded.drafter.stages == ("lookup", "head")
    decoder = Decoder(loaded.target, loaded.drafter, loaded.tokenizer, policy=FixedPolicy(8, 4))
    for sampling in (Sampling(), Sampling(temperature=0.8, top_p=0.95, seed=2)):
        drafted = decoder.generate("wind", sampling, max_tokens=24)
        assert drafted.token_ids == decoder.generate("wind", sampling, max_tokens=24, speculate=False).token_ids
        assert any(stage.name == "head" and stage.passes for stage in drafted.stats.stages)
    with pytest.raises(InputError, match="n_tokens 8, not 9"):
        train_draft(target, tmp_path / "head", TrainingOptions(n_outputs=64, n_tokens=9), lines.append)
    with pytest.raises(InputError, match="is for a target with 300 tokens"):
        _load_for_another_target(tmp_path / "head")


def _load_for_another_target(head):
    from etesian.decode.drafters.head.folder import read_json
    from etesian.decode.load import _load_head

    class Other:
        vocabulary_size, max_length, width, n_layers, traits = 300, None, 16, 2, None

        def context(self): ...
        def embed(self, tokens): ...
        def keep_layers(self, layers): ...

    assert read_json(head / "config.json")["feature_width"] == 48
    _load_head(head, Other())


def test_the_command_trains_and_refuses_a_missing_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SHARD_PROMPTS", 2)
    options = ["--minutes", "0.001", "--outputs", "32", "--tokens-per-text", "4"]
    done = run_command("draft", "train", "--target", str(folder), "-o", str(tmp_path / "out"), "--json", *options)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["steps"] >= 1
    assert (tmp_path / "out/model.safetensors").is_file()
    done = run_command("draft", "train", "--target", str(folder), "-o", str(tmp_path / "x"), "--text", "missing")
    assert done.exit_code == 2
    assert "--text must be a folder; got missing" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number, at least 0; got -1"),
        ({"seed": 2**64}, f"seed must be below 2\\*\\*64; got {2**64}"),
        ({"seed": None}, "seed must be a whole number, at least 0; got None"),
        ({"minutes": float("nan")}, "minutes must be above 0; got nan"),
        ({"minutes": "1"}, "minutes must be above 0; got '1'"),
        ({"n_outputs": 0}, "n_outputs must be a whole number, at least 1; got 0"),
        ({"n_tokens": 2.5}, "n_tokens must be a whole number, at least 1; got 2.5"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "seed must be a whole number, at least 0; got -1"),
        (["--outputs", "0"], "outputs must be a whole number, at least 1; got 0"),
        (["--tokens-per-text", "0"], "tokens_per_text must be a whole number, at least 1; got 0"),
    ],
    ids=str,
)
def test_the_command_refuses_options_before_anything_is_written(folder, tmp_path, options, message):
    done = run_command("draft", "train", "--target", str(folder), "-o", str(tmp_path / "out"), *options)
    assert (done.exit_code, done.stderr) == (2, f"error: {message}\n")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_created_is_refused(target, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("file", "file/head", "dangling/head"):
        with pytest.raises(InputError, match=r"cannot be created: (File exists|Not a directory); give another folder"):
            train_draft(target, tmp_path / name, OPTIONS, lambda _: None)


def test_options_that_fail_leave_no_run_behind(target, tmp_path, monkeypatch):
    class Silent:
        def encode(self, text):
            return []

    monkeypatch.setattr(training, "SHARD_PROMPTS", 2)
    (tmp_path / "empty").mkdir()
    for failing, options, message in (
        (replace(target, tokenizer=Silent()), OPTIONS, "no prompt has tokens of this target"),
        (target, replace(OPTIONS, n_tokens=10_000), "leaves room for 10000 more"),
        (target, replace(OPTIONS, text=tmp_path / "empty"), "must hold text files"),
    ):
        with pytest.raises(InputError, match=message):
            train_draft(failing, tmp_path / "head", options, lambda _: None)
    options = replace(OPTIONS, minutes=0.001)
    train_draft(target, tmp_path / "head", options, lambda _: None)
    with pytest.raises(InputError, match="holds a run with seed 0, not 1"):
        train_draft(target, tmp_path / "head", replace(options, seed=1), lambda _: None)


def test_prompts_without_tokens_are_left_out(target, tmp_path, monkeypatch):
    class Selective:
        def encode(self, text):
            return [5, 9][: len(text) % 3]

    monkeypatch.setattr(training, "SHARD_PROMPTS", 6)
    found = _sampled(replace(target, tokenizer=Selective(), chat_template=None), OPTIONS, np.random.default_rng(0))
    lengths = np.concatenate([samples.prompt_lengths for parts in found.values() for samples in parts])
    assert set(lengths) == {1, 2}


def test_passages_of_a_folder_are_prompts(tmp_path):
    (tmp_path / "a.txt").write_text("one two three\n" * 50)
    assert len(read_passages(tmp_path)) == 3
    assert next(prompts(tmp_path, np.random.default_rng(0))).text.startswith("one two")
    with pytest.raises(InputError, match="must hold text files"):
        read_passages(tmp_path / "nothing")


def test_a_prompt_is_held_out_always_or_never(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"line {number}" for number in range(1000)))
    for folder, n_distinct in ((None, 1500), (tmp_path, 20)):
        drawn = list(islice(prompts(folder, np.random.default_rng(0)), 2000))
        assert len({prompt.text for prompt in drawn}) > n_distinct
        assert len({prompt.text for prompt in drawn}) == len(set(drawn))
        assert 0.03 < np.mean([prompt.is_held_out for prompt in drawn]) < 0.2
    (tmp_path / "a.txt").write_text("alone")
    with pytest.raises(InputError, match="at least 2 passages"):
        next(prompts(tmp_path, np.random.default_rng(0)))


def test_builtin_prompts_fill_all_fields():
    assert len(documentation_passages()) > 100
    assert min(map(len, library_functions())) > 100
    for prompt in islice(prompts(None, np.random.default_rng(1)), 500):
        assert not re.search(r"\{(topic|name|place|passage|task|code|number)\}", prompt.text)


def test_muon_in_float32_is_that_of_torch_up_to_the_rounding_of_bfloat16():
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((24, 40), (40, 24), (16, 16))]
    moved = []
    for make in (torch.optim.Muon, Muon32):
        weights = [torch.nn.Parameter(weight.clone()) for weight in start]
        optimizer = make(weights, 2e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        rng = torch.Generator().manual_seed(1)
        for _ in range(4):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=rng)
            optimizer.step()
        moved.append([weight.detach() - first for weight, first in zip(weights, start, strict=True)])
    for one, other in zip(*moved, strict=True):
        assert (one - other).norm() < 0.02 * one.norm()


def test_muon_in_float32_takes_no_closure():
    optimizer = Muon32([torch.nn.Parameter(torch.ones(2, 2))])
    with pytest.raises(ValueError, match="closure is not supported"):
        optimizer.step(lambda: 0.0)
