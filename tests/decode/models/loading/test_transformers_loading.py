"""Folders of models: safetensors alone, no code that nobody asked for, and plain words about what is wrong."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import tiny_models

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from etesian.decode.models.cpu.model import CpuModel  # noqa: E402
from etesian.decode.models.loading import LoadOptions, adapter, load_tokenizer, load_transformers_model  # noqa: E402
from etesian.decode.models.loading.tokenizer import tokens_not_shared  # noqa: E402
from etesian.decode.models.transformers.model import load_huggingface  # noqa: E402
from etesian.errors import InputError  # noqa: E402


def tokenizer_of(words):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=words[0])


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A model and its tokenizer in a folder."""
    folder = tmp_path_factory.mktemp("models") / "llama"
    tiny_models.tiny_model("llama").to(torch.bfloat16).save_pretrained(folder)
    tokenizer_of(["?", "the", "wind", "blows"]).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(saved, tmp_path / "llama")


def change_config(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


def refusal(name, **options):
    with pytest.raises(InputError) as caught:
        load_transformers_model(name, LoadOptions(device="cpu", local_files_only=True, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_model_and_tokenizer_of_a_folder_are_those_that_were_saved(saved):
    model, tokenizer = load_huggingface(saved, LoadOptions(device="cpu"))
    expected = tiny_models.tiny_model("llama").to(torch.bfloat16).state_dict()
    found = model.transformers_model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert tokenizer.encode("the wind blows") == [1, 2, 3]
    assert model.vocabulary_size == 300


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("auto", torch.bfloat16), ("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)],
)
def test_number_type_is_the_one_asked_for(saved, dtype, expected):
    assert load_transformers_model(str(saved), LoadOptions(dtype=dtype, device="cpu")).dtype == expected


def test_options_are_refused_by_name():
    with pytest.raises(InputError, match="dtype must be 'auto', 'bf16', 'fp16', 'fp32'; got 'int8'"):
        LoadOptions(dtype="int8")
    with pytest.raises(InputError, match=r"device must be 'auto', 'cpu', 'cuda' .* got 'gpu'"):
        LoadOptions(device="gpu").torch_device()
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(InputError, match=f"device '{absent}' is not available"):
        LoadOptions(device=absent).torch_device()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickled_weights_are_refused_by_name_and_not_opened(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"never read")
    message = refusal(folder)
    assert f"are pickled ({name})" in message
    assert "save_pretrained" in message


def test_safetensors_beside_a_pickle_are_taken(folder):
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert load_transformers_model(folder, LoadOptions(device="cpu")).dtype == torch.bfloat16


def test_code_of_a_model_does_not_run_unless_asked_for(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    change_config(folder, model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    (folder / "own.py").write_text("raise SystemExit('this ran')")
    message = refusal(folder)
    assert "brings code of its own" in message
    assert "trust_remote_code=True" in message
    with pytest.raises(SystemExit, match="this ran"):
        load_transformers_model(folder, LoadOptions(device="cpu", trust_remote_code=True, local_files_only=True))


def test_missing_weights_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "are incomplete: model.layers.1.mlp.up_proj.weight missing" in refusal(folder)


def test_damaged_weights_are_told(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "is damaged: tensor" in refusal(folder)


def test_weights_of_another_shape_are_told(folder):
    change_config(folder, vocab_size=310)
    assert "could not be loaded" in refusal(folder)


def test_missing_shards_are_told(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert "lacks model-00002-of-00002.safetensors" in refusal(folder)
    index.write_text("{}")
    assert "is not an index of weights" in refusal(folder)


def test_folders_without_a_model_tell_what_they_hold(folder):
    (folder / "config.json").write_text('{"model_type": ')
    assert "is not valid JSON" in refusal(folder)
    (folder / "config.json").unlink()
    assert "has no config.json; it holds chat" in refusal(folder) or "has no config.json; it holds gen" in refusal(
        folder
    )
    (folder / "model.gguf").touch()
    assert "holds GGUF files" in refusal(folder)
    (folder / "adapter_config.json").touch()
    assert "holds a LoRA adapter without its model" in refusal(folder)


def test_folder_without_weights_tells_so(folder):
    (folder / "model.safetensors").unlink()
    assert "has no weights (*.safetensors)" in refusal(folder)


def test_names_that_lead_nowhere_are_told(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # retries take half a minute
    assert "does not exist" in refusal(tmp_path / "none")
    assert "does not exist" in refusal("./none")
    assert "name must be a folder or a hub name; got ''" in refusal("")
    assert "is a file; give the folder" in refusal(folder / "config.json")
    assert "neither a folder nor" in refusal("nobody/has-this-model")


@pytest.mark.parametrize("model_type", ["t5", "unheard-of"])
def test_types_without_a_causal_model_are_told(folder, model_type):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert "could not be loaded" in refusal(folder)


def test_missing_tokenizer_is_told(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="has no tokenizer; save one there"):
        load_tokenizer(folder)


def test_same_vocabularies_pass_whatever_the_sizes_of_the_models():
    tokens_not_shared(tokenizer_of(["?", "a", "b"]), tokenizer_of(["?", "a", "b"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["?", "b", "a"], "in 2 of 3 tokens: 'a' is number 1 for the target and number 2 for small"),
        (["?", "a"], "in 1 of 3 tokens: 'b' is number 2 for the target and unknown for small"),
        (["?", "a", "b", "c"], "in 1 of 3 tokens: 'c' is unknown for the target and number 3 for small"),
    ],
)
def test_other_vocabularies_are_refused_by_a_token(words, message):
    with pytest.raises(InputError, match=message):
        tokens_not_shared(tokenizer_of(["?", "a", "b"]), tokenizer_of(words), draft_name="small")


def test_tokenizers_may_differ_in_added_tokens_which_are_never_proposed():
    target, draft = tokenizer_of(["?", "a", "b"]), tokenizer_of(["?", "a", "b"])
    target.add_special_tokens({"additional_special_tokens": ["<user>", "<answer>"]})
    draft.add_special_tokens({"additional_special_tokens": ["<answer>", "<think>"]})
    assert tokens_not_shared(target, draft) == [3, 4]  # <answer> is 4 for the target
    assert tokens_not_shared(target, tokenizer_of(["?", "a", "b"])) == []


@pytest.fixture
def adapted(folder):
    """A folder with a LoRA adapter next to the weights, and the logits of the model with this adapter."""
    peft = pytest.importorskip("peft")
    model = load_transformers_model(folder, LoadOptions(dtype="fp32", device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        with adapter._no_deprecation_warnings():
            wrapped = peft.get_peft_model(model, config)
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    return folder, expected_logits(wrapped)


TOKENS = torch.arange(3, 13)[None]


def expected_logits(model):
    with torch.no_grad():
        return model(TOKENS).logits[0].float().numpy()


def test_an_adapter_next_to_the_weights_is_merged_on_both_paths(adapted):
    folder, expected = adapted
    base = load_transformers_model(shutil.copytree(folder, folder.with_name("base"), ignore=no_adapter))
    model = load_transformers_model(folder, LoadOptions(dtype="fp32", device="cpu"))
    assert type(model) is type(base)
    assert abs(expected_logits(base) - expected).max() > 0.1
    np.testing.assert_allclose(expected_logits(model), expected, atol=1e-4)
    context = CpuModel.from_transformers(model, n_threads=1).context()
    tokens = TOKENS[0].numpy()
    np.testing.assert_allclose(context.score(tokens, np.arange(len(tokens)) - 1).logits, expected, atol=2e-4)


def no_adapter(_, names):
    return [name for name in names if name.startswith("adapter_")]


def test_an_adapter_that_cannot_be_merged_is_refused(adapted, monkeypatch):
    folder, _ = adapted
    config = folder / "adapter_config.json"
    entries = json.loads(config.read_text())
    config.write_text(json.dumps(entries | {"target_modules": ["q_proj"]}))
    assert "does not fit the model: 'base_model.model.model.layers.0.mlp.down_proj.lora_A.weight'" in refusal(folder)
    config.write_text(json.dumps(entries | {"peft_type": "IA3"}))
    assert "an adapter of type 'IA3'; only LORA is supported" in refusal(folder)
    config.write_text("{}")
    assert "does not configure an adapter" in refusal(folder)
    config.write_text(json.dumps(entries))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "but no adapter_model.safetensors" in refusal(folder)
    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    message = refusal(folder)
    assert "holds a LoRA adapter (adapter_config.json), which needs peft: pip install peft" in message
    assert "merge_and_unload" in message


@pytest.mark.parametrize(
    "file", ["../model.safetensors", "weights/model.safetensors", "x.bin", "/tmp/model.safetensors", 3]
)
def test_an_index_may_only_name_safetensors_in_its_own_folder(folder, file):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors", "b": file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refusal(folder)
    assert "may name only *.safetensors files in its own folder" in message
    assert str(file) in message
