"""Count the bundled N-gram from text that the draft writes. Knows how to sample many texts at once; counting is the package's.

python benchmarks/bundled_models/ngram.py runs/draft/model --tokens 4000000 --out src/etesian/decode/bundled/ngram.npz
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from samples import free_samples, load

from etesian.decode.drafters.ngram import SAMPLING_TEMPERATURE, NgramDrafter


def main(
    draft: Annotated[Path, typer.Argument(help="folder of the draft")],
    out: Annotated[Path, typer.Option(help="npz file to write")],
    tokens: Annotated[int, typer.Option(help="tokens to sample")] = 4_000_000,
    temperature: Annotated[float, typer.Option(help="of the samples")] = SAMPLING_TEMPERATURE,
    contexts: Annotated[int, typer.Option(help="pairs of tokens kept, the commonest first")] = 100_000,
    seed: int = 0,
) -> None:
    """Sample, count and write."""
    model, tokenizer = load(draft)
    texts = (row for block in free_samples(model, n_tokens=tokens, temperature=temperature, seed=seed) for row in block)
    ngram = NgramDrafter.count(texts, len(tokenizer), temperature=temperature, max_contexts=contexts)
    ngram.save(out)
    typer.echo(f"{out.stat().st_size / 2**20:.2f} MiB in {out}")


if __name__ == "__main__":
    typer.run(main)
