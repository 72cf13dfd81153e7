"""The benchmark of the callbacks runs at toy size, and their hooks take less than half a percent of training."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("transformers")


def test_hooks_take_less_than_half_a_percent() -> None:
    import callback_overhead

    found = callback_overhead.main(["--hooks"])
    assert len(found) == 2
    assert all(0 < each["share"] < 0.005 for each in found.values())


class Callback:
    def on_train_end(self) -> None:
        time.sleep(0.02)


def test_pairs_alternate_and_hooks_are_timed() -> None:
    import callback_overhead

    trained: list[bool] = []

    def train(callbacks: list[Callback]) -> None:
        trained.append(bool(callbacks))
        for callback in callbacks:
            callback.on_train_end()

    times = callback_overhead.paired_times(train, lambda seed: Callback(), 2)
    assert trained[2:] == [False, True, True, False]
    assert (len(times.with_callback), len(times.without)) == (2, 2)
    assert all(0.02 <= hooks <= whole for hooks, whole in zip(times.in_hooks, times.with_callback, strict=True))
