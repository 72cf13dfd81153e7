r"""Train a narrow draft model on the texts that a head was trained on, for as long, and compare how often the target agrees.

The narrow model is a small Llama that reads tokens alone: the target's embeddings, projected to its width, and after its layers
the target's rows of the head's outputs, projected back. A head reads the target's hidden states as well. Texts, outputs, loss,
optimizers and held-out positions are those of `etesian draft train`, whose folder is read. Example:

    etesian draft train --target smollm2 --minutes 40 -o runs/head
    python benchmarks/narrow_draft.py runs/head --out benchmarks/results/<date>_narrow_draft
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from records import report
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from etesian.decode.draft_training.fitting import BATCH_TEXTS, LONGEST, Corpus, Fitting
from etesian.decode.draft_training.samples import Samples
from etesian.decode.draft_training.target import load_target
from etesian.decode.draft_training.training import SAMPLING_SHARE, frequent_tokens, output_rows, read_samples
from etesian.decode.drafters.head.folder import read_head, read_json

SAVE_SECONDS = 60.0
HEAD_WIDTH = 64


class NarrowModel(nn.Module):
    """A small causal model between the target's embeddings and its output rows.

    Parameters
    ----------
    output : ndarray, shape (n_outputs, target_width)
        Rows of the target's output layer, which are not trained.
    width, n_layers : int
    """

    def __init__(self, output: NDArray[np.float32], *, width: int, n_layers: int) -> None:
        super().__init__()
        config = LlamaConfig(
            vocab_size=1,  # embeddings are given
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=n_layers,
            num_attention_heads=width // HEAD_WIDTH,
            max_position_embeddings=LONGEST,
        )
        self.inputs = nn.Linear(output.shape[1], width, bias=False)
        self.body = LlamaModel(config)
        self.outputs = nn.Linear(width, output.shape[1], bias=False)
        self.register_buffer("output", torch.from_numpy(output))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits at the places where the target's distribution is known, and these places."""
        scale = batch["embeddings"].square().mean().sqrt()
        read = self.body(inputs_embeds=self.inputs(batch["embeddings"] / scale), use_cache=False)
        places = batch["is_known"]
        output: Any = self.output
        return self.outputs(read.last_hidden_state[places]) @ output.T, places


def loss_of(model: NarrowModel, batch: dict[str, Tensor], n_steps: int) -> Tensor:
    """Return the cross entropy against the target's distributions; a later draft token is no other task than the first."""
    del n_steps
    logits, places = model(batch)
    logprobs = logits.float().log_softmax(-1).gather(1, batch["outputs"][places])
    return -(batch["chances"][places] * logprobs).sum(-1).mean()


def acceptance(model: NarrowModel, corpus: Corpus) -> float:
    """Return how often the first choice is the target's, over all positions whose distribution is known."""
    hits, n_places, n_texts = 0.0, 0, len(corpus.samples.lengths)
    with torch.no_grad():
        for start in range(0, n_texts, BATCH_TEXTS):
            batch = corpus.batch(np.arange(start, min(start + BATCH_TEXTS, n_texts)))
            logits, places = model(batch)
            wanted = batch["first_choice"][places]
            hits += float((logits.argmax(-1) == wanted).sum())
            n_places += len(wanted)
    return hits / n_places


def train(model: NarrowModel, corpora: Sequence[Corpus], work: Path, minutes: float) -> Fitting:
    """Train for some minutes, with progress and checkpoints; continue an interrupted run."""
    fitting, limit = Fitting(model, work, 0, loss=loss_of), 60 * minutes
    fitting.resume()
    while fitting.seconds < limit:
        end = time.perf_counter() + min(SAVE_SECONDS, limit - fitting.seconds)
        loss = fitting.run(corpora[0], limit, lambda: time.perf_counter() >= end)  # noqa: B023
        rate = acceptance(model, corpora[1])
        fitting.curve.append({"seconds": round(fitting.seconds, 1), "loss": round(loss, 4), "acceptance": rate})
        fitting.save()
        print(f"{fitting.seconds:.0f} of {limit:.0f} s, step {fitting.n_steps:,}: loss {loss:.3f}, accepted {rate:.1%}")
    return fitting


def compare(
    head: Path, work: Path, *, source: str | None, minutes: float | None, width: int, n_layers: int
) -> dict[str, Any]:
    """Train the narrow model, and return its figures next to the head's."""
    torch.manual_seed(0)
    trained, weights = read_json(head / "training.json"), read_head(head)
    target, (texts, held_out) = load_target(source or trained["target"]), read_samples(head / "work")
    tokens, _ = frequent_tokens(texts, trained["options"]["n_outputs"])
    index = np.full(target.model.vocabulary_size, -1)
    index[tokens] = np.arange(len(tokens))
    model = NarrowModel(output_rows(target.network, tokens), width=width, n_layers=n_layers)
    corpora = [Corpus(_without_states(samples), target.model.embed, index) for samples in (texts, held_out)]
    head_minutes = trained["options"]["minutes"] * (1 - SAMPLING_SHARE)
    fitting = train(model, corpora, work, head_minutes if minutes is None else minutes)
    arrays = [array for array in vars(weights).values() if isinstance(array, np.ndarray) and array.ndim == 2]
    return {
        "tokens": texts.n_output,
        "held_out_tokens": held_out.n_output,
        "width": width,
        "layers": n_layers,
        "steps": fitting.n_steps,
        "minutes": fitting.seconds / 60,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "acceptance": fitting.curve[-1]["acceptance"],
        "curve": fitting.curve,
        "head_steps": trained["steps"],
        "head_minutes": head_minutes,
        "head_weights": sum(array.size for array in arrays),
        "head_acceptance": trained["curve"][-1]["acceptance"],
    }


def _without_states(samples: Samples) -> Samples:
    """Drop the hidden states, which this model does not read."""
    return Samples(**vars(samples) | {"hidden_states": np.zeros((len(samples.tokens), 1), np.float16)})


def table(found: dict[str, Any]) -> str:
    """Return the comparison as a Markdown table."""
    head = ", ".join(f"{rate:.1%}" for rate in found["head_acceptance"])
    return "\n".join(
        [
            "| draft | trained weights | minutes | steps | the target's first choice, held-out texts |",
            "| --- | --- | --- | --- | --- |",
            f"| head | {found['head_weights']:,} | {found['head_minutes']:.1f} | {found['head_steps']:,} | {head} "
            "(first, second and third draft token) |",
            f"| narrow model, {found['layers']} layers of width {found['width']} | {found['weights']:,} | "
            f"{found['minutes']:.1f} | {found['steps']:,} | {found['acceptance']:.1%} |",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path, help="folder of a finished `etesian draft train`, with its texts")
    parser.add_argument("--target", help="name, file or folder of the target; by default the name in the head's record")
    parser.add_argument("--minutes", type=float, help="time to train; by default as long as the head")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--out", type=Path, help="folder of the record")
    given = parser.parse_args(arguments)
    work = given.head / f"narrow-{given.layers}x{given.width}"
    found = compare(
        given.head, work, source=given.target, minutes=given.minutes, width=given.width, n_layers=given.layers
    )
    report([found], table(found), given.out)


if __name__ == "__main__":
    main()
