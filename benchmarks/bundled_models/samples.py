"""Generate many texts at once with transformers.

python benchmarks/bundled_models/samples.py runs/target/model --prompt "def fibonacci(n):" --temperature 0.8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

LONGEST_CYCLE = 32
SHORTEST_LOOP = 48  # tokens


def load(folder: Path) -> tuple[Any, Any]:
    """Return a model in bfloat16 and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def continuations(
    model: Any, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float | None, batch: int = 48
) -> Iterator[list[int]]:
    """Yield the continuation of each prompt, up to the end token; greedy without a temperature."""
    end = model.config.eos_token_id
    sampled = (
        {"do_sample": False} if temperature is None else {"do_sample": True, "temperature": temperature, "top_k": 0}
    )
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        width = max(map(len, some))
        ids = torch.tensor([[end] * (width - len(prompt)) + list(prompt) for prompt in some])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in some])
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=max_tokens, pad_token_id=end, use_cache=True, **sampled
        )
        for row in out[:, width:].tolist():
            yield row[: row.index(end)] if end in row else row


def free_samples(
    model: Any, *, n_tokens: int, length: int = 256, temperature: float = 1.5, seed: int = 0, batch: int = 256
) -> Iterator[np.ndarray]:
    """Yield unconditional samples in blocks of shape (batch, length), until there are `n_tokens`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(-(-n_tokens // (batch * length))):
        yield free_block(model, batch, length, temperature, generator).numpy()


@torch.inference_mode()
def free_block(model: Any, batch: int, length: int, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Return a batch of samples, without the slow sort over the vocabulary in the sampling of transformers."""
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=length)
    last = torch.full((batch, 1), model.config.eos_token_id)
    texts = torch.empty((batch, length), dtype=torch.int32)
    for place in range(length):
        logits = model(last, past_key_values=cache, use_cache=True).logits[:, -1].float()
        shares = (logits / temperature).softmax(1).cumsum(1)
        last = torch.searchsorted(shares, shares[:, -1:] * torch.rand((batch, 1), generator=generator))
        texts[:, place] = last[:, 0]
    return texts


def ends_in_cycle(ids: Sequence[int]) -> bool:
    """Return True if a text ends in at least three repetitions that span at least 48 tokens."""
    for period in range(1, LONGEST_CYCLE + 1):
        tail = ids[-max(SHORTEST_LOOP, 3 * period) :]
        if len(tail) >= SHORTEST_LOOP and list(tail[period:]) == list(tail[:-period]):
            return True
    return False


def main(
    folder: Annotated[Path, typer.Argument(help="folder of a model")],
    prompt: Annotated[str, typer.Option(help="text to continue")] = "def fibonacci(n):",
    max_tokens: int = 128,
    temperature: Annotated[float | None, typer.Option(help="sampling temperature; default: greedy")] = None,
    seed: int = 0,
) -> None:
    """Print a continuation."""
    torch.manual_seed(seed)
    model, tokenizer = load(folder)
    ids = tokenizer(prompt).input_ids
    (text,) = continuations(model, [ids], max_tokens=max_tokens, temperature=temperature)
    typer.echo(prompt + tokenizer.decode(text))


if __name__ == "__main__":
    typer.run(main)
