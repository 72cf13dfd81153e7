"""transformers on a folder in bfloat16: plain, and with prompt lookup. It stops at the end of text.

python -m decoders.folder_with_transformers MODEL THREADS     (in the folder benchmarks)
"""

from __future__ import annotations

import sys

import torch
from transformers import AutoModelForCausalLM

from decoders.serving import serve
from decoders.with_transformers import LOOKUP_TOKENS, write


def main(folder: str, threads: str) -> None:
    """Load and serve."""
    torch.set_num_threads(int(threads))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    model.generation_config.pad_token_id = 0
    serve(
        {
            "transformers": lambda *arguments: write(model, *arguments),
            "transformers lookup": lambda *arguments: write(model, *arguments, prompt_lookup_num_tokens=LOOKUP_TOKENS),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
