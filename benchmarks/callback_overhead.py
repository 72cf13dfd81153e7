"""Time that the callbacks for Trainer, Lightning and Keras add to training, as a share of it.

The hooks of a callback are called as often as the library calls them and timed by themselves, since a difference of two
whole training runs is far noisier than the overhead. The share is that of a training step of 10 ms, which is short for
a real model.

Command: ``python benchmarks/callback_overhead.py [STEPS_PER_EVALUATION]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from etesian.bench.io.callbacks._recorder import RunRecorder

STEP_SECONDS = 0.010
REPEATS = 7


def hf_trainer(store: Path, steps: int) -> Callable[[], None]:
    """Return the hooks that Trainer calls between two evaluations."""
    from etesian.bench.io.callbacks import HFTrainerCallback

    callback = HFTrainerCallback("eval_loss<=0", store=store, workload="toy")
    callback.on_train_begin(SimpleNamespace(eval_on_start=False), None, None)
    state = SimpleNamespace(global_step=steps, is_world_process_zero=True)
    go, stop = SimpleNamespace(should_evaluate=False), SimpleNamespace(should_evaluate=True)

    def hooks() -> None:
        for _ in range(steps - 1):
            callback.on_step_end(None, state, go)
        callback.on_step_end(None, state, stop)
        callback.on_evaluate(None, state, stop, metrics={"eval_loss": 1.0, "eval_accuracy": 0.5})

    return hooks


def recorder(store: Path, steps: int) -> Callable[[], None]:
    """Return the calls that Lightning's and Keras's callbacks make between two evaluations; they have no hook per step."""
    record = RunRecorder("val_loss<=0", store=store, workload="toy")
    record.start()

    def hooks() -> None:
        record.pause()
        record.record(steps, {"val_loss": 1.0, "val_accuracy": 0.5})
        record.resume()

    return hooks


def overhead(hooks: Callable[[], None], *, calls: int = 200) -> list[float]:
    """Return the seconds per evaluation that the hooks take, once per repeat."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(calls):
            hooks()
        seconds.append((time.perf_counter() - began) / calls)
    return seconds


def main(steps: int = 10) -> dict[str, float]:
    """Print the overhead of each callback as a share of training time; return the medians."""
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in {"HFTrainerCallback": hf_trainer, "LightningCallback, KerasCallback": recorder}.items():
            seconds = overhead(make(Path(folder) / "s.db", steps))
            of_training = [each / (steps * STEP_SECONDS) for each in seconds]
            shares[name] = statistics.median(of_training)
            print(
                f"{name}: {1e6 * statistics.median(seconds):.1f} microseconds per evaluation every {steps} steps, "
                f"{100 * shares[name]:.4f}% of training [{100 * min(of_training):.4f}, {100 * max(of_training):.4f}]"
            )
    return shares


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
