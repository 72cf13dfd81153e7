"""The language model reads what it says it reads: windows of topics that are in one part only, scored byte by byte."""

from __future__ import annotations

import math
from pydoc_data.topics import topics

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from etesian.bench import check_workload  # noqa: E402
from etesian.suite import text as module  # noqa: E402
from etesian.suite.text import CONTEXT, TARGET, TextTask, read_parts, text  # noqa: E402
from etesian.suite.trainings import Recipe, Training  # noqa: E402


def test_every_topic_is_whole_in_one_part() -> None:
    parts = {name: array.tobytes() for name, array in read_parts().items()}
    assert sum(map(len, parts.values())) == sum(len(each.encode()) for each in topics.values())
    for each in topics.values():
        if len(each) > 1_000:  # short ones may be quoted elsewhere
            assert [each.encode() in part for part in parts.values()].count(True) == 1
    assert min(map(len, parts.values())) > 20_000


@pytest.mark.parametrize("context", [CONTEXT, 8])
def test_training_keeps_the_contract(context: int) -> None:
    task = TextTask(context=context, width=8)
    recipe = Recipe(batch_size=8, optimizer="adam", learning_rate=0.01)
    assert check_workload(Training("toy", task, recipe, examples_per_slice=16), slices=2) == []


def test_loss_is_the_cross_entropy_of_the_next_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.frombuffer(b"ab" * 100, np.uint8)  # a periodic text, which a model can memorize
    monkeypatch.setattr(module, "read_parts", lambda: dict.fromkeys(("train", "validation", "fresh"), source))
    task = TextTask()
    assert task.load(torch.device("cpu")) == 199 // CONTEXT

    def knows(read: torch.Tensor) -> torch.Tensor:
        """Gives the byte that follows 3 times the weight of each other one."""
        follows = torch.where(read == ord("a"), ord("b"), ord("a"))
        return math.log(3) * torch.nn.functional.one_hot(follows, 256).float()

    expected = -math.log(3 / (3 + 255))
    losses = task.score(knows, "validation")["loss"]
    assert torch.allclose(losses, torch.full_like(losses, expected))
    rows = torch.tensor([0, 5])
    assert task.loss(knows, rows, torch.Generator()).item() == pytest.approx(expected)


def test_short_examples_begin_anywhere_in_their_window(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.arange(CONTEXT * 4 + 1, dtype=np.uint8)  # each byte is its position
    monkeypatch.setattr(module, "read_parts", lambda: dict.fromkeys(("train", "validation", "fresh"), source))
    task, seen = TextTask(context=8), []
    task.load(torch.device("cpu"))

    def look(read: torch.Tensor) -> torch.Tensor:
        seen.append(read)
        return torch.zeros(*read.shape, 256)

    rows = torch.ones(300, dtype=torch.int64)
    assert task.loss(look, rows, torch.Generator().manual_seed(0)).item() == pytest.approx(math.log(256))
    starts = seen[0][:, 0]
    assert seen[0].shape == (300, 8)
    assert set(starts.tolist()) == set(range(CONTEXT, 2 * CONTEXT - 8 + 1))


def test_suite_races_towards_less_than_the_frequencies_of_bytes_give() -> None:
    assert [workload.name for workload in text().workloads] == [
        "baseline", "large_batch", "bfloat16", "one_cycle", "short_context", "early_stopping"
    ]  # fmt: skip
    counts = np.bincount(read_parts()["train"], minlength=256)
    shares = counts[counts > 0] / counts.sum()
    assert TARGET.threshold < -(shares * np.log(shares)).sum()


def test_context_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"context must be 1 to 32; got 33"):
        TextTask(context=33)
