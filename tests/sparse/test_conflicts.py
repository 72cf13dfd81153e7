import numpy as np
import pytest
from conftest import conflict_graphs, touches_of
from hypothesis import given
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from etesian.sparse.schedules.conflicts import (
    BARRIER_UPDATES,
    as_touches,
    assign_components,
    best_batch_size,
    find_components,
    measure_balance,
    new_scratch,
)


def components_of(touches, updates, n_workers=2):
    taken = as_touches(touches)
    scratch = new_scratch(taken, batch_size=len(updates), n_workers=n_workers)
    find_components(updates, taken, 0, scratch)
    assign_components(len(updates), scratch)
    return scratch


@given(touches=conflict_graphs())
def test_components_are_those_that_scipy_finds(touches):
    n_updates, n_variables = touches.shape
    row = np.repeat(np.arange(n_updates), np.diff(touches.indptr))
    edges = (np.ones(len(row)), (row, n_updates + touches.indices))
    graph = coo_array(edges, shape=(n_updates + n_variables,) * 2)
    _, expected = connected_components(graph, directed=False)
    found = components_of(touches, np.arange(n_updates)).component
    for number in range(n_updates):
        assert found[number] == np.flatnonzero(expected[:n_updates] == expected[number])[0]


def test_components_go_largest_first_to_the_least_loaded_worker():
    # components of 3, 2, 2 and 1 updates: 3 to the first, 2 to the second, 2 to the second (2 < 3), 1 to the first
    rows = [{0}, {0}, {0}, {1}, {1}, {2}, {2}, {3}]
    scratch = components_of(touches_of(rows, 4), np.arange(8))
    assert scratch.by_size[:4].tolist() == [0, 3, 5, 7]
    assert [scratch.worker[root] for root in (0, 3, 5, 7)] == [0, 1, 1, 0]
    assert scratch.load.tolist() == [4, 4]


def test_scratch_needs_no_reset_between_batches():
    touches = touches_of([{0, 1}, {1, 2}, {0, 3}, {2, 3}, {0, 1}, {4, 5}], 6)
    taken = as_touches(touches)
    scratch = new_scratch(taken, batch_size=2, n_workers=2)
    for start, expected in ((0, [0, 0]), (2, [0, 0]), (4, [0, 1])):
        find_components(np.arange(start, start + 2), taken, start, scratch)
        assert scratch.component.tolist() == expected


def test_balance_counts_the_busiest_worker_and_the_barrier():
    rows = [{v} for v in range(100) for _ in range(2)]  # 100 components of 2 updates
    touches = as_touches(touches_of(rows, 100))
    balance = measure_balance(touches, np.arange(200), batch_size=200, n_workers=2)
    assert balance.predicted_speedup == pytest.approx(200 / (100 + BARRIER_UPDATES))
    assert balance.largest_component == pytest.approx(2 / 200)


def test_search_stops_before_components_grow_together():
    rng = np.random.default_rng(0)
    n = 20_000
    pairs = [{int(a), int(b)} for a, b in zip(rng.integers(0, 2_000, n), rng.integers(2_000, 4_000, n), strict=True)]
    touches = as_touches(touches_of(pairs, 4_000))
    best = best_batch_size(touches, np.arange(n), n_workers=4)
    # A random graph gets its giant component at about one edge for two vertices, here 2,000 updates a batch.
    assert 256 <= best.batch_size <= 2_048
    assert best.predicted_speedup > 3
