from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.models.table import TableModel
from etesian.decode.speculation import costs as costs_module
from etesian.decode.speculation.costs import PassCosts, cache_folder, cached_pass_costs, measure_pass_costs


class Clock:
    """Passes take what `seconds_of` says, and nothing else takes time."""

    def __init__(self, monkeypatch, seconds_of):
        self.now, self.seconds_of, self.passes = 0.0, seconds_of, []
        monkeypatch.setattr(costs_module.time, "perf_counter", lambda: self.now)

    def model(self, **options):
        def logits_of(tokens):
            return np.zeros(8, np.float32)

        model = TableModel.from_function(logits_of, 8, **options)
        opened = model.context

        def context():
            inner = opened()
            score = inner.score

            def timed(tokens, parents):
                self.now += self.seconds_of(len(tokens))
                self.passes.append((inner.length, list(parents)))
                return score(tokens, parents)

            inner.score = timed
            return inner

        model.context = context
        return model


def test_costs_between_measured_ones_are_interpolated_and_beyond_them_in_proportion():
    costs = PassCosts([1, 4, 16], [1.0, 1.6, 4.0])
    assert [costs.seconds(n) for n in (1, 2, 4, 10, 16, 32)] == pytest.approx([1.0, 1.2, 1.6, 2.8, 4.0, 8.0])


def test_more_rows_are_never_taken_to_cost_less():
    assert PassCosts([1, 2, 4], [2.0, 1.0, 3.0]).seconds(2) == 2.0


@pytest.mark.parametrize(
    ("rows", "seconds", "complaint"),
    [([], [], "must have the same length"), ([1, 2], [1.0], "must have the same length"), ([2, 1], [1.0, 1.0], "ascend"),
     ([0], [1.0], "ascend"), ([1], [0.0], "above 0"), ([1], [float("nan")], "above 0")],
)  # fmt: skip
def test_what_are_no_costs_is_refused(rows, seconds, complaint):
    with pytest.raises(ValueError, match=complaint):
        PassCosts(rows, seconds)


def test_measured_costs_are_those_of_the_passes(monkeypatch):
    clock = Clock(monkeypatch, lambda n_rows: 1.0 + 0.1 * n_rows)
    costs = measure_pass_costs(clock.model(), length=10, rounds=3)
    assert [costs.seconds(n) for n in (1, 3, 64)] == pytest.approx([1.1, 1.3, 7.4])
    assert {length for length, _ in clock.passes} == {10}
    assert [len(parents) for _, parents in clock.passes[:8]] == [1, 2, 4, 8, 16, 32, 64, 1]  # in turn


def test_a_pass_that_was_disturbed_does_not_count(monkeypatch):
    seconds = iter([0.001, 0.001, 0.001, 0.001, 0.05, 0.001] * 7)
    clock = Clock(monkeypatch, lambda _: next(seconds))
    assert measure_pass_costs(clock.model(), rounds=5).seconds(1) == pytest.approx(0.001)
    assert len(clock.passes) == 6 * 7


def test_slow_passes_are_measured_once(monkeypatch):
    clock = Clock(monkeypatch, lambda n_rows: 0.1 * n_rows)
    assert measure_pass_costs(clock.model(), rounds=5).seconds(8) == pytest.approx(0.8)
    assert len(clock.passes) == 2 * 7


def test_a_model_of_short_texts_is_measured_as_far_as_it_reads(monkeypatch):
    clock = Clock(monkeypatch, float)
    measure_pass_costs(clock.model(max_length=20), rounds=1)
    assert max(len(parents) for _, parents in clock.passes) == 16
    assert {length for length, _ in clock.passes} == {4}


def test_a_model_without_trees_is_measured_with_chains(monkeypatch):
    clock = Clock(monkeypatch, float)
    model = clock.model()
    model.supports_trees = False
    measure_pass_costs(model, rounds=1)
    assert all(parents == list(range(-1, len(parents) - 1)) for _, parents in clock.passes)


@given(factor=st.floats(0.3, 4.0), n_rows=st.integers(1, 64))
def test_costs_follow_a_machine_that_changes_its_speed_and_keep_their_shape(factor, n_rows):
    costs = PassCosts([1, 8, 64], [1.0, 1.2, 3.0])
    shape = costs.seconds(64) / costs.seconds(1)
    slower = factor * costs.seconds(n_rows)
    for _ in range(100):
        costs.observe(n_rows, slower)
    assert costs.seconds(n_rows) == pytest.approx(slower, rel=0.01)
    assert costs.seconds(64) / costs.seconds(1) == pytest.approx(shape, rel=0.4)


def test_a_curve_that_was_measured_wrong_is_bent_by_what_is_observed():
    costs = PassCosts([1, 16, 64], [1.0, 1.0, 1.0])
    for _ in range(200):
        costs.observe(1, 1.0)
        costs.observe(16, 2.0)
    assert costs.seconds(16) / costs.seconds(1) == pytest.approx(2.0, rel=0.05)


def test_one_slow_pass_changes_little():
    costs = PassCosts([1, 16], [1.0, 1.5])
    costs.observe(1, 1000.0)
    assert costs.seconds(1) < 2 ** (costs_module.DRIFT + costs_module.BEND) + 1e-9


def test_unmeasured_costs_are_nothing_until_the_first_pass():
    costs = PassCosts.unmeasured()
    assert costs.seconds(5) == 0.0
    costs.observe(3, 0.25)
    assert costs.seconds(1) == costs.seconds(3) == pytest.approx(0.25)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """A folder for kept costs, and a model with a fingerprint whose passes are counted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    clock = Clock(monkeypatch, lambda n_rows: 1.0 + n_rows)
    clock.named = clock.model()
    clock.named.fingerprint = "a model"
    return clock


def test_costs_are_measured_once_for_a_model_and_machine(kept, monkeypatch):
    first = cached_pass_costs(kept.named)
    n_passes = len(kept.passes)
    again = cached_pass_costs(kept.named)
    assert len(kept.passes) == n_passes > 0
    assert [again.seconds(n) for n in (1, 7, 64)] == [first.seconds(n) for n in (1, 7, 64)]
    kept.named.fingerprint = "another"
    cached_pass_costs(kept.named)
    assert len(kept.passes) == 2 * n_passes
    monkeypatch.setattr(costs_module, "_processor", lambda: "another")
    cached_pass_costs(kept.named)
    assert len(kept.passes) == 3 * n_passes


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "rows": [1], "seconds": ["x"]}',
     '{"format": 1, "rows": [1], "seconds": [-1.0]}', '{"format": 2, "rows": [1], "seconds": [1.0]}',
     '{"format": 1, "rows": [1e999], "seconds": [1.0]}', "\x00\xff"],
)  # fmt: skip
def test_a_corrupt_file_means_measuring_again(kept, content):
    cached_pass_costs(kept.named)
    (file,) = (cache_folder() / "pass_costs").iterdir()
    file.write_text(content, encoding="latin-1")
    n_passes = len(kept.passes)
    assert cached_pass_costs(kept.named).seconds(3) == pytest.approx(4.0)
    assert len(kept.passes) == 2 * n_passes
    assert json.loads(file.read_text())["format"] == 1


def test_a_model_without_a_fingerprint_is_measured_and_not_kept(kept):
    del kept.named.fingerprint
    cached_pass_costs(kept.named)
    assert not cache_folder().exists()


def test_a_folder_that_cannot_be_written_to_is_no_error(kept, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached_pass_costs(kept.named).seconds(1) == pytest.approx(2.0)


def test_a_cache_folder_that_is_not_absolute_is_not_used(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().parts[-2:] == (".cache", "etesian")


def test_a_slow_first_pass_is_soon_forgotten():
    costs = PassCosts.unmeasured()
    costs.observe(1, 50.0)  # compilation
    for _ in range(15):
        costs.observe(1, 1.0)
    assert costs.seconds(1) < 2.0


@pytest.mark.parametrize(("factor", "is_kept"), [(1.0, True), (0.3, False), (4.0, False)])
def test_kept_costs_are_measured_again_after_passes_disagreed_with_them(kept, factor, is_kept):
    costs = cached_pass_costs(kept.named)
    measured = costs.seconds(1)
    for _ in range(100):
        costs.observe(1, factor * measured)
    files = list((cache_folder() / "pass_costs").iterdir())
    assert bool(files) == is_kept
