"""Time that the callbacks for Trainer, Lightning and Keras add to training, as a share of it.

Whole trainings at toy size are paired: one with the callback and one without, in alternating order, in one process. An
evaluation follows every 10 steps, and a step takes at least 10 ms, which is short for a real model. Two shares are reported:

- the time within the callback's hooks, from the first to the one that adds the run to a store, divided by the rest of the same
  training (median, and range of the trainings);
- the Hodges-Lehmann estimate of the ratios of the pairs minus 1, with an interval that inverts Wilcoxon's signed rank test. It
  includes what the library and the callback's thread cost outside of the hooks, and the noise of two trainings.

``--hooks`` times only the hooks between two evaluations, called as often as the library calls them.

Command: ``python benchmarks/callback_overhead.py [--pairs 20] [--hooks] [--out FILE]``
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from etesian.bench.statistics.shift import typical_ratio

STEP_SECONDS = 0.010
STEPS_PER_EVALUATION = 10
EPOCHS = 20
ROWS = 8  # per batch
REPEATS = 7

Training = Callable[[list[Any]], None]
"""Trains once, with the given callbacks; the time of this call is measured."""


def slow_step() -> None:
    """Take the time of a step."""
    time.sleep(STEP_SECONDS)


def hf_trainer(folder: Path) -> tuple[Training, Callable[[int], Any]]:
    """Return a training with Hugging Face's Trainer, and a maker of its callback."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from etesian.bench.io.callbacks import HFTrainerCallback

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(2))

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            if self.training:
                slow_step()
            return {"loss": ((x @ self.weight - labels) ** 2).mean()}

    rows = [{"x": torch.ones(2), "labels": torch.tensor(1.0)} for _ in range(ROWS * STEPS_PER_EVALUATION)]
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=ROWS,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )

    def train(callbacks: list[Any]) -> None:
        trainer = Trainer(Toy(), arguments, train_dataset=rows, eval_dataset=rows[:ROWS], callbacks=callbacks)
        trainer.remove_callback(PrinterCallback)
        trainer.train()

    return train, lambda seed: HFTrainerCallback("eval_loss<=-1", store=folder / "s.db", workload="toy", seed=seed)


def lightning(folder: Path) -> tuple[Training, Callable[[int], Any]]:
    """Return a training with Lightning, and a maker of its callback."""
    import lightning
    import torch

    from etesian.bench.io.callbacks import LightningCallback

    class Toy(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            slow_step()
            return (self.layer(batch[0]) ** 2).mean()

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", (self.layer(batch[0]) ** 2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def loader(batches: int) -> Any:
        data = torch.utils.data.TensorDataset(torch.ones(ROWS * batches, 2))
        return torch.utils.data.DataLoader(data, batch_size=ROWS)

    def train(callbacks: list[Any]) -> None:
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=callbacks,
        )
        trainer.fit(Toy(), loader(STEPS_PER_EVALUATION), loader(1))

    return train, lambda seed: LightningCallback("val_loss<=-1", store=folder / "s.db", workload="toy", seed=seed)


def keras(folder: Path) -> tuple[Training, Callable[[int], Any]]:
    """Return a training with Keras on PyTorch, and a maker of its callback."""
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from etesian.bench.io.callbacks import KerasCallback

    class SlowStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            slow_step()

    x, y = np.ones((ROWS * STEPS_PER_EVALUATION, 2)), np.ones(ROWS * STEPS_PER_EVALUATION)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")

    def train(callbacks: list[Any]) -> None:
        data = (x[:ROWS], y[:ROWS])
        all_callbacks = [SlowStep(), *callbacks]
        model.fit(x, y, batch_size=ROWS, epochs=EPOCHS, verbose=0, validation_data=data, callbacks=all_callbacks)

    return train, lambda seed: KerasCallback("val_loss<=-1", store=folder / "s.db", workload="toy", seed=seed)


TRAININGS = {"HFTrainerCallback": hf_trainer, "LightningCallback": lightning, "KerasCallback": keras}


@dataclass
class Times:
    """Seconds of each training: with the callback, of these within its hooks, and without it."""

    with_callback: list[float] = field(default_factory=list)
    in_hooks: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)


def time_hooks(callback: Any) -> list[float]:
    """Replace the hooks of a callback by ones that are timed; return the list that their seconds are added to."""
    seconds: list[float] = []
    for name in vars(type(callback)):
        if name.startswith("on_"):
            setattr(callback, name, _timed(getattr(callback, name), seconds))
    return seconds


def _timed(hook: Callable[..., None], seconds: list[float]) -> Callable[..., None]:
    def timed(*arguments: Any, **options: Any) -> None:
        began = time.perf_counter()
        hook(*arguments, **options)
        seconds.append(time.perf_counter() - began)

    return timed


def paired_times(train: Training, callback: Callable[[int], Any], pairs: int) -> Times:
    """Train in pairs, one with the callback and one without; which goes first alternates."""
    for callbacks in ([], [callback(pairs)]):
        train(callbacks)
    times = Times()
    for pair in range(pairs):
        for has_callback in (True, False) if pair % 2 else (False, True):
            callbacks = [callback(pair)] if has_callback else []
            hooks = [time_hooks(each) for each in callbacks]
            began = time.perf_counter()
            train(callbacks)
            (times.with_callback if has_callback else times.without).append(time.perf_counter() - began)
            times.in_hooks += map(sum, hooks)
    return times


def whole_trainings(pairs: int) -> dict[str, dict[str, Any]]:
    """Measure all libraries; return both shares of each callback, and the times."""
    found = {}
    for name, make in TRAININGS.items():
        with tempfile.TemporaryDirectory() as folder:
            times = paired_times(*make(Path(folder)), pairs)
        shares = [hooks / (whole - hooks) for whole, hooks in zip(times.with_callback, times.in_hooks, strict=True)]
        ratio = typical_ratio(np.array(times.with_callback), np.array(times.without), paired=True)
        share, low, high = (math.nan if each is None else each - 1 for each in (ratio.value, ratio.low, ratio.high))
        in_hooks = {"share": statistics.median(shares), "low": min(shares), "high": max(shares)}
        found[name] = {
            "in_hooks": in_hooks,
            "of_pairs": {"share": share, "low": low, "high": high},
            "times": asdict(times),
        }
        print(
            f"{name}: {statistics.median(times.without):.2f} s; hooks {100 * in_hooks['share']:.3f}% "
            f"[{100 * min(shares):.3f}, {100 * max(shares):.3f}]; pairs {100 * share:+.2f}% [{100 * low:+.2f}, {100 * high:+.2f}], "
            f"{pairs} pairs",
            flush=True,
        )
    return found


def trainer_hooks(store: Path) -> Callable[[], None]:
    """Return the hooks that Trainer calls between two evaluations."""
    from etesian.bench.io.callbacks import HFTrainerCallback

    callback = HFTrainerCallback("eval_loss<=0", store=store, workload="toy")
    state = SimpleNamespace(global_step=STEPS_PER_EVALUATION, is_world_process_zero=True)
    callback.on_train_begin(SimpleNamespace(eval_on_start=False), state, None)
    step, last = SimpleNamespace(should_evaluate=False), SimpleNamespace(should_evaluate=True)

    def hooks() -> None:
        for _ in range(STEPS_PER_EVALUATION - 1):
            callback.on_step_end(None, state, step)
        callback.on_step_end(None, state, last)
        callback.on_evaluate(None, state, last, metrics={"eval_loss": 1.0, "eval_accuracy": 0.5})

    return hooks


def recorder_hooks(store: Path) -> Callable[[], None]:
    """Return the calls that Lightning's and Keras's callbacks make between two evaluations; they have no hook per step."""
    from etesian.bench.io.callbacks._recorder import RunRecorder

    record = RunRecorder("val_loss<=0", store=store, workload="toy")
    record.start()

    def hooks() -> None:
        record.pause()
        record.record(STEPS_PER_EVALUATION, {"val_loss": 1.0, "val_accuracy": 0.5})
        record.resume()

    return hooks


def hooks_alone(calls: int = 200) -> dict[str, dict[str, Any]]:
    """Time the hooks by themselves; return their share of training and its range over the repeats."""
    found = {}
    for name, make in {"HFTrainerCallback": trainer_hooks, "LightningCallback, KerasCallback": recorder_hooks}.items():
        with tempfile.TemporaryDirectory() as folder:
            hooks, shares = make(Path(folder) / "s.db"), []
            for _ in range(REPEATS):
                began = time.perf_counter()
                for _ in range(calls):
                    hooks()
                shares.append((time.perf_counter() - began) / calls / (STEPS_PER_EVALUATION * STEP_SECONDS))
        found[name] = {"share": statistics.median(shares), "low": min(shares), "high": max(shares)}
        print(
            f"{name}: {100 * found[name]['share']:.4f}% of training [{100 * min(shares):.4f}, {100 * max(shares):.4f}]"
        )
    return found


def main(arguments: list[str]) -> dict[str, dict[str, Any]]:
    """Measure, print, and write JSON; return the figures by callback."""
    parser = argparse.ArgumentParser(description="Measure the overhead of the training callbacks.")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of trainings per library")
    parser.add_argument("--hooks", action="store_true", help="time only the hooks")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found = hooks_alone() if options.hooks else whole_trainings(options.pairs)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
