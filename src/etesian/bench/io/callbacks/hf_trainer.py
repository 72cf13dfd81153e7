"""Time to accuracy of a run of Hugging Face's Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from etesian.bench.io.callbacks._recorder import RunRecorder


class HFTrainerCallback(TrainerCallback):
    """Record a run of Hugging Face's Trainer, with evaluation off the clock.

    The clock stops at the end of the step (or epoch) after which the Trainer evaluates, and continues when the evaluation is done.
    Fetching batches, logging and saving are on the clock. Only the main process records.

    Parameters
    ----------
    *arguments, **options
        Those of `RunRecorder`: the target, store, workload, seed, suite, stop_at_target and synchronize.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.recorder = RunRecorder(*arguments, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock; an evaluation before the first step is off it."""
        self.recorder.start(stores=state.is_world_process_zero)
        if args.eval_on_start:
            self.recorder.pause()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock if an evaluation follows."""
        if control.should_evaluate:
            self.recorder.pause()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock if an evaluation follows."""
        if control.should_evaluate:
            self.recorder.pause()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Record the measurement, and let the clock go on."""
        if not self.recorder.is_running:
            return  # evaluated outside of training
        if self.recorder.record(state.global_step, metrics or {}):
            control.should_training_stop = True
        self.recorder.resume()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Store the run."""
        if state.is_world_process_zero:
            self.recorder.finish()
