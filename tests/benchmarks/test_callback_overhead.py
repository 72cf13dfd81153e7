"""The benchmark of the callbacks runs at toy size, and they cost less than half a percent."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")


def test_callbacks_cost_less_than_half_a_percent() -> None:
    import callback_overhead

    shares = callback_overhead.main(steps=10)
    assert len(shares) == 2
    assert all(0 < share < 0.005 for share in shares.values())
