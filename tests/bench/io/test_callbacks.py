"""Callbacks on the real libraries at toy size: evaluation is off the clock, and the run that was trained is stored."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from import_cases import write

from etesian.bench import InputError, Run, Store, UnknownMetricError, machine
from etesian.bench.io import importer, read_csv
from etesian.bench.io.callbacks._recorder import RunRecorder

SLOW_EVALUATION = 0.3  # seconds

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own warnings


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class WallClock:
    """The real clock; remembers the time between its first and its last reading."""

    def __init__(self) -> None:
        self.readings: list[float] = []

    def __call__(self) -> float:
        self.readings.append(time.perf_counter())
        return self.readings[-1]

    @property
    def seconds(self) -> float:
        return self.readings[-1] - self.readings[0]


def stored(path: Path) -> Run:
    with Store(path, create=False) as store:
        (entry,) = store.entries()
    return entry.run


def check_run(run: Run, metric: str, wall_seconds: float) -> None:
    """Three evaluations of SLOW_EVALUATION each lie within the wall time and off the clock."""
    assert run.outcome == "exhausted"  # no loss is negative
    assert run.points[-1].seconds <= wall_seconds - 3 * SLOW_EVALUATION
    assert all(metric in point.metrics for point in run.points)
    times = [point.seconds for point in run.points]
    assert times == sorted(times)
    assert len(times) == 3


def test_clock_pauses_for_evaluation(tmp_path: Path) -> None:
    clock = FakeClock()
    recorder = RunRecorder("loss<=1", store=tmp_path / "s.db", workload="a", clock=clock, stop_at_target=True)
    recorder.start()
    for step, loss in [(1, 3.0), (2, 0.5)]:
        clock.now += 10  # work
        recorder.pause()
        clock.now += 1000  # evaluation
        assert recorder.record(step, {"loss": loss, "note": "text"}) == (loss <= 1)
        recorder.resume()
    recorder.finish()
    run = stored(tmp_path / "s.db")
    assert [(point.slices, point.seconds) for point in run.points] == [(1, 10.0), (2, 20.0)]
    assert (run.outcome, run.seconds) == ("reached", 20.0)


def test_machine_is_described_when_training_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, is_described = {"git_commit": "at the start"}, threading.Event()

    def describe() -> dict[str, Any]:
        described = dict(state)
        is_described.set()
        return described

    monkeypatch.setattr(machine, "describe", describe)
    recorder = RunRecorder("loss<=1", store=tmp_path / "s.db", workload="a")
    recorder.start()
    assert is_described.wait(timeout=30)
    state["git_commit"] = "of an edit during training"
    recorder.record(1, {"loss": 0.5})
    recorder.finish()
    assert stored(tmp_path / "s.db").machine["git_commit"] == "at the start"


def test_store_that_cannot_be_used_is_an_error_before_training_ends(tmp_path: Path) -> None:
    recorder = RunRecorder("loss<=1", store=tmp_path / "missing" / "s.db", workload="a")
    recorder.start()
    assert recorder._prepared is not None
    recorder._prepared.exception(timeout=30)
    with pytest.raises(InputError, match="the store's folder must exist"):
        recorder.record(1, {"loss": 0.5})


def test_error_makes_a_failed_run_and_missing_metric_is_named(tmp_path: Path) -> None:
    recorder = RunRecorder("loss<=1", store=tmp_path / "s.db", workload="a")
    recorder.start()
    with pytest.raises(UnknownMetricError, match="'loss' was not measured; the metrics are acc"):
        recorder.record(1, {"acc": 0.5})
    recorder.finish(RuntimeError("out of memory"))
    run = stored(tmp_path / "s.db")
    assert (run.outcome, run.error) == ("failed", "RuntimeError: out of memory")


def test_hf_trainer(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from etesian.bench.io.callbacks import HFTrainerCallback

    wall = WallClock()

    class Toy(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
            if not self.training:
                time.sleep(SLOW_EVALUATION)  # one batch per evaluation
            return {"loss": ((self.layer(x)[:, 0] - labels) ** 2).mean(), "logits": self.layer(x)}

    rows = [{"x": torch.tensor([float(k), 1.0]), "labels": torch.tensor(float(k))} for k in range(8)]
    options = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "eval_strategy": "epoch"}
    arguments = transformers.TrainingArguments(str(tmp_path), num_train_epochs=3, seed=0, **options)
    trainer = transformers.Trainer(Toy(), arguments, train_dataset=rows, eval_dataset=rows)
    trainer.add_callback(HFTrainerCallback("eval_loss<=-1", store=tmp_path / "s.db", workload="toy", clock=wall))
    trainer.train()
    check_run(stored(tmp_path / "s.db"), "eval_loss", wall.seconds)


def test_lightning(tmp_path: Path) -> None:
    torch, lightning = pytest.importorskip("torch"), pytest.importorskip("lightning.pytorch")
    from etesian.bench.io.callbacks import LightningCallback

    wall = WallClock()

    class Toy(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, index: int) -> None:
            time.sleep(SLOW_EVALUATION)
            self.log("val_loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    loader = torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=8)
    callback = LightningCallback("val_loss<=-1", store=tmp_path / "s.db", workload="toy", clock=wall)
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=[callback], **off)
    trainer.fit(Toy(), loader, loader)
    run = stored(tmp_path / "s.db")
    check_run(run, "val_loss", wall.seconds)
    assert [point.slices for point in run.points] == [1, 2, 3]


def test_keras(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    from etesian.bench.io.callbacks import KerasCallback

    wall = WallClock()

    class SlowValidation(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            time.sleep(SLOW_EVALUATION)

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x, y = np.ones((8, 2)), np.ones(8)
    callback = KerasCallback("val_loss<=-1", store=tmp_path / "s.db", workload="toy", clock=wall)
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, "validation_data": (x, y)}
    model.fit(x, y, callbacks=[SlowValidation(), callback], **options)
    run = stored(tmp_path / "s.db")
    check_run(run, "val_loss", wall.seconds)
    assert [point.slices for point in run.points] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "file", "callback"),
    [
        ("hf-trainer", "checkpoint-5/trainer_state.json", "HFTrainerCallback"),
        ("lightning", "version_0/metrics.csv", "LightningCallback"),
        ("keras", "history.csv", "KerasCallback"),
    ],
)
def test_logs_without_times_are_refused_with_the_remedy(name: str, file: str, callback: str, tmp_path: Path) -> None:
    write(tmp_path / file, "{}")
    (skipped,) = importer(name)(tmp_path)
    assert re.match("holds (steps|epochs) and no times", skipped.reason)
    assert callback in skipped.reason


def test_table_without_times_names_the_callbacks(tmp_path: Path) -> None:
    (skipped,) = read_csv(write(tmp_path / "metrics.csv", "epoch,step,val_loss\n0,10,0.5\n"))
    assert "hold no times; their callbacks in etesian.bench.io.callbacks record them" in skipped.reason  # type: ignore[union-attr]
