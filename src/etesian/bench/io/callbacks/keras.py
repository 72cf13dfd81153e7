"""Time to accuracy of a run of Keras."""

from __future__ import annotations

from typing import Any

from keras.callbacks import Callback

from etesian.bench.io.callbacks._recorder import RunRecorder


class KerasCallback(Callback):
    """Record a run of ``Model.fit``, with validation off the clock.

    A measurement is taken at the end of each epoch; its steps are epochs.

    Parameters
    ----------
    *arguments, **options
        Those of `RunRecorder`: the target, store, workload, seed, suite, stop_at_target and synchronize.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.recorder = RunRecorder(*arguments, **options)

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self.recorder.start()

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop the clock."""
        if self.recorder.is_running:
            self.recorder.pause()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the measurement, and let the clock go on."""
        if self.recorder.record(epoch + 1, logs or {}):
            self.model.stop_training = True
        self.recorder.resume()

    def on_train_end(self, logs: Any = None) -> None:
        """Store the run."""
        self.recorder.finish()
