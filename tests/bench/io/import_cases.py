"""A small valid sample of each format, written by hand, and the importer that reads it."""

from __future__ import annotations

import gzip
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from etesian.bench import Run, StoredRun, Target
from etesian.bench.io import (
    Found,
    Ignored,
    Skipped,
    read_algoperf,
    read_csv,
    read_dawnbench,
    read_hyperfine,
    read_mlflow,
    read_mlperf,
    read_pytest_benchmark,
    read_speedrun,
    read_tensorboard,
    read_vllm,
    read_wandb,
)
from etesian.bench.io.importers.tensorboard.records import checksum

LOSS = Target("loss", 3.0, "at_most")


def sort_out(found: Iterable[Found]) -> tuple[list[Run], list[Skipped], list[Ignored]]:
    """Runs, skipped and ignored; each run must survive JSON as a store keeps it."""
    items = list(found)
    runs = [item.run for item in items if isinstance(item, StoredRun)]
    assert all(Run.from_dict(run.as_dict()).as_dict() == run.as_dict() for run in runs)
    return runs, [i for i in items if isinstance(i, Skipped)], [i for i in items if isinstance(i, Ignored)]


def one_run(found: Iterable[Found]) -> Run:
    runs, skipped, _ = sort_out(found)
    assert not skipped
    assert len(runs) == 1
    return runs[0]


def reasons(found: Iterable[Found]) -> list[str]:
    runs, skipped, _ = sort_out(found)
    assert not runs
    return [item.reason for item in skipped]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


DAWNBENCH_TSV = "epoch\thours\ttop1Accuracy\n1\t0.25\t90.0\n2\t0.5\t94.0\n3\t0.75\t93.9\n"
DAWNBENCH_JSON = (
    '{"version": "v1.0", "author": "A. Team", "hardware": "1 K80", "costPerHour": 0.9, "timestamp": "2018-04-20"}'
)

MLPERF_V05 = """\
:::MLPv0.5.0 ncf 1541736888.5 (ncf.py:242) run_start
:::MLPv0.5.0 ncf 1541736890.5 (ncf.py:450) eval_accuracy: {"epoch": 0, "value": 0.62}
:::MLPv0.5.0 ncf 1541736892.5 (ncf.py:450) eval_accuracy: {"epoch": 1, "value": 0.636}
:::MLPv0.5.0 ncf 1541736892.75 (ncf.py:460) run_stop: {"success": true}
"""
MLPERF_DATED = """\
MLPerf: resnet [06/13/19 00:30:56], run_start
MLPerf: resnet [06/13/19 00:30:58], run_start
MLPerf: resnet [06/13/19 00:32:19], eval_accuracy: {"value": 14.48800%, "epoch": 3}
MLPerf: resnet [06/13/19 00:55:20], eval_accuracy: {"value": 75.98000%, "epoch": 79}
MLPerf: resnet [06/13/19 00:55:21], run_stop
MLPerf: resnet [06/13/19 00:55:21], Total runtime: 24.409763 minutes
"""
MLPERF_V06 = """\
:::MLL 0.0 submission_org: {"value": "google", "metadata": {}}
:::MLL 0.0 submission_platform: {"value": "tpu-v3-32", "metadata": {}}
:::MLL 0.0 submission_benchmark: {"value": "transformer", "metadata": {}}
:::MLL 1558650011.861 global_batch_size: {"value": 512, "metadata": {"lineno": 542}}
:::MLL 1558650414.961 run_start: {"value": null, "metadata": {"lineno": 477}}
:::MLL 1558650615.961 eval_accuracy: {"value": "18.876", "metadata": {"epoch_num": 1}}
:::MLL 1558651003.100 eval_accuracy: {"value": 25.07, "metadata": {"epoch_num": 2}}
:::MLL 1558651003.200 run_stop: {"value": null, "metadata": {"status": "success"}}
"""


def mllog(*events: tuple[str, int, object, dict[str, object]], prefix: str = "") -> str:
    """Lines of a log of v0.7 and after: key, milliseconds, value, metadata."""
    import json

    lines = (
        json.dumps({"namespace": "", "time_ms": time, "event_type": "X", "key": key, "value": value, "metadata": more})
        for key, time, value, more in events
    )
    return "".join(f"{prefix}:::MLLOG {line}\n" for line in lines)


MLPERF_V07 = mllog(
    ("submission_benchmark", 0, "resnet", {}),
    ("seed", 999, 5012, {}),
    ("run_start", 1_000, None, {}),
    ("eval_accuracy", 61_000, 0.5, {"epoch_num": 1}),
    ("eval_accuracy", 121_000, 0.76, {"epoch_num": 5}),
    ("run_stop", 121_500, None, {"status": "success"}),
)

SPEEDRUN = """\
import torch
print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} train_time:{training_time_ms:.0f}ms")
====
Running Python 3.12.3 (main, Jan 22 2026, 20:57:42) [GCC 13.3.0]
Running PyTorch 2.10.0+cu128 compiled for CUDA 12.8
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:8D:00.0 Off |                    0 |
|   1  NVIDIA H100 80GB HBM3          On  |   00000000:91:00.0 Off |                    0 |
step:0/1390 val_loss:10.8311 train_time:0ms step_avg:0.03ms
step:1/1390 train_time:57ms step_avg:57.00ms
step:700/1390 val_loss:3.7 train_time:40000ms step_avg:57.14ms
step:1390/1390 val_loss:3.2794 train_time:80694ms step_avg:58.05ms
peak memory allocated: 30908 MiB reserved: 46472 MiB
"""

ALGOPERF_TARGETS = """\
{"workloads": {"ogbg": {"target_metric_name": "mean_average_precision", "validation_target_value": 0.28, "step_hint": 100},
"librispeech": {"target_metric_name": "wer", "validation_target_value": 0.08, "step_hint": 100}}}
"""
ALGOPERF_CSV = """\
accumulated_submission_time,accumulated_eval_time,global_step,score,validation/mean_average_precision,test/loss,total_duration
20.5,500.0,1,20.5,0.03,0.7,520.5
260.5,600.0,90,260.5,0.27,,860.5
500.5,700.0,180,500.5,0.281,0.05,1200.5
"""

WANDB_CHART = """\
"Relative Time (Process)","adam_seed3 - loss","adam_seed3 - loss__MIN","adam_seed3 - loss__MAX","sgd-run-1 - loss"
"10","4.0","4.0","4.0",""
"20.5","2.9","2.9","2.9","3.5"
"""

CSV = """\
workload,seed,seconds,loss,accuracy,note
adam,0,1.5,4.0,0.1,first try
adam,0,3.0,2.9,0.2,first try
sgd,0,1.0,3.5,0.1,x
sgd,0,2.0,3.2,nan,y
"""


HYPERFINE = '{"results": [{"command": "sleep 1", "mean": 1.0, "times": [1.01, 1.02], "exit_codes": [0, 0]}]}'
PYTEST_BENCHMARK = """\
{"machine_info": {"cpu": {"brand_raw": "A CPU"}}, "commit_info": {"id": "abc"}, "datetime": "2026-11-01T10:00:00",
 "benchmarks": [{"name": "test_a", "fullname": "t.py::test_a", "stats": {"median": 0.002, "mean": 0.003, "rounds": 5}}]}
"""
VLLM = """\
{"model_id": "a/model", "num_prompts": 10, "request_rate": "inf", "duration": 12.5, "completed": 10, "p99_ttft_ms": 55.0}
"""


def record(message: bytes) -> bytes:
    """Frame a message as TensorBoard's files do."""
    length = struct.pack("<Q", len(message))
    return length + struct.pack("<I", checksum(length)) + message + struct.pack("<I", checksum(message))


def scalar_event(seconds: float, step: int, tag: str, value: float) -> bytes:
    """An event with one simple value, in protobuf."""
    name = tag.encode()
    entry = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(entry)]) + entry
    return b"\x09" + struct.pack("<d", seconds) + b"\x10" + varint(step) + b"\x2a" + bytes([len(summary)]) + summary


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


TENSORBOARD = record(b"\x09" + struct.pack("<d", 1000.0) + b"\x1a\x0dbrain.Event:2") + b"".join(
    record(scalar_event(1000.0 + step / 10, step, "loss", 4 - step / 100)) for step in (10, 60, 110)
)


def write_mlruns(root: Path, *, status: int = 3, values: str = "1000 4.0 0\n3000 2.5 10\n") -> Path:
    """A tracking store of files with one run."""
    write(root / "1" / "meta.yaml", "experiment_id: '1'\nname: digits\nlifecycle_stage: active\n")
    run = root / "1" / "abc"
    write(
        run / "meta.yaml",
        f"run_id: abc\nrun_name: adam-seed-3\nstatus: {status}\nstart_time: 1000\nlifecycle_stage: active\n",
    )
    write(run / "metrics" / "loss", values)
    write(run / "params" / "lr", "0.1")
    return root


def write_mlflow_database(path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript("""
        CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
        CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INTEGER, lifecycle_stage TEXT, experiment_id INTEGER);
        CREATE TABLE metrics (key TEXT, value FLOAT, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan BOOLEAN);
        CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
        INSERT INTO experiments VALUES (1, 'digits');
        INSERT INTO runs VALUES ('abc', 'adam-seed-3', 'FINISHED', 1000, 'active', 1);
        INSERT INTO runs VALUES ('def', 'adam-seed-4', 'FAILED', 2000, 'active', 1);
        INSERT INTO runs VALUES ('ghi', 'adam-seed-5', 'FINISHED', 3000, 'deleted', 1);
        INSERT INTO params VALUES ('seed', '17', 'abc'), ('opt', 'adam', 'abc');
        INSERT INTO metrics VALUES ('loss', 4.0, 1000, 'abc', 0, 0), ('loss', 2.5, 3000, 'abc', 10, 0),
            ('train_time', 0.5, 1000, 'abc', 0, 0), ('train_time', 1.5, 3000, 'abc', 10, 0),
            ('lr', 1.7976931348623157e308, 3000, 'abc', 10, 0), ('loss', 0.0, 4000, 'def', 1, 1);
    """)
    connection.commit()
    connection.close()
    return path


def _algoperf(root: Path) -> Path:
    write(root / "workload_targets.json", ALGOPERF_TARGETS)
    return write(root / "adamw" / "study_2" / "ogbg_jax" / "trial_1" / "eval_measurements.csv", ALGOPERF_CSV)


def _dawnbench(root: Path) -> Path:
    write(root / "CIFAR10" / "entry.json", DAWNBENCH_JSON)
    return write(root / "CIFAR10" / "entry.tsv", DAWNBENCH_TSV)


def _mlflow(root: Path) -> Path:
    return write_mlruns(root) / "1" / "abc" / "metrics" / "loss"


Sample = tuple[Callable[[Path], Path], Callable[[Path], Iterator[Found]]]
"""Writes a valid file below a folder and returns it; reads the folder."""

SAMPLES: dict[str, Sample] = {
    "algoperf": (_algoperf, read_algoperf),
    "csv": (lambda root: write(root / "runs.csv", CSV), lambda root: read_csv(root, target=LOSS)),
    "csv.gz": (lambda root: write(root / "runs.csv.gz", CSV), lambda root: read_csv(root, target=LOSS)),
    "dawnbench": (_dawnbench, read_dawnbench),
    "hyperfine": (lambda root: write(root / "h.json", HYPERFINE), read_hyperfine),
    "pytest-benchmark": (lambda root: write(root / "b.json", PYTEST_BENCHMARK), read_pytest_benchmark),
    "vllm": (lambda root: write(root / "v.json", VLLM), read_vllm),
    "mlflow": (_mlflow, lambda root: read_mlflow(root, target=LOSS)),
    "mlflow database": (
        lambda root: write_mlflow_database(root / "mlflow.db"),
        lambda root: read_mlflow(root / "mlflow.db", target=LOSS),
    ),
    "mlperf v0.5": (lambda root: write(root / "result_0.txt", MLPERF_V05), read_mlperf),
    "mlperf v0.6": (lambda root: write(root / "result_0.txt", MLPERF_V06), read_mlperf),
    "mlperf v0.6 dated": (lambda root: write(root / "result_0.txt", MLPERF_DATED), read_mlperf),
    "mlperf v0.7": (lambda root: write(root / "result_0.txt.gz", MLPERF_V07), read_mlperf),
    "speedrun": (lambda root: write(root / "log.txt", SPEEDRUN), read_speedrun),
    "tensorboard": (
        lambda root: write(root / "events.out.tfevents.1", TENSORBOARD),
        lambda root: read_tensorboard(root, target=LOSS),
    ),
    "wandb": (lambda root: write(root / "chart.csv", WANDB_CHART), lambda root: read_wandb(root, target=LOSS)),
}
