"""Write a GGUF file of random 8-bit weights in the shape of a published model, for measurements of speed and memory.

The tokenizer is that of SmolLM2, filled up with unused tokens. `gguf_types.py` converts the file to other types. Example:

    python benchmarks/random_gguf.py llama-3.2-1b runs/types/llama-3.2-1b.Q8_0.gguf
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray

from etesian.decode.models.loading.catalog import find_gguf

BLOCK, BLOCK_BYTES = 32, 34
RANDOM_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Hyperparameters of a model whose output layer shares the embeddings."""

    architecture: str
    n_layers: int
    width: int
    inner_width: int
    n_heads: int
    n_key_heads: int
    head_width: int
    vocabulary_size: int
    rope_base: float
    has_head_norms: bool = False


SHAPES = {
    "llama-3.2-1b": Shape(
        architecture="llama",
        n_layers=16,
        width=2_048,
        inner_width=8_192,
        n_heads=32,
        n_key_heads=8,
        head_width=64,
        vocabulary_size=128_256,
        rope_base=500_000.0,
    ),
    "qwen3-1.7b": Shape(
        architecture="qwen3",
        n_layers=28,
        width=2_048,
        inner_width=6_144,
        n_heads=16,
        n_key_heads=8,
        head_width=128,
        vocabulary_size=151_936,
        rope_base=1_000_000.0,
        has_head_norms=True,
    ),
}


def write_random(shape: Shape, out: Path, *, n_layers: int | None = None, vocabulary_size: int | None = None) -> None:
    """Write a file; a smaller number of layers or tokens is for trying the script."""
    n_layers, vocabulary_size = n_layers or shape.n_layers, vocabulary_size or shape.vocabulary_size
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(out, shape.architecture)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(n_layers)
    writer.add_context_length(8_192)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner_width)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_key_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_vocab_size(vocabulary_size)
    _add_tokenizer(writer, vocabulary_size)
    noise = np.random.default_rng(0).integers(-127, 128, RANDOM_BYTES, np.int8)
    for name, n_out, n_in in matrices(shape, n_layers, vocabulary_size):
        writer.add_tensor(name, _blocks(noise, n_out, n_in), raw_dtype=GGMLQuantizationType.Q8_0)
    for name, n in norms(shape, n_layers):
        writer.add_tensor(name, np.ones(n, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def matrices(shape: Shape, n_layers: int, vocabulary_size: int) -> Iterator[tuple[str, int, int]]:
    """Yield names, outputs and inputs."""
    attended, keys = shape.n_heads * shape.head_width, shape.n_key_heads * shape.head_width
    yield "token_embd.weight", vocabulary_size, shape.width
    for layer in range(n_layers):
        yield f"blk.{layer}.attn_q.weight", attended, shape.width
        yield f"blk.{layer}.attn_k.weight", keys, shape.width
        yield f"blk.{layer}.attn_v.weight", keys, shape.width
        yield f"blk.{layer}.attn_output.weight", shape.width, attended
        yield f"blk.{layer}.ffn_gate.weight", shape.inner_width, shape.width
        yield f"blk.{layer}.ffn_up.weight", shape.inner_width, shape.width
        yield f"blk.{layer}.ffn_down.weight", shape.width, shape.inner_width


def norms(shape: Shape, n_layers: int) -> Iterator[tuple[str, int]]:
    """Yield names and lengths."""
    yield "output_norm.weight", shape.width
    for layer in range(n_layers):
        yield f"blk.{layer}.attn_norm.weight", shape.width
        yield f"blk.{layer}.ffn_norm.weight", shape.width
        if shape.has_head_norms:
            yield f"blk.{layer}.attn_q_norm.weight", shape.head_width
            yield f"blk.{layer}.attn_k_norm.weight", shape.head_width


def _blocks(noise: NDArray[np.int8], n_out: int, n_in: int) -> NDArray[np.uint8]:
    """Return random blocks of Q8_0 whose weights have a standard deviation of about 1 / sqrt(n_in)."""
    blocks = np.empty((n_out * n_in // BLOCK, BLOCK_BYTES), np.uint8)
    blocks[:, :2] = np.array([n_in**-0.5 / 73], np.float16).view(np.uint8)  # 73: deviation of the integers
    blocks[:, 2:] = np.resize(noise, n_out * n_in).view(np.uint8).reshape(-1, BLOCK)
    return blocks.reshape(n_out, -1)


def _add_tokenizer(writer: GGUFWriter, vocabulary_size: int) -> None:
    source = find_gguf("smollm2")
    assert source is not None
    fields = GGUFReader(source).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()[:vocabulary_size]
    unused = [f"<unused {number}>" for number in range(vocabulary_size - len(tokens))]
    kinds = fields["tokenizer.ggml.token_type"].contents()[: len(tokens)]
    known = set(tokens)
    merges = [pair for pair in fields["tokenizer.ggml.merges"].contents() if pair.replace(" ", "") in known]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*tokens, *unused])
    writer.add_token_types([*kinds, *[TokenType.UNUSED] * len(unused)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=tuple(SHAPES))
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, help="number of layers; default: that of the model")
    parser.add_argument("--tokens", type=int, help="size of the vocabulary; default: that of the model")
    given = parser.parse_args(arguments)
    write_random(SHAPES[given.shape], given.out, n_layers=given.layers, vocabulary_size=given.tokens)


if __name__ == "__main__":
    main()
