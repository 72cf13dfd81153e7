"""Laws A1, A2, A3 and A5 for streamed epochs, whose orders are in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import WORKERS, touches_of

from etesian.sparse import SGD, Epochs, Ratings, ScheduleWarning, WordPairs, Workers, minimize, streams
from etesian.sparse.schedules.orders import BLOCK, Blocks, Permutations, deal_block, shuffle_block

N = 7 * BLOCK + 321


@pytest.fixture(autouse=True)
def few_blocks_are_enough(monkeypatch):
    monkeypatch.setattr(streams, "FEWEST_BLOCKS", 4)
    monkeypatch.setattr("etesian.sparse.epochs.block_size", lambda _: BLOCK)


def ratings(dtype="float32", *, weighted=False):
    rng = np.random.default_rng(5)
    user, item = rng.integers(0, 9_000, N), (6_000 * rng.random(N) ** 1.2).astype(int)
    weight = rng.random(N) + 0.5 if weighted else None
    return Ratings(user, item, rng.normal(3.5, 1.0, N).astype(dtype), 9_000, 6_000, 5, 0.02, biased=True, weight=weight)


def words():
    rng = np.random.default_rng(6)
    left = (8_000 * rng.random(N) ** 1.2).astype(int)
    right = (left + 1 + rng.integers(0, 7_998, N)) % 8_000
    return WordPairs(left, right, rng.integers(1, 500, N).astype(float), 8_000, n_dimensions=5)


PROBLEMS = {
    "ratings": ratings,
    "ratings in float64": lambda: ratings("float64"),
    "weighted ratings": lambda: ratings(weighted=True),
    "words": words,
}


class Run:
    """Some epochs, their plans, and the variables that they lead to."""

    def __init__(self, problem, schedule, *, n_workers=1, batch_size=BLOCK, seed=0, epochs=3):
        with Workers(n_workers) as workers:
            run = Epochs(
                problem, workers, method=SGD(0.05), schedule=schedule, batch_size=batch_size, random_state=seed
            )
            self.is_streamed = run._stream is not None
            self.plans = []
            for _ in range(epochs):
                run.advance()
                self.plans.append(run.plan)
        self.variables = run.variables

    @property
    def bits(self):
        return b"".join(array.tobytes() for array in self.variables)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(name):
    problem = PROBLEMS[name]()
    serial = Run(problem, "serial")
    assert serial.is_streamed
    for n_workers in WORKERS[1:]:
        parallel = Run(problem, "conflict_free", n_workers=n_workers)
        assert parallel.is_streamed
        assert all((np.diff(plan.offsets, axis=1) > 0).mean() > 0.9 for plan in parallel.plans)  # all have work
        assert parallel.bits == serial.bits, n_workers


def test_a1_holds_for_smaller_blocks(monkeypatch):
    monkeypatch.setattr("etesian.sparse.epochs.block_size", lambda _: 512)
    serial = Run(words(), "serial", batch_size=None)
    assert {plan.batch_size for plan in serial.plans} == {512}
    for n_workers in WORKERS[1:]:
        parallel = Run(words(), "conflict_free", n_workers=n_workers, batch_size=512)
        assert parallel.is_streamed
        assert parallel.bits == serial.bits, n_workers


def test_blocks_are_small_where_components_are_large():
    n = 40_000
    few = WordPairs(*_distinct_pairs(n, 600), np.full(n, 3.0), 600, n_dimensions=5)
    many = WordPairs(*_distinct_pairs(n, 90_000), np.full(n, 3.0), 90_000, n_dimensions=5)
    assert streams.block_size(many) == BLOCK
    assert 256 <= streams.block_size(few) < BLOCK


def _distinct_pairs(n, n_words):
    left = np.random.default_rng(0).integers(0, n_words, n)
    return left, (left + 1 + np.random.default_rng(1).integers(0, n_words - 2, n)) % n_words


def test_a1_the_stream_runs_its_plan():
    """The plan that a stream writes down, carried out from data that is laid out whole."""
    problem = ratings()
    streamed = Run(problem, "conflict_free", n_workers=3)
    variables = problem.start(np.random.default_rng(0).spawn(2)[0])
    with Workers(3) as workers:
        for plan in streamed.plans:
            workers.run(plan, problem.update_range, problem.lay_out(plan), problem.worked_on(variables), 0.05)
    assert b"".join(array.tobytes() for array in variables) == streamed.bits


@pytest.mark.parametrize(("schedule", "batch_size"), [("conflict_free", 300), ("levels", 900)])
def test_a1_schedules_that_see_whole_epochs_run_the_same_orders(schedule, batch_size):
    planned = Run(ratings(), schedule, n_workers=2, batch_size=batch_size)
    assert not planned.is_streamed
    assert planned.plans[-1].n_workers == 2
    assert planned.bits == Run(ratings(), "serial").bits


def _count_range(start, stop, data, variables, step_size):
    for e in range(start, stop):
        variables[0][data[0][e]] += 1


def _copy_numbers(first, rows, source, target):
    for k in range(len(rows)):
        target[0][first + k] = source[0][rows[k]]


@dataclass
class Counting:
    """Update e adds 1 to variable e."""

    settles = False
    counts_steps = False
    update_range = staticmethod(_count_range)
    copy_range = staticmethod(_copy_numbers)

    def __post_init__(self):
        self.touches = touches_of([{v} for v in range(N)], N)

    def start(self, rng):
        return (np.zeros(N, np.int64),)

    def rows(self):
        return (np.arange(N),)

    def room_for(self, n, data):
        return (np.empty(n, np.int64),)

    def lay_out(self, plan):
        return (plan.order,)

    def objective(self, variables, sum_over):
        return 0.0


@pytest.mark.parametrize("n_workers", WORKERS)
@pytest.mark.parametrize("schedule", ["serial", "conflict_free", "lock_free"])
def test_a2_each_update_runs_exactly_once_an_epoch(schedule, n_workers):
    run = Run(Counting(), schedule, n_workers=n_workers)
    assert run.is_streamed
    assert (run.variables[0] == 3).all()
    for plan in run.plans:
        assert (np.sort(np.concatenate([part for batch in plan.batches() for part in batch])) == np.arange(N)).all()


@pytest.mark.parametrize("n_workers", WORKERS[1:])
def test_a3_no_two_workers_share_a_variable_within_a_batch(n_workers):
    problem = ratings()
    for plan in Run(problem, "conflict_free", n_workers=n_workers).plans:
        for batch in plan.batches():
            touched = [np.unique(problem.touches[part].indices) for part in batch]
            assert len(np.unique(np.concatenate(touched))) == sum(map(len, touched))


def test_lists_keep_the_drawn_order():
    serial, parallel = Run(ratings(), "serial").plans[1], Run(ratings(), "conflict_free", n_workers=3).plans[1]
    place = np.argsort(serial.order)
    assert all((np.diff(place[part]) > 0).all() for batch in parallel.batches() for part in batch)


def test_a5_same_seed_same_bits_other_seed_other_bits():
    assert Run(ratings(), "conflict_free", n_workers=2).bits == Run(ratings(), "conflict_free", n_workers=2).bits
    assert Run(ratings(), "serial").bits != Run(ratings(), "serial", seed=1).bits


def test_every_epoch_permutes_blocks_and_their_updates():
    first, second, third = (plan.order for plan in Run(ratings(), "serial").plans)
    members = {frozenset(first[start : start + BLOCK]) for start in range(0, N, BLOCK)}
    for order in (second, third):
        blocks = [set(order[start : start + 50]) for start in range(0, N - BLOCK, BLOCK)]
        assert any(block <= member for block in blocks for member in members)
        assert (order != first).any()
    assert (second != third).any()


def test_plan_before_the_first_epoch_is_that_of_the_first():
    with Workers(2) as workers:
        run = Epochs(ratings(), workers, method=SGD(0.05), schedule="conflict_free", batch_size=BLOCK, random_state=0)
        before = run.plan
        run.advance()
    assert (before.order == run.plan.order).all()
    assert (before.offsets == run.plan.offsets).all()


def test_updates_that_all_share_a_variable_are_streamed_serially_with_one_warning():
    problem = Ratings(np.arange(N), np.zeros(N, int), np.ones(N, np.float32), N, 1, 2, 0.02, biased=True)
    with pytest.warns(ScheduleWarning, match="serial in place of conflict_free") as caught:
        run = Run(problem, "conflict_free", n_workers=2, batch_size=None)
    assert len(caught) == 1
    assert run.is_streamed
    assert all(plan.schedule == "serial" and plan.note.startswith("serial in place") for plan in run.plans)
    assert run.bits == Run(problem, "serial").bits


def test_interrupt_leaves_between_two_blocks():
    def interrupt(epoch, objective, seconds):
        raise KeyboardInterrupt

    result = minimize(ratings(), batch_size=BLOCK, n_jobs=2, max_iter=3, tol=None, random_state=0, callback=interrupt)
    assert result.outcome == "interrupted"
    assert result.n_iter == 1
    assert sorted(result.plan.order) == list(range(N))


@pytest.mark.parametrize("m", [1, 2, 3, 5, 64, 100, 2_047, 2_048])
def test_keyed_shuffles_are_permutations(m):
    sampled = np.full(BLOCK, -1, np.int32)
    shuffle_block(9, m, sampled)
    assert sorted(sampled[:m]) == list(range(m))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 63, 64, 65, 1_000, 4_095, 4_096, 4_097, 70_000])
def test_keyed_deals_are_permutations_in_any_parts(n):
    dealt, again = np.empty(n, np.int64), np.empty(n, np.int64)
    deal_block(5, 0, n, dealt)
    for start in range(0, n, 300):
        deal_block(5, start, min(start + 300, n), again)
    assert (np.sort(dealt) == np.arange(n)).all()
    assert (dealt == again).all()


def test_keyed_shuffles_are_uniform():
    """Chi-square over where each of 64 places goes, in 20,000 shuffles."""
    counts, sampled = np.zeros((64, 64)), np.empty(BLOCK, np.int32)
    for key in range(0, 20_000 * BLOCK, BLOCK):
        shuffle_block(key, 64, sampled)
        counts[np.arange(64), sampled[:64]] += 1
    expected = 20_000 / 64
    freedom = 63 * 63
    assert abs(((counts - expected) ** 2 / expected).sum() - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("make", [Blocks, Permutations])
def test_orders_depend_on_the_seed_alone(make):
    def drawn(seed):
        orders = make(100_000, np.random.default_rng(seed))
        return [orders.next().tobytes() for _ in range(3)]

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 6


def test_dealt_updates_are_as_uniform_as_random_ones():
    """Where an update goes does not depend on where it was, and neighbors are as likely together as strangers."""
    n, bins = 1 << 20, 32
    for key in range(3):
        dealt = np.empty(n, np.int64)
        deal_block(key, 0, n, dealt)
        counts = np.histogram2d(np.arange(n), dealt, bins=bins)[0]
        expected = n / bins**2
        chi_square = ((counts - expected) ** 2 / expected).sum() / (bins - 1) ** 2
        assert 0.8 < chi_square < 1.2  # four and a half standard deviations
        assert abs(np.corrcoef(dealt[:-1], dealt[1:])[0, 1]) < 5 / np.sqrt(n)
        groups = (dealt // 64).reshape(-1, BLOCK)
        together = np.mean([BLOCK - len(np.unique(block)) for block in groups])
        assert together == pytest.approx(BLOCK * BLOCK / 2 / (n / 64), rel=0.08)
