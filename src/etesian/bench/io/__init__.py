"""Runs from and to other programs' files: importers, exporters, and callbacks for training libraries.

An importer takes a path and yields, one after the other, a `StoredRun` for each run, a `Skipped` for each run that could
not be read, and an `Ignored` for each file that holds no run. Nothing is dropped silently. Importers and exporters are
registered by entry points (groups ``etesian.importers`` and ``etesian.exporters``); a new format is one new file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etesian._shared.lazy import lazy_names
from etesian._shared.limits import raised_limits
from etesian.bench.io._reading.curves import Measurement, outcome_of, points_of
from etesian.bench.io._reading.files import UnreadableError
from etesian.bench.io._reading.found import Found, Ignored, Skipped, read_each
from etesian.bench.io.registry import exporter, exporter_names, importer, importer_names

if TYPE_CHECKING:
    from etesian.bench.io._reading.columns import Columns
    from etesian.bench.io.exporters.benchopt import write_benchopt
    from etesian.bench.io.exporters.dawnbench import write_dawnbench
    from etesian.bench.io.exporters.github_action_benchmark import write_github_action_benchmark
    from etesian.bench.io.exporters.github_summary import write_github_summary
    from etesian.bench.io.exporters.table import write_csv, write_parquet
    from etesian.bench.io.importers.aiperf import read_aiperf
    from etesian.bench.io.importers.algoperf import read_algoperf
    from etesian.bench.io.importers.benchopt import read_benchopt
    from etesian.bench.io.importers.dawnbench import read_dawnbench
    from etesian.bench.io.importers.guidellm import read_guidellm
    from etesian.bench.io.importers.hyperfine import read_hyperfine
    from etesian.bench.io.importers.mlflow import read_mlflow
    from etesian.bench.io.importers.mlperf import read_mlperf
    from etesian.bench.io.importers.pytest_benchmark import read_pytest_benchmark
    from etesian.bench.io.importers.speedrun import read_speedrun
    from etesian.bench.io.importers.table import read_csv, read_parquet
    from etesian.bench.io.importers.tensorboard import read_tensorboard
    from etesian.bench.io.importers.vllm import read_vllm
    from etesian.bench.io.importers.wandb import read_wandb
    from etesian.bench.io.jsonl import read_jsonl, write_jsonl

__all__ = [
    "Columns",
    "Found",
    "Ignored",
    "Measurement",
    "Skipped",
    "UnreadableError",
    "exporter",
    "exporter_names",
    "importer",
    "importer_names",
    "outcome_of",
    "points_of",
    "raised_limits",
    "read_aiperf",
    "read_algoperf",
    "read_benchopt",
    "read_csv",
    "read_dawnbench",
    "read_each",
    "read_guidellm",
    "read_hyperfine",
    "read_jsonl",
    "read_mlflow",
    "read_mlperf",
    "read_parquet",
    "read_pytest_benchmark",
    "read_speedrun",
    "read_tensorboard",
    "read_vllm",
    "read_wandb",
    "write_benchopt",
    "write_csv",
    "write_dawnbench",
    "write_github_action_benchmark",
    "write_github_summary",
    "write_jsonl",
    "write_parquet",
]

_HOMES = {
    "Columns": "_reading.columns",
    "read_algoperf": "importers.algoperf",
    "read_aiperf": "importers.aiperf",
    "read_benchopt": "importers.benchopt",
    "read_guidellm": "importers.guidellm",
    "read_vllm": "importers.vllm",
    "read_csv": "importers.table",
    "read_dawnbench": "importers.dawnbench",
    "read_hyperfine": "importers.hyperfine",
    "read_jsonl": "jsonl",
    "read_mlflow": "importers.mlflow",
    "read_mlperf": "importers.mlperf",
    "read_parquet": "importers.table",
    "read_pytest_benchmark": "importers.pytest_benchmark",
    "read_speedrun": "importers.speedrun",
    "read_tensorboard": "importers.tensorboard",
    "read_wandb": "importers.wandb",
    "write_benchopt": "exporters.benchopt",
    "write_github_action_benchmark": "exporters.github_action_benchmark",
    "write_github_summary": "exporters.github_summary",
    "write_csv": "exporters.table",
    "write_dawnbench": "exporters.dawnbench",
    "write_jsonl": "jsonl",
    "write_parquet": "exporters.table",
}

__getattr__ = lazy_names(__name__, _HOMES)
