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
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from etesian._shared.files import atomic_write
from etesian.decode.draft_training.module import HeadModule, KeysAndValues
from etesian.decode.draft_training.muon import Muon32
from etesian.decode.draft_training.samples import Samples

MATRIX_RATE, VECTOR_RATE, WARM_UP_STEPS = 2e-3, 3e-3, 30
STEP_WEIGHTS = (1.0, 0.8, 0.6)
"""Weights of the losses of the first, second and third draft token."""
FIRST_STEP_SHARE = 0.45
"""Share of the time in which only the first draft token is trained, in a third of the time per text."""
BATCH_TEXTS, LONGEST = 24, 256
POOL = 8
"""Batches that are cut from one draw of texts, sorted by length, so that little is padded."""
FITTED_PLACES, RIDGE = 65_536, 1e-3
NOISE = 0.1
"""Standard deviation of the noise on the target's hidden states, relative to theirs."""


def is_bfloat_fast(device: str) -> bool:
    """Return True if the device multiplies bfloat16 faster than float32."""
    return device != "cpu" or bool(get_host_cpu_features().get("avx512bf16", False))


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
        features = features + noise * features.std((0, 1), keepdim=True) * torch.randn_like(features)
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


def loss_of(module: HeadModule, batch: dict[str, Tensor], n_steps: int) -> Tensor:
    """Return the weighted cross entropy of the first draft steps against the target's distributions."""
    total, weights = torch.zeros((), device=batch["features"].device), STEP_WEIGHTS[:n_steps]
    for weight, (logits, places) in zip(weights, unrolled(module, batch, n_steps, NOISE), strict=True):
        outputs, chances = (batch[name].roll(-1, 1)[places] for name in ("outputs", "chances"))
        logprobs = logits.float().log_softmax(-1).gather(1, outputs)
        total = total - weight * (chances * logprobs).sum(-1).mean()
    return total / sum(weights)


def fit_residual(module: HeadModule, corpus: Corpus) -> None:
    """Set the residual product to the least squares estimate of the target's next hidden state.

    Training starts from this linear head: the state of token t + 1 from the embedding of token t + 1 and the state of token t.
    """
    inputs, wanted, n_places = list[Tensor](), list[Tensor](), 0
    n_texts = len(corpus.samples.lengths)
    with torch.no_grad():
        for start in range(0, n_texts, BATCH_TEXTS):
            batch = corpus.batch(np.arange(start, min(start + BATCH_TEXTS, n_texts)))
            states = module.states(batch["features"])
            places = batch["is_known"].roll(-1, 1)
            places[:, -1] = False
            inputs.append(module.inputs(batch["embeddings"].roll(-1, 1), states)[places])
            wanted.append((states.roll(-1, 1) - states)[places])
            n_places += len(inputs[-1])
            if n_places >= FITTED_PLACES:
                break
        x, y = torch.cat(inputs), torch.cat(wanted)
        gram = x.T @ x
        gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-6)
        module.residual.copy_(torch.linalg.solve(gram, x.T @ y).T)


def acceptance(module: HeadModule, corpus: Corpus, most_texts: int | None = None) -> list[float]:
    """Return how often the head's first choice is the target's, for the first, second and third draft token after the same text.

    With `most_texts`, only the first ones are read.
    """
    hits, n_places = np.zeros(len(STEP_WEIGHTS)), np.zeros(len(STEP_WEIGHTS))
    n_texts = min(len(corpus.samples.lengths), most_texts or len(corpus.samples.lengths))
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
    module : Module
    folder : Path
        Folder of the checkpoint.
    seed : int
    loss : callable
        Returns the loss of the module on a batch, for a number of draft steps; see `loss_of`.
    """

    def __init__(self, module: nn.Module, folder: Path, seed: int, loss: Callable[..., Tensor] = loss_of) -> None:
        self.module, self.folder, self._loss_of = module, folder, loss
        self.seconds, self.n_steps, self.curve = 0.0, 0, list[dict[str, Any]]()
        self._rng = np.random.default_rng(seed)
        self._waiting = list[NDArray[np.int64]]()
        matrices = [weight for weight in module.parameters() if weight.ndim == 2]
        vectors = [weight for weight in module.parameters() if weight.ndim == 1]
        is_fast = all(is_bfloat_fast(weight.device.type) for weight in matrices)
        muon = torch.optim.Muon if is_fast else Muon32
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            muon(matrices, MATRIX_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(vectors, VECTOR_RATE, betas=(0.9, 0.95), weight_decay=0.0),
        )
        torch.manual_seed(seed)

    def run(self, corpus: Corpus, limit_seconds: float, until: Callable[[], bool]) -> float:
        """Take steps until `until` returns True; return the mean loss. The learning rate falls to 5% at `limit_seconds`."""
        losses = []
        while not until():
            started = time.perf_counter()
            share = self.seconds / max(limit_seconds, 1e-9)
            rate = max(0.05, 1 - share) * min(1.0, (self.n_steps + 1) / WARM_UP_STEPS)
            for optimizer, highest in zip(self._optimizers, (MATRIX_RATE, VECTOR_RATE), strict=True):
                optimizer.param_groups[0]["lr"] = highest * rate
                optimizer.zero_grad()
            batch = corpus.batch(self._next_texts(corpus.samples.lengths))
            with torch.autocast(corpus.device, torch.bfloat16, enabled=is_bfloat_fast(corpus.device)):
                loss = self._loss_of(self.module, batch, 1 if share < FIRST_STEP_SHARE else len(STEP_WEIGHTS))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            for optimizer in self._optimizers:
                optimizer.step()
            losses.append(loss.item())
            self.n_steps += 1
            self.seconds += time.perf_counter() - started
        return float(np.mean(losses)) if losses else float("nan")

    def _next_texts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return texts of about the same length, the next ones of a random draw."""
        if not self._waiting:
            drawn = self._rng.permutation(len(lengths))[: POOL * BATCH_TEXTS]
            drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
            batches = np.array_split(drawn, -(-len(drawn) // BATCH_TEXTS))
            self._waiting = [batches[place] for place in self._rng.permutation(len(batches))]
        return self._waiting.pop()

    def save(self) -> None:
        """Write a checkpoint; it replaces the previous one only when it is whole."""
        tensors = dict(self.module.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in state.items()}
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
        tensors = load_file(path)
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._optimizers]
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            _, number, index, part = name.split(".")
            states[int(number)].setdefault(int(index), {})[part] = tensors.pop(name)
        self.module.load_state_dict(tensors)
        for optimizer, state in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self._rng = np.random.default_rng((self.n_steps, 1))
        return True
