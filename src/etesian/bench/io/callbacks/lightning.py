"""Time to accuracy of a run of Lightning's Trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from etesian.bench.io.callbacks._recorder import RunRecorder


class LightningCallback(Callback):
    """Record a run of Lightning's Trainer, with validation off the clock.

    The sanity check before training is off the clock too. Only the main process records.

    Parameters
    ----------
    *arguments, **options
        Those of `RunRecorder`: the target, store, workload, seed, suite, stop_at_target and synchronize.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.recorder = RunRecorder(*arguments, **options)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self.recorder.start(stores=trainer.is_global_zero)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Stop the clock."""
        if self.recorder.is_running:
            self.recorder.pause()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the measurement, and let the clock go on."""
        if trainer.sanity_checking or not self.recorder.is_running:
            return
        if self.recorder.record(trainer.global_step, trainer.callback_metrics):
            trainer.should_stop = True
        self.recorder.resume()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Store the run."""
        if trainer.is_global_zero:
            self.recorder.finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Store the run as failed; an interrupt from the keyboard stores nothing."""
        if trainer.is_global_zero and not isinstance(exception, KeyboardInterrupt):
            self.recorder.finish(exception)
