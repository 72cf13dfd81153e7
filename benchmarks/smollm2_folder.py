"""Write SmolLM2, whose GGUF file is in 4 bits, as a folder with safetensors in bfloat16, to be widened or measured.

    python benchmarks/smollm2_folder.py runs/smollm2-bf16
    python benchmarks/widen.py runs/smollm2-bf16 runs/smollm2-762m --times 2 --layers 50

The wide model computes the same function with 762 million weights in its matrices, which is the scale of the paper's target.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from etesian.decode.models.loading.catalog import find_gguf
from etesian.decode.models.loading.gguf.directory import open_gguf
from etesian.decode.models.loading.gguf.tokenizer import read_tokenizer


def convert(folder: Path) -> None:
    """Convert the GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM

    file = find_gguf("smollm2")
    assert file is not None  # else find_gguf names the command that fetches it
    source = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    if hasattr(source.config, "quantization_config"):  # the weights were converted
        del source.config.quantization_config
    fresh = AutoModelForCausalLM.from_config(source.config, dtype=torch.bfloat16)
    fresh.load_state_dict(source.state_dict())  # a model read from GGUF cannot be saved itself
    fresh.save_pretrained(folder)
    tokenizer = read_tokenizer(open_gguf(file))
    tokenizer.for_transformers.save_pretrained(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write")
    convert(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
