"""The bundled models' scripts at toy size: text is selected, training learns and resumes, and the page shows the results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "bundled_models"))

import corpus
import export
import judge
import loops
import ngram
import shapes
import tokens
import train
from optimizer import orthogonalize
from samples import ends_in_cycle

SOURCE = "def add_{0}(first, second):\n    return first + second * {0}\n\n\nclass Pair{0}:\n    value = {0}\n"


def test_tests_tables_and_generated_code_are_left_out():
    assert corpus.is_wanted("numpy/linalg/_linalg.py")
    assert not corpus.is_wanted("numpy/tests/test_numeric.py")
    assert not corpus.is_wanted("pip/_vendor/rich/text.py")
    code = "def f(values):\n    return [value + 1 for value in values]\n" * 10
    assert corpus.reads_like_code(code)
    assert not corpus.reads_like_code("TABLE = [" + "1, 22, 333, " * 200 + "]\n")
    assert not corpus.reads_like_code(code + f"x = '{'a' * 400}'\n")


def test_file_of_lines_seen_before_is_a_copy_and_one_of_new_lines_is_not():
    lines = [f"    some_name_{k} = compute_something({k})" for k in range(20)]
    others = [f"    another_{k} = something_else_entirely({k})" for k in range(20)]
    seen: set[int] = set()
    assert not corpus.is_copy("\n".join(lines), seen)
    assert corpus.is_copy("\n".join(lines[:15] + others[:5]), seen)
    assert not corpus.is_copy("\n".join(others + lines[:5]), seen)


def test_held_out_modules_depend_on_their_path_alone_and_are_about_two_in_a_hundred():
    names = [f"package/module_{k}.py" for k in range(5000)]
    share = np.mean([corpus.is_held_out(name) for name in names])
    assert share == pytest.approx(0.02, abs=3 * (0.02 * 0.98 / 5000) ** 0.5)
    assert [corpus.is_held_out(name) for name in names] == [corpus.is_held_out(name) for name in names]


def test_step_direction_has_singular_values_near_one():
    matrices = torch.randn((2, 24, 60), generator=torch.Generator().manual_seed(0))
    for each in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalize(each))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_only_a_repeated_end_is_a_cycle():
    words = list(range(100))
    assert ends_in_cycle(words + [1, 2, 3] * 16)
    assert not ends_in_cycle(words + [1, 2, 3] * 15)  # 45 tokens
    assert not ends_in_cycle([1, 2, 3] * 16 + words)
    assert ends_in_cycle(words + list(range(30)) * 3)
    assert not ends_in_cycle(words + list(range(30)) * 2)


def test_third_round_of_a_cycle_is_marked_and_no_token_before_it():
    natural, cycle = list(range(100, 140)), list(range(12))
    ids = np.array([natural + cycle * 4, natural + cycle + natural[::-1][:36]])
    marked = loops.goes_on_in_cycle(ids)
    assert marked[0].tolist() == [False] * (40 + 12 + 23) + [True] * 13
    assert not marked[1].any()


def test_penalty_makes_a_cycle_less_likely_and_leaves_other_texts_alone(monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "draft", TOY)
    torch.manual_seed(0)
    model = shapes.new_model("draft", vocabulary_size=50)  # untrained, it says the same token for ever
    ids = torch.arange(24).reshape(2, 12)
    loss = loops.against_loops(lambda model, ids: torch.zeros(()), n_texts=2, n_read=8, n_tokens=60)
    before = loss(model, ids)
    before.backward()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight.sub_(0.05 * weight.grad)
    assert 0 < loss(model, ids) < before
    unmarked = loops.against_loops(lambda model, ids: torch.ones(()), n_texts=2, n_read=8, n_tokens=10)
    assert unmarked(model, ids) == 1.0  # too short for a cycle to be one


def test_deeper_model_is_the_same_function_until_it_learns(monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "draft", TOY)
    shallow = shapes.new_model("draft", vocabulary_size=50, n_layers=2)
    with torch.no_grad():
        for weight in shallow.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    deep = shapes.deepen(shallow, 5)
    assert len(deep.model.layers) == 5
    ids = torch.arange(20)[None]
    torch.testing.assert_close(deep(ids).logits, shallow(ids).logits)
    for layer, source in enumerate([0, 0, 0, 1, 1]):
        assert torch.equal(deep.model.layers[layer].mlp.up_proj.weight, shallow.model.layers[source].mlp.up_proj.weight)


TOY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A corpus of small functions, and a pair trained on it for some steps each."""
    folder = tmp_path_factory.mktemp("runs")
    for name, count in (("training", 300), ("held_out", 60)):
        texts = "".join(json.dumps(SOURCE.format(k)) + "\n" for k in range(count))
        (folder / f"{name}.jsonl").write_text(texts)
    account = {"packages": [{"name": "toy", "version": "1", "license": "MIT", "files": 300, "bytes": 30_000}]}
    (folder / "corpus.json").write_text(json.dumps(account | {"held_out": ["toy/a.py"]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes.SIZES, "target", TOY | {"num_hidden_layers": 2})
        patch.setitem(shapes.SIZES, "draft", TOY)
        patch.setattr(train, "WARM_UP_STEPS", 5)
        tokens.main(folder, None, 1)
        one_run("target", folder, "shallow", layers=1)
        one_run("target", folder, "target", steps=20, start=folder / "shallow" / "model")
        one_run("draft", folder, "draft", teacher=folder / "target" / "model")
    return folder


def one_run(shape, folder, name, *, steps=80, **options):
    settings = {"layers": None, "start": None, "teacher": None, "seed": 0} | options
    times = {"minutes": 10.0, "decay_minutes": 1.0, "steps": steps}
    train.main(shape, folder, folder / name, **times, rate=5.0, rows=4, length=32, **settings)


def lines_of(folder, name):
    return [json.loads(line) for line in (folder / name / "log.jsonl").read_text().splitlines()]


def test_training_learns_and_the_teachers_pupil_too(runs):
    n_tokens = len(tokens.tokenizer_of(runs / "tokenizer")[0].get_vocab())
    for name in ("shallow", "target", "draft"):
        last = lines_of(runs, name)[-1]
        assert last["tokens"] == 4 * 32 * last["step"]
        assert last["held_out"] < 0.6 * np.log(n_tokens)


def test_interrupted_run_resumes_from_its_checkpoint(runs, monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "draft", TOY)
    before = lines_of(runs, "draft")[-1]
    one_run("draft", runs, "draft", steps=before["step"] + 10, teacher=runs / "target" / "model")
    after = lines_of(runs, "draft")[-1]
    assert after["tokens"] == before["tokens"] + 10 * 4 * 32
    assert after["seconds"] > before["seconds"]
    assert after["held_out"] < before["held_out"] + 0.2  # weights and momentum too, not the counts alone


def test_page_shows_the_figures_of_the_records(runs, tmp_path):
    (runs / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"def add_{k}("}) + "\n" for k in range(3)))
    target, draft, judged = runs / "target", runs / "draft", runs / "judged.json"
    judge.main(runs, target / "model", draft / "model", runs / "prompts.jsonl", judged)
    export.main(runs, [runs / "shallow", target], [draft], judged, "a machine", tmp_path / "out", note="A note.")
    page = (tmp_path / "out" / "README.md").read_text()
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["target"]["steps"] == lines_of(runs, "shallow")[-1]["step"] + lines_of(runs, "target")[-1]["step"]
    assert f"| {record['target']['parameters']:,} | {record['draft']['parameters']:,} |" in page
    assert "\n\nA note.\n" in page
    assert "| toy | 1 | MIT | 300 | 0.03 |" in page
    ngram.main(draft / "model", tmp_path / "out" / "ngram.npz", tokens=512 * 256, temperature=1.5, contexts=500)
    names = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names.count("model.safetensors") == names.count("tokenizer.json") == 2
    assert "ngram.npz" in names
    assert "checkpoint.pt" not in names
