"""Train a byte-level BPE tokenizer on Python source code, and encode the corpus as one array of token ids.

python benchmarks/bundled_models/tokens.py --data runs/bundled
"""

import json
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
VOCABULARY_SIZE = 4096
LONGEST_TEXT = 1024  # positions of the models


def documents(path: Path) -> list[str]:
    """Read one JSON string per line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def train_tokenizer(texts: list[str], vocabulary_size: int = VOCABULARY_SIZE) -> Tokenizer:
    """Learn merges. The pre-tokenizer of GPT-2 keeps a newline and its indentation together, which suits Python."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str], end: int) -> np.ndarray:
    """Concatenate the token ids of the texts, each followed by the end token; shape (n_tokens,)."""
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    pieces = [[*encoded.ids, end] for encoded in tokenizer.encode_batch_fast(texts)]
    return np.concatenate([np.asarray(piece, dtype=dtype) for piece in pieces])


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json in the format of transformers."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, model_max_length=LONGEST_TEXT
    )
    fast.save_pretrained(folder)


def tokenizer_of(folder: Path) -> tuple[Tokenizer, int]:
    """Return a stored tokenizer and its end token."""
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(folder)
    return fast.backend_tokenizer, fast.eos_token_id


def main(
    data: Annotated[Path, typer.Option(help="folder with corpus.py's output; tokens are written there")],
    tokenizer: Annotated[Path | None, typer.Option(help="folder of an existing tokenizer to use")] = None,
    every: Annotated[int, typer.Option(help="learn merges from every n-th text")] = 3,
) -> None:
    """Write tokenizer/, training.npy and held_out.npy."""
    training, held_out = documents(data / "training.jsonl"), documents(data / "held_out.jsonl")
    if tokenizer is None:
        save_tokenizer(train_tokenizer(training[::every]), data / "tokenizer")
    else:
        (data / "tokenizer").mkdir(exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / name, data / "tokenizer" / name)
    coder, end = tokenizer_of(data / "tokenizer")
    for name, texts in (("training", training), ("held_out", held_out)):
        ids = encode(coder, texts, end)
        np.save(data / f"{name}.npy", ids)
        typer.echo(f"{name}: {len(ids):,} tokens, {sum(map(len, texts)) / len(ids):.2f} bytes each")


if __name__ == "__main__":
    typer.run(main)
