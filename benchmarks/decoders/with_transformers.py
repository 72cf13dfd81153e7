"""transformers with the same weights in bfloat16: plain, assisted by the draft model, and with prompt lookup.

python -m decoders.with_transformers MODELS THREADS     (in the folder benchmarks)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from decoders.serving import serve
from decoders.written import BlockClock, Choosing, Written

LOOKUP_TOKENS = 10  # as in the guide of transformers


class _Streamer(BaseStreamer):  # type: ignore[misc]
    """Streamer that skips the prompt."""

    def __init__(self, clock: BlockClock) -> None:
        self._clock = clock
        self._has_prompt = False

    def put(self, value: torch.Tensor) -> None:
        if self._has_prompt:
            self._clock.take(value.flatten().tolist())
        self._has_prompt = True

    def end(self) -> None:
        pass


def load(folder: Path) -> Any:
    """Load a model without an end token."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def write(model: Any, prompt: list[int], choosing: Choosing, n_tokens: int, **how: Any) -> Written:
    """Continue a prompt with `model.generate`."""
    if choosing.top_k is not None:
        how |= {"do_sample": True, "top_k": choosing.top_k, "temperature": 1.0}
        torch.manual_seed(choosing.seed)
    clock = BlockClock()
    ids = torch.tensor([prompt])
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n_tokens, streamer=_Streamer(clock), **how)
    return clock.written()


def main(models: str, threads: str) -> None:
    """Load and serve."""
    torch.set_num_threads(int(threads))
    target, draft = load(Path(models) / "target"), load(Path(models) / "draft")
    serve(
        {
            "transformers": lambda *arguments: write(target, *arguments),
            "transformers assisted": lambda *arguments: write(target, *arguments, assistant_model=draft),
            "transformers lookup": lambda *arguments: write(target, *arguments, prompt_lookup_num_tokens=LOOKUP_TOKENS),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
