"""A folder of models as `Decoder.load` takes it, made in a test: a small random target, a draft like it, an N-gram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LONGEST = 256


def write_bundle(folder: Path) -> Path:
    """Write target, draft and ngram.npz, all of the tokens of `byte_tokenizer`."""
    import torch

    from etesian.decode import Decoder
    from etesian.decode.drafters import build_ngram

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = small_llama()
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder / "target")
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        model.save_pretrained(folder / "draft")
    for name in ("target", "draft"):
        byte_tokenizer().save_pretrained(folder / name)
    draft = Decoder.load(folder / "draft", draft=None, ngram=None).target
    build_ngram(draft, n_tokens=2_000, starts=[[0]]).save(folder / "ngram.npz")
    return folder


def write_model(folder: Path, **options: Any) -> Path:
    """Write a `small_llama` and its tokenizer."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small_llama(**options).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def small_llama(*, width: int = 48, initializer_range: float = 0.02) -> Any:
    """A random model for the tokens of `byte_tokenizer`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=300, hidden_size=width, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LONGEST, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        initializer_range=initializer_range,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def byte_tokenizer(first: str = "<end>") -> Any:
    """A tokenizer whose tokens are `first`, which ends texts, and the bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([first, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=first)
