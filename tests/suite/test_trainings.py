"""Trainings keep the contract, take their chance from the seed alone, and change only what their recipe says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from etesian.bench import InputError, Suite, Target, check_workload, load_suite, run  # noqa: E402
from etesian.suite.digits import digits, load_digit_images  # noqa: E402
from etesian.suite.images import ImageTask, answer, shift_images  # noqa: E402
from etesian.suite.trainings import Recipe, Training  # noqa: E402

NEVER = Target("accuracy", 2.0)


def training(name: str = "toy", *, shift: int = 0, exit_confidence: float | None = None, **recipe: object) -> Training:
    task = ImageTask(load_digit_images, widths=(4, 8), shift=shift, exit_confidence=exit_confidence)
    return Training(name, task, Recipe(**recipe), examples_per_slice=256)


def accuracies(workload: Training, seed: int = 0) -> list[float]:
    return [point.metrics["accuracy"] for point in run(workload, NEVER, seed=seed).points]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "bfloat16"},
        {"schedule": "one_cycle"},
        {"shift": 1},
        {"exit_confidence": 0.5},
        {"optimizer": "adam"},
    ],
    ids=str,
)
def test_trainings_keep_the_contract(options: dict[str, object]) -> None:
    assert check_workload(training(**options), slices=2) == []


def test_seed_alone_decides() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = accuracies(training(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert accuracies(training(epochs=1)) == first
    assert accuracies(training(epochs=1), seed=1) != first


@pytest.mark.parametrize(
    "change", [{"precision": "bfloat16"}, {"shift": 1}, {"exit_confidence": 0.3}, {"batch_size": 64}], ids=str
)
def test_every_change_changes_what_is_computed(change: dict[str, object]) -> None:
    def weights(workload: Training) -> torch.Tensor:
        workload.prepare(0)
        workload.advance()
        return next(iter(workload._network.parameters()))

    assert not torch.equal(weights(training()), weights(training(**change)))


def test_run_ends_after_its_epochs_and_looks_at_fresh_data_once() -> None:
    ended = run(training(epochs=2), NEVER)
    assert (ended.outcome, ended.points[-1].slices) == ("exhausted", 2 * 1024 / 256)
    assert ended.units == {"examples": 256.0}
    assert [name for point in ended.points[:-1] for name in point.metrics] == ["accuracy"] * 8
    correct = ended.details["correct"]["fresh_accuracy"]
    assert len(correct) == 1797 - 1024 - 384
    assert ended.points[-1].metrics["fresh_accuracy"] == pytest.approx(np.mean(correct))


def test_every_example_is_seen_once_an_epoch() -> None:
    workload = training(batch_size=256)
    workload.prepare(3)
    seen = torch.cat([workload._next_rows() for _ in range(8)])
    assert seen[:1024].sort().values.tolist() == seen[1024:].sort().values.tolist() == list(range(1024))
    assert not torch.equal(seen[:1024], seen[1024:])


def test_one_cycle_rises_to_its_peak_and_falls_to_zero() -> None:
    recipe = Recipe(schedule="one_cycle", learning_rate=0.5)
    rates = [recipe.learning_rate_at(share) for share in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[30] == 0.5  # after 30 % of the steps
    assert rates[65] == pytest.approx(0.25)  # half way down
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert np.all(np.diff(rates[:31]) > 0)
    assert np.all(np.diff(rates[30:]) < 0)


def test_parts_share_no_image_and_are_the_same_in_every_run() -> None:
    data, again = load_digit_images(), load_digit_images()
    parts = [data.train, data.validation, data.fresh]
    rows = [image.tobytes() for part in parts for image in part.images]
    assert len(rows) == 1797
    assert len(set(rows)) == 1797
    assert np.array_equal(data.fresh.images, again.fresh.images)
    assert [len(np.unique(part.labels)) for part in parts] == [10, 10, 10]


def test_shifted_image_is_the_image_moved() -> None:
    images = torch.arange(2 * 2 * 5 * 6, dtype=torch.float32).reshape(2, 2, 5, 6)
    chance = torch.Generator().manual_seed(0)
    down, right = torch.randint(-1, 2, (2, 2, 1), generator=torch.Generator().manual_seed(0))[..., 0].tolist()
    moved = shift_images(images, 1, chance)
    assert moved.shape == images.shape
    assert (down, right) != ([0, 0], [0, 0])
    for number in range(2):
        expected = torch.roll(images[number], (down[number], right[number]), dims=(1, 2))
        assert torch.equal(moved[number, :, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_early_exit_is_used_only_with_certainty() -> None:
    workload = training(exit_confidence=0.6)
    workload.prepare(0)
    for _ in range(24):
        workload.advance()
    images = torch.from_numpy(load_digit_images().fresh.images)
    with torch.no_grad():
        early, is_hard, late = workload._network(images)
        answers = answer(workload._network, images, batch_size=100)
        sure = early.softmax(dim=1).amax(dim=1) >= 0.6
    assert torch.equal(is_hard, ~sure)
    assert 0 < is_hard.sum() < len(images)
    assert torch.equal(answers[sure], early[sure].argmax(dim=1))
    assert torch.equal(answers[is_hard], late.argmax(dim=1))


def test_slice_that_is_no_whole_number_of_batches_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a multiple of the batch size 48; got 256"):
        training(batch_size=48)


def test_plain_training_learns_digits() -> None:
    (baseline, *_) = digits().workloads
    assert run(baseline, Target("accuracy", 0.9), seed=0).outcome == "reached"


def test_missing_torch_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(InputError, match=r"^this suite trains with PyTorch.*pip install 'etesian\[suite\]'$"):
        digits()


def test_importing_suites_imports_no_torch() -> None:
    code = (
        "import sys, etesian.suite.digits, etesian.suite.text, etesian.suite.cifar10; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_entry_point_of_the_package_makes_its_suite() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    offered = project["entry-points"]["etesian.workloads"]
    assert {"words", "ratings", "mesh", "digits", "text"} <= offered.keys()
    for name in ("ratings", "mesh", "digits", "text"):
        module, function = offered[name].split(":")
        suite = getattr(import_module(module), function)()
        assert isinstance(suite, Suite)
        assert suite.name == name


def test_error_with_a_remedy_is_passed_on_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "refusing.py"
    file.write_text("from etesian.bench import InputError\ndef suite():\n    raise InputError('install it')\n")
    with pytest.raises(InputError, match=r"^install it$"):
        load_suite(str(file))
