"""Perplexity of GGUF files on a text, by Etesian or by llama.cpp: a check of quantized products.

The text is cut into pieces of `--piece` tokens, each read from the start; all tokens but the first of each piece count. Both
engines read the same files and find the same tokens. Results are printed as JSON and appended to the file `--out`. Files with a
result there are not measured again. Run it once with each engine, llama.cpp in a separate environment (built with
`CMAKE_ARGS=-DGGML_NATIVE=ON`):

    python benchmarks/perplexity.py *.gguf --text text.txt --out runs.jsonl
    ../llama/bin/python benchmarks/perplexity.py *.gguf --text text.txt --out runs.jsonl --engine llama.cpp
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Logits = Callable[[Sequence[int]], np.ndarray]
"""From tokens to the logits after each of them, shape (n, vocabulary size)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the files of the command line that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--engine", choices=("etesian", "llama.cpp"), default="etesian")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--piece", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON Lines file of the results")
    given = parser.parse_args(arguments)
    lines = given.out.read_text().splitlines() if given.out and given.out.exists() else []
    done = {(found["model"], found["engine"]) for found in map(json.loads, lines)}
    for model in given.models:
        if (model.name, given.engine) not in done:
            line = json.dumps(measure(model, given))
            print(line)
            if given.out:
                with given.out.open("a") as file:
                    print(line, file=file)


def measure(model: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure the perplexity of one file."""
    text = given.text.read_text()[: 8 * given.tokens]
    open_engine = open_etesian if given.engine == "etesian" else open_llama_cpp
    tokens, logits = open_engine(model, text, given.piece, given.threads)
    started = time.perf_counter()
    losses = piecewise_losses(logits, tokens[: given.tokens], given.piece)
    return {
        "model": model.name,
        "engine": given.engine,
        "tokens": len(losses),
        "perplexity": round(float(np.exp(losses.mean())), 5),
        "seconds": round(time.perf_counter() - started, 1),
    }


def piecewise_losses(logits: Logits, tokens: Sequence[int], piece: int) -> np.ndarray:
    """Negative log-likelihoods, in nats, of all tokens but the first of each piece."""
    losses = []
    for start in range(0, len(tokens), piece):
        part = np.asarray(tokens[start : start + piece])
        rows = logits(part.tolist())[:-1].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(part) - 1), part[1:]])
    return np.concatenate(losses)


def open_etesian(model: Path, text: str, piece: int, n_threads: int) -> tuple[list[int], Logits]:
    """Tokens of the text, and our logits."""
    from etesian.decode.models.loading.gguf import load_gguf

    loaded, tokenizer = load_gguf(model, n_threads=n_threads)

    def logits(tokens: Sequence[int]) -> np.ndarray:
        return loaded.context().score(tokens, np.arange(-1, len(tokens) - 1)).logits

    return tokenizer.encode(text, add_special_tokens=False), logits


def open_llama_cpp(model: Path, text: str, piece: int, n_threads: int) -> tuple[list[int], Logits]:
    """Tokens of the text, and llama.cpp's logits."""
    from llama_cpp import Llama

    options: dict[str, Any] = {"n_ctx": piece, "n_batch": piece, "n_threads": n_threads, "n_threads_batch": n_threads}
    llama = Llama(str(model), logits_all=True, verbose=False, **options)

    def logits(tokens: Sequence[int]) -> np.ndarray:
        llama.reset()
        llama.eval(tokens)
        return llama.scores[: len(tokens)]

    return llama.tokenize(text.encode(), add_bos=False, special=True), logits


if __name__ == "__main__":
    main()
