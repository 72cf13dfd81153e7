"""Train a head on samples: batches, loss, acceptance on held-out texts, and checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from etesian._shared.files import atomic_write
from etesian.decode.draft_training.module import HeadModule, KeysAndValues
from etesian.decode.draft_training.samples import Samples

LEARNING_RATE, WARM_UP_STEPS = 1e-3, 50
STEP_WEIGHTS = (1.0, 0.8, 0.6)
"""Weights of the losses of the first, second and third draft token."""
BATCH_TEXTS, LONGEST = 12, 256
NOISE = 0.1
"""Standard deviation of the noise on the target's hidden states, relative to theirs."""


@dataclass(frozen=True)
class Corpus:
    """Texts on a device, with the index of each output by token (-1 for tokens that the head does not score).

    Parameters
    ----------
    samples : Samples
    embed : callable
        Returns embeddings of tokens as float32.
    output_index : ndarray of int64, shape (vocabulary_size,)
    """

    samples: Samples
    embed: Callable[[NDArray[np.integer]], NDArray[np.float32]]
    output_index: NDArray[np.int64]
    device: str = "cpu"

    def batch(self, texts: NDArray[np.integer]) -> dict[str, Tensor]:
        """Return padded arrays of some texts, cut to the last `LONGEST` tokens."""
        samples, starts = self.samples, np.concatenate([[0], np.cumsum(self.samples.lengths)])
        stops = starts[texts + 1]
        firsts = np.maximum(starts[texts], stops - LONGEST)
        length = int((stops - firsts).max())
        places = firsts[:, None] + np.arange(length)
        is_text = places < stops[:, None]
        places = np.minimum(places, stops[:, None] - 1)
        outputs = self.output_index[samples.top_tokens[places]]
        # Distributions exist from the prompt's last token to the one before the text's last.
        is_known = is_text & (places >= (starts[texts] + samples.prompt_lengths[texts] - 1)[:, None])
        is_known &= places < stops[:, None] - 1
        chances = np.exp(samples.top_logprobs[places].astype(np.float32)) * (outputs >= 0)
        arrays = {
            "embeddings": self.embed(samples.tokens[places]),
            "features": samples.hidden_states[places].astype(np.float32),
            "outputs": np.maximum(outputs, 0),
            "chances": chances,
            "first_choice": outputs[..., 0],
            "is_known": is_known,
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for name, array in arrays.items()}


def unrolled(
    module: HeadModule, batch: dict[str, Tensor], n_steps: int, noise: float = 0.0
) -> list[tuple[Tensor, Tensor]]:
    """Return, for each draft step, the logits at the places where the target's distribution is known, and these places.

    The row at place t reads the embedding of token t + 1 and the state of token t; it predicts the token after t + 1.
    """
    features = batch["features"]
    if noise:
        features = features + noise * features.std() * torch.randn_like(features)
    embeddings = batch["embeddings"].roll(-1, 1)
    known = batch["is_known"].roll(-1, 1)
    known[:, -1] = False
    earlier: list[KeysAndValues] = []
    states, results = module.states(features), list[tuple[Tensor, Tensor]]()
    for step in range(n_steps):
        states = module(embeddings, states, earlier)
        places = known.clone()
        places[:, :step] = False
        results.append((module.logits(states[places]), places))
        states = states.roll(1, 1)  # the head's own state of token t + 1 stands at place t
    return results


def loss_of(module: HeadModule, batch: dict[str, Tensor]) -> Tensor:
    """Return the weighted cross entropy of all draft steps against the target's distributions."""
    total = torch.zeros((), device=batch["features"].device)
    for weight, (logits, places) in zip(STEP_WEIGHTS, unrolled(module, batch, len(STEP_WEIGHTS), NOISE), strict=True):
        outputs, chances = (batch[name].roll(-1, 1)[places] for name in ("outputs", "chances"))
        logprobs = logits.log_softmax(-1).gather(1, outputs)
        total = total - weight * (chances * logprobs).sum(-1).mean()
    return total / sum(STEP_WEIGHTS)


def acceptance(module: HeadModule, corpus: Corpus) -> list[float]:
    """Return how often the head's first choice is the target's, for the first, second and third draft token after the same text."""
    hits, n_places = np.zeros(len(STEP_WEIGHTS)), np.zeros(len(STEP_WEIGHTS))
    n_texts = len(corpus.samples.lengths)
    with torch.no_grad():
        for start in range(0, n_texts, BATCH_TEXTS):
            batch = corpus.batch(np.arange(start, min(start + BATCH_TEXTS, n_texts)))
            for step, (logits, places) in enumerate(unrolled(module, batch, len(STEP_WEIGHTS))):
                wanted = batch["first_choice"].roll(-1, 1)[places]
                hits[step] += float((logits.argmax(-1) == wanted).sum())
                n_places[step] += len(wanted)
    return (hits / np.maximum(n_places, 1)).tolist()


class Fitting:
    """A training run that can be interrupted and resumed.

    Parameters
    ----------
    module : HeadModule
    folder : Path
        Folder of the checkpoint.
    seed : int
    """

    def __init__(self, module: HeadModule, folder: Path, seed: int) -> None:
        self.module, self.folder = module, folder
        self.seconds, self.n_steps, self.curve = 0.0, 0, list[dict[str, Any]]()
        self._rng = np.random.default_rng(seed)
        self._optimizer = torch.optim.AdamW(module.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
        torch.manual_seed(seed)

    def run(self, corpus: Corpus, limit_seconds: float, until: Callable[[], bool]) -> float:
        """Take steps until `until` returns True; return the mean loss. The learning rate falls to 5% at `limit_seconds`."""
        losses = []
        while not until():
            started = time.perf_counter()
            decay = max(0.05, 1 - self.seconds / max(limit_seconds, 1e-9))
            for group in self._optimizer.param_groups:
                group["lr"] = LEARNING_RATE * decay * min(1.0, (self.n_steps + 1) / WARM_UP_STEPS)
            n_texts = len(corpus.samples.lengths)
            texts = self._rng.choice(n_texts, min(BATCH_TEXTS, n_texts), replace=False)
            loss = loss_of(self.module, corpus.batch(texts))
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self._optimizer.step()
            losses.append(loss.item())
            self.n_steps += 1
            self.seconds += time.perf_counter() - started
        return float(np.mean(losses)) if losses else float("nan")

    def save(self) -> None:
        """Write a checkpoint; it replaces the previous one only when it is whole."""
        tensors = dict(self.module.state_dict())
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        record = {"seconds": self.seconds, "n_steps": self.n_steps, "curve": self.curve}
        payload = save(
            {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, {"record": json.dumps(record)}
        )
        with atomic_write(self.folder / "checkpoint.safetensors", make_parents=True) as file:
            file.write(payload)

    def resume(self) -> bool:
        """Load the checkpoint, if there is one; return True if so."""
        from safetensors import safe_open

        path = self.folder / "checkpoint.safetensors"
        if not path.is_file():
            return False
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()["record"])
        self.seconds, self.n_steps, self.curve = record["seconds"], record["n_steps"], record["curve"]
        tensors, state = load_file(path), dict[int, dict[str, Tensor]]()
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            _, index, part = name.split(".")
            state.setdefault(int(index), {})[part] = tensors.pop(name)
        self.module.load_state_dict(tensors)
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        self._rng = np.random.default_rng((self.n_steps, 1))
        return True
