"""Runs that other programs recorded, read into `Run`: benchmarks' own formats, tables, and experiment trackers.

Each ``read_...`` takes a path and gives, one after the other, a `StoredRun` for each run, a `Skipped` for what should have been one
and could not be read, and an `Ignored` for what is no run. Nothing is dropped without a word.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from etesian.bench.importers.collect import Found, Ignored, Skipped

if TYPE_CHECKING:
    from etesian.bench.importers.algoperf import read_algoperf
    from etesian.bench.importers.columns import Columns, read_csv, read_parquet
    from etesian.bench.importers.dawnbench import read_dawnbench
    from etesian.bench.importers.mlflow import read_mlflow
    from etesian.bench.importers.mlperf import read_mlperf
    from etesian.bench.importers.speedrun import read_speedrun
    from etesian.bench.importers.tensorboard import read_tensorboard
    from etesian.bench.importers.wandb import read_wandb

__all__ = [
    "Columns",
    "Found",
    "Ignored",
    "Skipped",
    "read_algoperf",
    "read_csv",
    "read_dawnbench",
    "read_mlflow",
    "read_mlperf",
    "read_parquet",
    "read_speedrun",
    "read_tensorboard",
    "read_wandb",
]

_HOMES = {
    "Columns": "columns",
    "read_algoperf": "algoperf",
    "read_csv": "columns",
    "read_dawnbench": "dawnbench",
    "read_mlflow": "mlflow",
    "read_mlperf": "mlperf",
    "read_parquet": "columns",
    "read_speedrun": "speedrun",
    "read_tensorboard": "tensorboard",
    "read_wandb": "wandb",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
