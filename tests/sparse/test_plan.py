import warnings

import numpy as np
import pytest
from conftest import touches_of

from etesian.sparse import ScheduleWarning, make_plan


def plan(schedule, touches, n_workers=2, **options):
    return make_plan(schedule, touches, n_workers=n_workers, rng=np.random.default_rng(0), **options)


def independent(n):
    return touches_of([{v} for v in range(n)], n)


def test_one_giant_component_falls_back_to_serial_and_says_so():
    star = touches_of([{0, v} for v in range(1, 500)], 500)
    with pytest.warns(ScheduleWarning, match="largest component holds 100%") as caught:
        made = plan("conflict_free", star)
    assert caught[0].filename == __file__  # the caller's line, not one of ours
    assert made.schedule == "serial"
    assert made.n_workers == 1
    assert "predicted speed-up" in made.note
    assert made.note in str(made)


@pytest.mark.parametrize(("n_updates", "n_warnings"), [(9_999, 1), (10_000, 3)])
def test_small_data_warns_once_per_process(n_updates, n_warnings):
    star = touches_of([{0}] * n_updates, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for schedule in ("conflict_free", "levels", "conflict_free"):
            plan(schedule, star)
    assert [each.category for each in caught] == [ScheduleWarning] * n_warnings


def test_every_schedule_samples_the_same_order():
    touches = independent(1_000)
    serial, free, batch = plan("serial", touches), plan("lock_free", touches), plan("conflict_free", touches)
    assert (serial.order == free.order).all()
    for number, updates in enumerate(batch.batches()):
        sampled = serial.order[number * batch.batch_size : (number + 1) * batch.batch_size]
        assert set(np.concatenate(updates)) == set(sampled)


def test_batch_size_that_is_given_is_taken():
    assert plan("conflict_free", independent(100), batch_size=7).offsets.shape == (15, 3)


def test_more_workers_than_components_leaves_some_idle():
    made = plan("conflict_free", touches_of([{0}, {0}, {1}], 2), n_workers=7, batch_size=3)
    (batch,) = made.batches()
    assert [len(updates) for updates in batch] == [2, 1, 0, 0, 0, 0, 0]
    assert made.predicted_speedup == pytest.approx(1.5)


def test_one_worker_needs_no_plan_and_no_warning():
    star = touches_of([{0, v} for v in range(1, 50)], 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plan("conflict_free", star, n_workers=1).schedule == "serial"


def test_update_that_touches_nothing_conflicts_with_nothing():
    made = plan("conflict_free", touches_of([set(), {0}, set(), {0}], 1), batch_size=4)
    assert sorted(made.order) == [0, 1, 2, 3]
    assert np.diff(made.offsets).tolist() == [[2, 2]]


def test_only_lock_free_plans_of_several_workers_are_not_reproducible():
    touches = independent(1_000)
    assert plan("conflict_free", touches).is_reproducible
    assert plan("lock_free", touches, n_workers=1).is_reproducible
    assert not plan("lock_free", touches).is_reproducible


def test_auto_runs_serially_without_a_warning():
    star = touches_of([{0, v} for v in range(1, 500)], 500)
    made = plan("auto", star)
    assert made.schedule == "serial"
    assert made.note.startswith("auto: predicted speed-up 0.9")


def test_auto_chooses_the_best_predicted_plan():
    rng = np.random.default_rng(0)
    hubs = [
        {int(30 * rng.random() ** 3), 30 + v} for v in range(4_000)
    ]  # within a batch, hubs hold everything together
    touches = touches_of(hubs, 4_030)
    by_name = {name: plan(name, touches, n_workers=7) for name in ("conflict_free", "levels", "auto")}
    assert by_name["auto"].schedule in {"conflict_free", "levels"}
    assert (by_name["auto"].order == by_name[by_name["auto"].schedule].order).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"schedule": "hogwild"},
            "schedule must be 'auto', 'blocked', 'conflict_free', 'levels', 'lock_free', 'merged', 'serial'; got 'hogwild'",
        ),
        ({"n_workers": 0}, "n_workers must be at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"n_blocks": 0}, "n_blocks must be from 1 to 32768; got 0"),
        ({"touches": touches_of([], 3)}, "nothing to plan"),
    ],
)
def test_bad_plans_are_refused(options, message):
    asked = {"schedule": "conflict_free", "touches": independent(5)} | options
    with pytest.raises(ValueError, match=message):
        plan(**asked)
