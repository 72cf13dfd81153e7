"""The stopwatch adds up its blocks and nothing else."""

import itertools

import pytest

from etesian._shared.stopwatch import Stopwatch


def test_only_the_blocks_count():
    stopwatch = Stopwatch(iter([50, 51, 101, 103]).__next__)  # blocks of 1 and 2 seconds
    for seconds in (1, 2):
        with stopwatch:
            pass
        assert stopwatch.latest == seconds
    assert stopwatch.seconds == 3


def test_block_that_an_error_ends_counts():
    stopwatch = Stopwatch(itertools.count(10, 4).__next__)
    with pytest.raises(RuntimeError), stopwatch:
        raise RuntimeError
    assert stopwatch.seconds == 4


def test_real_clock_never_goes_back():
    stopwatch = Stopwatch()
    with stopwatch:
        pass
    assert stopwatch.seconds >= 0
