"""The benchmark of the callbacks runs at toy size, and their hooks take less than half a percent of training."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")


def test_hooks_take_less_than_half_a_percent() -> None:
    import callback_overhead

    found = callback_overhead.main(["--hooks"])
    assert len(found) == 2
    assert all(0 < each["share"] < 0.005 for each in found.values())


def test_pairs_alternate_and_each_has_one_training_with_the_callback() -> None:
    import callback_overhead

    trained: list[bool] = []
    given, plain = callback_overhead.paired_times(lambda callbacks: trained.append(bool(callbacks)), str, 2)
    assert trained[2:] == [False, True, True, False]
    assert (len(given), len(plain)) == (2, 2)
