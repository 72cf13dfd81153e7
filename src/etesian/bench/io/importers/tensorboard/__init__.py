"""TensorBoard's event files, without TensorBoard."""

from etesian.bench.io.importers.tensorboard.read import read_tensorboard

__all__ = ["read_tensorboard"]
