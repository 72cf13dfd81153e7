"""MAIN PATH: train the bundled target or draft model for a given number of minutes.

The learning rate warms up, stays constant, and decays linearly to zero over the last minutes. To end a run early, create a
file `finish` in its folder. Only working time counts, not the time for which a process is stopped. An interrupted run
resumes from its last checkpoint.

    python benchmarks/bundled_models/train.py target --data runs/bundled --out runs/target --minutes 100
    python benchmarks/bundled_models/train.py draft --data runs/bundled --out runs/draft --teacher runs/target/model
"""

import json
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from loops import against_loops
from optimizer import optimizers
from shapes import SIZES, deepen, new_model, save

HELD_OUT_TOKENS = 16_384
WARM_UP_STEPS = 50
CHECKPOINT_SECONDS = 150.0


@dataclass
class Progress:
    """Progress of a run."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # working time
    finish_at: float = 0.0  # working time at which the run ends


class Batches:
    """Random windows of the corpus; the sample of a step depends only on the seed and the step."""

    def __init__(self, path: Path, *, rows: int, length: int, seed: int) -> None:
        self.ids = np.load(path, mmap_mode="r")
        self.rows, self.length, self.seed = rows, length, seed

    def draw(self, step: int) -> torch.Tensor:
        """Return token ids, shape (rows, length + 1)."""
        generator = np.random.default_rng([self.seed, step])
        starts = generator.integers(0, len(self.ids) - self.length - 1, self.rows)
        return torch.from_numpy(np.stack([self.ids[s : s + self.length + 1] for s in starts]).astype(np.int64))


class WorkedTime:
    """Working time; a step that took far longer than others was suspended, and counts as three typical steps."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=25)

    def of(self, seconds: float) -> float:
        usual = statistics.median(self.recent) if self.recent else seconds
        self.recent.append(seconds)
        return min(seconds, 3 * usual)


def logits_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits of each next token but the first, float32, shape (rows * length, vocabulary)."""
    return model(ids[:, :-1], use_cache=False).logits.flatten(0, 1).float()


def cross_entropy(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of predicting each next token, in nats."""
    return torch.nn.functional.cross_entropy(logits_of(model, ids), ids[:, 1:].flatten())


def distillation(teacher: Any) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """Return the cross entropy with the distribution of the teacher instead of the next token."""

    def loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = logits_of(teacher, ids)[:, : model.config.vocab_size].softmax(1)
        return torch.nn.functional.cross_entropy(logits_of(model, ids), wanted)

    return loss


@torch.no_grad()
def held_out_loss(model: Any, path: Path, *, length: int) -> float:
    """Return the mean loss on held-out text, in nats per token, over adjacent windows."""
    ids = np.load(path, mmap_mode="r")
    n_windows = min(HELD_OUT_TOKENS, len(ids) - 1) // length
    starts = np.linspace(0, len(ids) - length - 1, n_windows).astype(int)
    windows = torch.from_numpy(np.stack([ids[s : s + length + 1] for s in starts]).astype(np.int64))
    return float(np.mean([cross_entropy(model, chunk).item() for chunk in windows.split(8)]))


def rate_factor(progress: Progress, *, decay_seconds: float) -> float:
    """Return the share of the full step size: warm-up over the first steps, decay over the last seconds."""
    left = (progress.finish_at - progress.seconds) / decay_seconds
    return max(0.0, min(1.0, (progress.step + 1) / WARM_UP_STEPS, left))


def checkpoint(folder: Path, model: Any, steppers: list[Any], progress: Progress) -> None:
    """Write a checkpoint for resuming, which replaces the previous one atomically, and the model alone."""
    state = {"model": model.state_dict(), "steppers": steppers_state(steppers), "progress": asdict(progress)}
    torch.save(state, folder / "checkpoint.new")
    (folder / "checkpoint.new").replace(folder / "checkpoint.pt")
    save(model, folder / "model")


def steppers_state(steppers: list[Any]) -> list[dict[str, Any]]:
    """Return the state of the optimizers, without the weights."""
    kept = []
    for stepper in steppers:
        state = {"master": stepper.master}
        if hasattr(stepper, "velocity"):
            state["velocity"] = stepper.velocity
        else:
            state["inner"] = stepper.inner.state_dict()
        kept.append(state)
    return kept


def resume(folder: Path, model: Any, steppers: list[Any]) -> Progress:
    """Load the last checkpoint, if there is one."""
    if not (folder / "checkpoint.pt").exists():
        return Progress()
    state = torch.load(folder / "checkpoint.pt", weights_only=False)
    model.load_state_dict(state["model"])
    for stepper, kept in zip(steppers, state["steppers"], strict=True):
        if hasattr(stepper, "velocity"):
            stepper.master.copy_(kept["master"])
            stepper.velocity.copy_(kept["velocity"])
        else:
            for master, value in zip(stepper.master, kept["master"], strict=True):
                master.data.copy_(value.data)
            stepper.inner.load_state_dict(kept["inner"])
    return Progress(**state["progress"])


def run(
    model: Any,
    batches: Batches,
    folder: Path,
    *,
    loss_of: Callable[[Any, torch.Tensor], torch.Tensor],
    held_out: Path,
    minutes: float,
    decay_minutes: float,
    rate: float,
    steps: int | None,
) -> None:
    """Train until the time is up, and log JSON lines at intervals."""
    steppers = optimizers(model)
    progress = resume(folder, model, steppers)
    progress.finish_at = 60 * minutes
    worked, last_saved, recent = WorkedTime(), progress.seconds, deque[float](maxlen=50)
    with (folder / "log.jsonl").open("a") as log:
        over = progress.seconds >= progress.finish_at
        while not over:
            begun = time.perf_counter()
            loss = loss_of(model, batches.draw(progress.step))
            loss.backward()
            factor = rate * rate_factor(progress, decay_seconds=60 * decay_minutes)
            for stepper in steppers:
                stepper.step(factor)
            recent.append(loss.item())
            progress.step += 1
            progress.tokens += batches.rows * batches.length
            progress.seconds += worked.of(time.perf_counter() - begun)
            if (folder / "finish").exists():
                (folder / "finish").unlink()
                progress.finish_at = min(progress.finish_at, progress.seconds + 60 * decay_minutes)
            over = progress.seconds >= progress.finish_at or progress.step == steps
            if over or progress.seconds - last_saved > CHECKPOINT_SECONDS or progress.step == WARM_UP_STEPS:
                last_saved = progress.seconds
                line = {**asdict(progress), "loss": statistics.fmean(recent), "rate": factor}
                line["held_out"] = held_out_loss(model, held_out, length=batches.length)
                log.write(json.dumps(line) + "\n")
                log.flush()
                checkpoint(folder, model, steppers, progress)


def starting_model(shape: str, data: Path, start: Path | None, n_layers: int | None) -> Any:
    """Return a new model, or a trained one deepened to the given number of layers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if start is None:
        vocabulary_size = len(AutoTokenizer.from_pretrained(data / "tokenizer"))
        return new_model(shape, vocabulary_size=vocabulary_size, n_layers=n_layers)  # type: ignore[arg-type]
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    return deepen(model, n_layers or SIZES[shape]["num_hidden_layers"])


def main(
    shape: Annotated[str, typer.Argument(help="target or draft")],
    data: Annotated[Path, typer.Option(help="folder with tokens.py's output")],
    out: Annotated[Path, typer.Option(help="folder of this run: checkpoint, log, model")],
    minutes: Annotated[float, typer.Option(help="total training time in minutes")] = 100.0,
    decay_minutes: Annotated[
        float, typer.Option(help="minutes at the end in which the learning rate decays to zero")
    ] = 25.0,
    rate: Annotated[float, typer.Option(help="share of the full step sizes")] = 0.5,
    rows: Annotated[int, typer.Option(help="windows per step")] = 16,
    length: Annotated[int, typer.Option(help="tokens per window")] = 256,
    steps: Annotated[int | None, typer.Option(help="maximum number of steps")] = None,
    layers: Annotated[int | None, typer.Option(help="number of layers; default: that of the shape")] = None,
    start: Annotated[Path | None, typer.Option(help="folder of the initial model, which may have fewer layers")] = None,
    teacher: Annotated[Path | None, typer.Option(help="folder of the teacher model")] = None,
    compiled: Annotated[bool, typer.Option(help="use torch.compile: slow to start, then faster")] = False,
    no_loops: Annotated[bool, typer.Option(help="also penalize greedy loops, see loops.py")] = False,
    seed: int = 0,
) -> None:
    """Train; the result is OUT/model in Hugging Face layout."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(data / "tokenizer", out / "model", dirs_exist_ok=True)
    model = starting_model(shape, data, start, layers).bfloat16().train()
    model.set_attn_implementation("eager")  # up to 512 tokens the fused kernel's backward pass is slower on a CPU
    loss_of: Callable[[Any, torch.Tensor], torch.Tensor] = cross_entropy
    if teacher is not None:
        loss_of = distillation(AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.bfloat16).eval())
    if compiled:
        loss_of = torch.compile(loss_of)
    if no_loops:
        loss_of = against_loops(loss_of)
    batches = Batches(data / "training.npy", rows=rows, length=length, seed=seed)
    run(
        model, batches, out, loss_of=loss_of, held_out=data / "held_out.npy",
        minutes=minutes, decay_minutes=decay_minutes, rate=rate, steps=steps,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
