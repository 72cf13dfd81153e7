"""A page keeps few of very many measurements, including those that decide times."""

import numpy as np
import pytest
from made_runs import suite_runs

from etesian.bench import analyze
from etesian.bench.report import embed
from etesian.bench.report.embed import embed_race, points_per_run


def embedded(monkeypatch, most_points, rule="first_passage"):
    monkeypatch.setattr(embed, "MOST_POINTS", most_points)
    analysis = analyze(suite_runs(), rule=rule)
    most = points_per_run(analysis.races)
    return analysis.races[0], most, embed_race(analysis.races[0], rule=rule, most=most)


def test_all_measurements_are_held_where_there_is_room(monkeypatch):
    race, most, held = embedded(monkeypatch, 10_000)
    assert most is None
    assert sum(len(run[5]) for run in held["runs"]) == sum(entry.curves.lengths.sum() for entry in race.race.entries)


def test_what_short_runs_leave_goes_to_long_ones(monkeypatch):
    race, most, held = embedded(monkeypatch, 300)
    lengths = np.concatenate([entry.curves.lengths for entry in race.race.entries])
    counts = [len(run[5]) for run in held["runs"]]
    assert most > 300 // len(lengths)
    assert counts == np.minimum(lengths, most).tolist()
    assert 300 - len(lengths) < sum(counts) <= 300


@pytest.mark.parametrize("rule", ["first_passage", "stays_above"])
def test_times_to_the_target_survive_thinning(monkeypatch, rule):
    race, most, held = embedded(monkeypatch, 200, rule)
    assert max(len(run[5]) for run in held["runs"]) == most < 12
    runs = iter(held["runs"])
    for entry in race.race.entries:
        passage = entry.curves.passage(race.race.target.threshold, rule)
        for arrived, before, after in zip(passage.arrived, passage.before, passage.after, strict=True):
            seconds = next(runs)[5]
            if arrived:
                assert min(abs(each - after) for each in seconds) < 1e-4
                assert min(abs(each - before) for each in seconds) < 1e-4


def test_six_digits_never_move_a_value_across_the_target():
    analysis = analyze(suite_runs())
    target = analysis.races[0].race.target
    close = np.nextafter(target.threshold, 0.0)
    assert embed._on_its_side(close, target) == close < target.threshold
    assert embed._on_its_side(0.123456789, target) == 0.123457
    assert embed._on_its_side(float("nan"), target) is None
