import numpy as np
import pytest
from conftest import WORKERS, touches_of

from etesian.sparse import make_plan
from etesian.sparse.schedules.blocked import deal, default_n_blocks


def plan_of(touches, n_workers, **options):
    return make_plan("blocked", touches, n_workers=n_workers, rng=np.random.default_rng(0), **options)


def two_sided(n, n_left=90, n_right=60):
    rng = np.random.default_rng(3)
    left, right = (n_left * rng.random(n) ** 2).astype(int), n_left + rng.integers(0, n_right, n)
    return touches_of([{int(a), int(b)} for a, b in zip(left, right, strict=True)], n_left + n_right)


def test_order_does_not_depend_on_the_number_of_workers():
    touches = two_sided(3_000)
    orders = {plan_of(touches, n_workers).order.tobytes() for n_workers in WORKERS}
    assert len(orders) == 1


def test_strata_and_blocks_worked_by_hand():
    # Lefts 0 and 1 are blocks 0 and 1, rights 2 and 3 too (all as busy). Stratum 0: 0-2, 1-3; stratum 1: 0-3, 1-2.
    plan = plan_of(touches_of([{0, 2}, {0, 3}, {1, 2}, {1, 3}], 4), 2, n_blocks=2)
    assert [[updates.tolist() for updates in batch] for batch in plan.batches()] == [[[0], [3]], [[1], [2]]]


def test_blocks_keep_the_sampled_order():
    touches = two_sided(2_000)
    sampled = make_plan("serial", touches, n_workers=1, rng=np.random.default_rng(0)).order
    assert (plan_of(touches, 1, n_blocks=1).order == sampled).all()


def test_busy_variables_are_dealt_to_and_fro():
    variables = np.repeat([0, 1, 2, 3], [1, 9, 5, 3])  # busiest first: 1, 2, 3, 0
    assert deal(variables, 4, 2).tolist() == [0, 0, 1, 1]


def test_strata_are_cut_evenly_for_workers():
    plan = plan_of(two_sided(60_000), 4, n_blocks=16)
    assert plan.n_batches == 16
    assert plan.predicted_speedup > 2.5


def test_number_of_blocks_comes_from_the_data():
    assert [default_n_blocks(n) for n in (10, 100_000, 10**9)] == [1, 10, 32]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{0, 1, 2}, {0, 3}], "two variables each, one per side, as ratings do; some updates here touch 3"),
        ([{0}, {1}], "updates here touch 1"),
        ([{0, 1}, {1, 2}], "variable 1 is on both sides"),
    ],
)
def test_updates_without_two_sides_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        plan_of(touches_of(rows, 4), 2)
