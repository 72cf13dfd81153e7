"""Write the draft head of SmolLM2 for the model that `widen.py` writes from it, which computes the same function.

    python benchmarks/widen_head.py src/etesian/decode/heads/smollm2 runs/head-762m --times 2 --layers 50

The hidden states of the wide model repeat those of SmolLM2, and its last norm divides them by the number of copies.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from etesian.decode.drafters.head.folder import read_head, write_head
from etesian.decode.load import load_parts
from etesian.decode.models.cpu.model import CpuModel


def widen_head(source: Path, out: Path, *, times: int, n_layers: int) -> None:
    """Repeat the inputs of the head's first product, and give the head token embeddings of its own width."""
    target = load_parts("smollm2", draft=None, ngram=None).target
    assert isinstance(target, CpuModel)
    weights, embeddings = read_head(source), target.embed(np.arange(target.vocabulary_size))
    config = weights.config
    layers = config.layers_of(target.n_layers)
    parts = np.split(weights.fuse, len(layers), axis=1)
    fuse = [
        np.tile(part, times) / (1 if layer == target.n_layers else times)
        for part, layer in zip(parts, layers, strict=True)
    ]
    wide = replace(
        config,
        feature_width=times * config.feature_width,
        feature_layers=tuple(n_layers if layer == target.n_layers else layer for layer in layers),
    )
    output = embeddings[weights.output_tokens]
    write_head(out, replace(weights, config=wide, fuse=np.concatenate(fuse, 1), embedding=embeddings, output=output))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and write the head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="folder of the head")
    add("out", type=Path, help="folder to write")
    add("--times", type=int, default=2, help="how much wider the target is")
    add("--layers", type=int, default=50, help="layers of the wide target")
    given = parser.parse_args(arguments)
    widen_head(given.source, given.out, times=given.times, n_layers=given.layers)


if __name__ == "__main__":
    main()
