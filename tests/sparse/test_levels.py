from itertools import pairwise

import numpy as np
import pytest
from conftest import WORKERS, Mixing, conflict_graphs, touches_of
from hypothesis import given
from hypothesis import strategies as st

from etesian.sparse import ScheduleWarning, Workers, make_plan
from etesian.sparse.schedules.conflicts import BARRIER_UPDATES, as_touches
from etesian.sparse.schedules.levels import best_capacity, levels_of, measure_capacity, sort_into_levels


def ratings_of(n, n_users, n_items, power, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n_users, n), (n_items * rng.random(n) ** power).astype(int)
    return touches_of([{int(u), n_users + int(i)} for u, i in zip(user, item, strict=True)], n_users + n_items)


def test_levels_worked_by_hand():
    # 0: {0,1} level 0; {2} level 0; {1,2} waits for both: 1; {0} waits for the first: 1; {1} waits for level 1: 2
    touches = as_touches(touches_of([{0, 1}, {2}, {1, 2}, {0}, {1}], 3))
    assert levels_of(touches, np.arange(5)).tolist() == [0, 0, 1, 1, 2]


def lists_of(touches, *, capacity, n_workers):
    order, offsets = sort_into_levels(
        as_touches(touches), np.arange(touches.shape[0]), capacity=capacity, n_workers=n_workers
    )
    return [[order[a:b].tolist() for a, b in pairwise(row)] for row in offsets]


def test_a_chain_stays_with_one_worker_and_fills_its_lists():
    assert lists_of(touches_of([{0}] * 5, 1), capacity=2, n_workers=2) == [[[0, 1], []], [[2, 3], []], [[4], []]]


def test_a_variable_that_changes_hands_waits_for_the_next_level():
    # 0 and 1 go to different workers, so 2, which touches both their variables, has to wait; 3 need not
    assert lists_of(touches_of([{0}, {1}, {0, 1}, {0}], 2), capacity=4, n_workers=2) == [[[0], [1]], [[2, 3], []]]


def test_late_updates_fill_the_room_that_early_levels_have():
    rows = [{0}, {0}, {0}, {0}, {1}, {2}]
    assert lists_of(touches_of(rows, 3), capacity=2, n_workers=2) == [[[0, 1], [4, 5]], [[2, 3], []]]


@given(touches=conflict_graphs(), capacity=st.integers(1, 30))
def test_no_list_is_longer_than_the_capacity(touches, capacity):
    for n_workers in WORKERS:
        lists = lists_of(touches, capacity=capacity, n_workers=n_workers)
        assert max(len(updates) for level in lists for updates in level) <= capacity


@given(touches=conflict_graphs())
def test_capacity_of_one_with_workers_to_spare_gives_levels_of_single_updates(touches):
    levels = levels_of(as_touches(touches), np.arange(touches.shape[0]))
    many = len(lists_of(touches, capacity=1, n_workers=touches.shape[0]))
    assert many == levels.max() + 1


def test_balance_counts_the_busiest_worker_and_the_barrier():
    touches = as_touches(touches_of([{v} for v in range(200)], 200))
    balance = measure_capacity(touches, np.arange(200), capacity=50, n_workers=2)
    assert balance.predicted_speedup == pytest.approx(200 / (100 + 2 * BARRIER_UPDATES))


def test_search_finds_a_capacity_that_splits_one_component():
    touches = ratings_of(20_000, 2_000, 200, 2.0)
    balance = best_capacity(as_touches(touches), np.arange(20_000), n_workers=4)
    assert balance.predicted_speedup > 2.5


def test_stretches_that_are_planned_apart_give_the_bits_of_the_serial_run(monkeypatch):
    monkeypatch.setattr("etesian.sparse.schedules.levels.STRETCH", 1_000)
    problem = Mixing(ratings_of(5_000, 300, 200, 1.5))
    bits = set()
    for schedule, n_workers in (("serial", 1), ("levels", 2), ("levels", 5)):
        rng = np.random.default_rng(0)
        plan = make_plan(schedule, problem.touches, n_workers=n_workers, rng=rng, batch_size=300)
        assert (np.concatenate([updates for batch in plan.batches() for updates in batch]) == plan.order).all()
        variables, data = problem.start(np.random.default_rng(1)), problem.lay_out(plan)
        with Workers(n_workers) as workers:
            workers.run(plan, problem.update_range, data, variables, 0.1)
        bits.add(variables[0].tobytes())
    assert len(bits) == 1


def test_a_hub_in_every_update_falls_back_to_serial_and_says_so():
    star = touches_of([{0, v} for v in range(1, 500)], 500)
    with pytest.warns(ScheduleWarning, match="serial in place of levels: chains of updates"):
        plan = make_plan("levels", star, n_workers=2, rng=np.random.default_rng(0))
    assert (plan.schedule, plan.n_workers) == ("serial", 1)
