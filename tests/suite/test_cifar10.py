"""CIFAR-10's binary files are read as its page describes them, and anything else is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etesian.bench import InputError, check_workload
from etesian.suite import cifar10 as module
from etesian.suite.cifar10 import cifar10, read_cifar10
from etesian.suite.images import ImageTask
from etesian.suite.trainings import Recipe, Training


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five files of 40 images and one of 30, of random bytes; labels 0 to 9 in turn."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "N_VALIDATION", 50)
    for name, n in [*((f"data_batch_{k}.bin", 40) for k in range(1, 6)), ("test_batch.bin", 30)]:
        pixels = rng.integers(256, size=(n, 3072), dtype=np.uint8)
        labels = (np.arange(n, dtype=np.uint8) % 10)[:, None]
        (tmp_path / name).write_bytes(np.concatenate([labels, pixels], axis=1).tobytes())
    return tmp_path


def test_pixels_are_red_green_blue_row_by_row(folder: Path) -> None:
    data = read_cifar10(folder)
    raw = np.frombuffer((folder / "data_batch_1.bin").read_bytes(), np.uint8)
    record = raw[3073 * 7 : 3073 * 8]
    values = record[1:].reshape(3, 32, 32) / 255
    scaled = data.train.images[7]
    assert data.train.labels[7] == record[0] == 7
    for channel in range(3):  # scaled channel by channel, so a line through the raw values
        slope, offset = np.polyfit(values[channel].ravel(), scaled[channel].ravel(), 1)
        assert slope > 1
        assert np.allclose(slope * values[channel] + offset, scaled[channel], atol=1e-5)


def test_training_images_have_mean_0_and_spread_1_and_the_parts_are_apart(folder: Path) -> None:
    data = read_cifar10(folder)
    assert [len(part.labels) for part in (data.train, data.validation, data.fresh)] == [150, 50, 30]
    assert np.allclose(data.train.images.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    assert np.allclose(data.train.images.std(axis=(0, 2, 3)), 1, atol=1e-4)
    rows = {image.tobytes() for part in (data.train, data.validation, data.fresh) for image in part.images}
    assert len(rows) == 230


def test_training_on_the_folder_keeps_the_contract(folder: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    names = [workload.name for workload in cifar10(folder).workloads]
    assert names == ["baseline", "large_batch", "bfloat16", "one_cycle", "shifts", "early_exit"]
    task = ImageTask(lambda: read_cifar10(folder), widths=(2, 4), shift=4)
    assert check_workload(Training("toy", task, Recipe(batch_size=16), examples_per_slice=32), slices=1) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            None,
            r"file .*data_batch_3.bin does not exist; the folder must contain the binary version of CIFAR-10",
        ),
        (b"", r"data_batch_3.bin must contain images of 3073 bytes, at most 100,000 of them; it has 0 bytes"),
        (b"\0" * 3074, r"data_batch_3.bin must contain images of 3073 bytes.*it has 3074 bytes"),
        (b"\0" * 3073 + b"\x0a" + b"\0" * 3072, r"labels of .*data_batch_3.bin must be 0 to 9; image 1 has 10"),
    ],
    ids=["missing", "empty", "cut", "label"],
)
def test_what_is_not_cifar10_is_refused(folder: Path, content: bytes | None, complaint: str) -> None:
    file = folder / "data_batch_3.bin"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_cifar10(folder)


def test_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.delenv("ETESIAN_CIFAR10", raising=False)
    with pytest.raises(InputError, match="set ETESIAN_CIFAR10=FOLDER"):
        cifar10()
