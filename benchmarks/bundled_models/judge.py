"""Evaluate a trained pair: held-out loss, loops, and agreement of the draft model with the target.

    python benchmarks/bundled_models/judge.py --data runs/bundled --target runs/target/model --draft runs/draft/model
        --prompts HumanEval.jsonl --out runs/judged.json

This module is independent of the training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from samples import continuations, ends_in_cycle, load
from train import held_out_loss

SHOWN_PROMPT = "class Stack:\n    def push(self, item):\n"


def share_of_loops(model: Any, prompts: Sequence[list[int]], temperature: float | None) -> float:
    """Return the share of continuations of 128 tokens that end in a repeating cycle."""
    torch.manual_seed(0)
    written = continuations(model, prompts, max_tokens=128, temperature=temperature)
    return float(np.mean([ends_in_cycle(text) for text in written]))


@torch.inference_mode()
def agreement(target: Any, draft: Any, prompts: Sequence[list[int]]) -> float:
    """Return how often the most likely token of the draft model is that of the target, on greedy texts of the target."""
    same = total = 0
    for prompt, text in zip(prompts, continuations(target, prompts, max_tokens=128, temperature=None), strict=True):
        if text:
            ids = torch.tensor([prompt + text[:-1]])
            said = draft(ids).logits[0, len(prompt) - 1 :].float().argmax(1)
            same += int((said == torch.tensor(text)).sum())
            total += len(text)
    return same / total


def judge(model: Any, held_out: Path, prompts: Sequence[list[int]]) -> dict[str, float]:
    """Return the figures of one model."""
    return {
        "parameters": model.num_parameters(),
        "held_out_loss": held_out_loss(model, held_out, length=512),
        "loops_greedy": share_of_loops(model, prompts, None),
        "loops_at_0.8": share_of_loops(model, prompts, 0.8),
    }


def main(
    data: Annotated[Path, typer.Option(help="folder with tokens.py's output")],
    target: Annotated[Path, typer.Option(help="folder of the target")],
    draft: Annotated[Path, typer.Option(help="folder of the draft model")],
    prompts: Annotated[Path, typer.Option(help="JSON Lines file with a field `prompt`")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
) -> None:
    """Write and print the figures."""
    (big, tokenizer), (small, _) = load(target), load(draft)
    ids = [tokenizer(json.loads(line)["prompt"]).input_ids for line in prompts.read_text().splitlines()]
    ids.sort(key=len)  # batches of similar length need little padding
    torch.manual_seed(0)
    shown = tokenizer(SHOWN_PROMPT).input_ids
    texts = [next(continuations(big, [shown], max_tokens=120, temperature=each)) for each in (None, 0.8)]
    figures = {
        "target": judge(big, data / "held_out.npy", ids),
        "draft": judge(small, data / "held_out.npy", ids),
        "agreement_greedy": agreement(big, small, ids),
        "prompts": len(ids),
        "samples": [SHOWN_PROMPT + tokenizer.decode(text) for text in texts],
    }
    out.write_text(json.dumps(figures, indent=1))
    typer.echo(out.read_text())


if __name__ == "__main__":
    typer.run(main)
