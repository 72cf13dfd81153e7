from ._reading.columns import Columns as Columns
from ._reading.curves import Measurement as Measurement, outcome_of as outcome_of, points_of as points_of
from ._reading.files import UnreadableError as UnreadableError, raised_limits as raised_limits
from ._reading.found import Found as Found, Ignored as Ignored, Skipped as Skipped, read_each as read_each
from .exporters.benchopt import write_benchopt as write_benchopt
from .exporters.dawnbench import write_dawnbench as write_dawnbench
from .exporters.github_action_benchmark import write_github_action_benchmark as write_github_action_benchmark
from .exporters.github_summary import write_github_summary as write_github_summary
from .exporters.table import write_csv as write_csv, write_parquet as write_parquet
from .importers.aiperf import read_aiperf as read_aiperf
from .importers.algoperf import read_algoperf as read_algoperf
from .importers.benchopt import read_benchopt as read_benchopt
from .importers.dawnbench import read_dawnbench as read_dawnbench
from .importers.guidellm import read_guidellm as read_guidellm
from .importers.hyperfine import read_hyperfine as read_hyperfine
from .importers.mlflow import read_mlflow as read_mlflow
from .importers.mlperf import read_mlperf as read_mlperf
from .importers.pytest_benchmark import read_pytest_benchmark as read_pytest_benchmark
from .importers.speedrun import read_speedrun as read_speedrun
from .importers.table import read_csv as read_csv, read_parquet as read_parquet
from .importers.tensorboard import read_tensorboard as read_tensorboard
from .importers.vllm import read_vllm as read_vllm
from .importers.wandb import read_wandb as read_wandb
from .jsonl import read_jsonl as read_jsonl, write_jsonl as write_jsonl
from .registry import (
    exporter as exporter,
    exporter_names as exporter_names,
    importer as importer,
    importer_names as importer_names,
)
