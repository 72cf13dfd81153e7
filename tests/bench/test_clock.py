"""The stopwatch adds up its blocks and nothing else."""

from __future__ import annotations

import pytest
from bench_fakes import FakeClock

from etesian.bench.clock import Stopwatch


def test_only_the_blocks_count(clock: FakeClock) -> None:
    stopwatch = Stopwatch(clock)
    clock.sleep(50)
    for seconds in (1, 2):
        with stopwatch:
            clock.sleep(seconds)
        clock.sleep(50)
    assert stopwatch.seconds == 3


def test_block_that_an_error_ends_counts(clock: FakeClock) -> None:
    stopwatch = Stopwatch(clock)
    with pytest.raises(RuntimeError), stopwatch:
        raise RuntimeError(clock.sleep(4))
    assert stopwatch.seconds == 4


def test_real_clock_never_goes_back() -> None:
    stopwatch = Stopwatch()
    with stopwatch:
        pass
    assert stopwatch.seconds >= 0
