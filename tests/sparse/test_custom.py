"""Custom updates: laws A1, A2 and A5, the built-in problem as peer, and error messages."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import WORKERS, conflict_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.sparse import csr_array

from etesian.sparse import SGD, CustomProblem, Epochs, Ratings, Workers, check_touches, make_plan, minimize


def mix(e, data, variables, step_size):
    rows, x = data.rows, variables.x
    total = 0.0
    for position in range(rows.indptr[e], rows.indptr[e + 1]):
        total += rows.values[position] * x[rows.indices[position]]
    for position in range(rows.indptr[e], rows.indptr[e + 1]):
        j = rows.indices[position]
        x[j] = 0.3 * x[j] + 0.2 * total + step_size * data.number[e]
    variables.runs[e] += 1


def mixing(touches):
    n, n_variables = touches.shape
    return CustomProblem(
        mix,
        touches={"x": touches, "runs": np.arange(n)},
        variables={"x": np.cos(np.arange(n_variables)), "runs": np.zeros(n, np.int64)},
        data={"rows": touches.astype(float), "number": np.sin(1.0 + np.arange(n))},
    )


def variables_after(problem, *, n_workers=1, schedule="serial", batch_size=None, seed=0, epochs=3):
    with Workers(n_workers) as workers:
        run = Epochs(problem, workers, method=SGD(0.05), schedule=schedule, random_state=seed, batch_size=batch_size)
        for _ in range(epochs):
            run.advance()
    return run.variables


def is_bitwise_equal(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("n_workers", WORKERS)
@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=20)
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(n_workers, touches, batch_size):
    problem = mixing(touches)
    serial = variables_after(problem)
    parallel = variables_after(problem, n_workers=n_workers, schedule="conflict_free", batch_size=batch_size)
    assert is_bitwise_equal(serial, parallel)


@given(touches=conflict_graphs(), batch_size=st.integers(1, 90))
@settings(max_examples=20)
def test_a2_each_update_runs_exactly_once_an_epoch(touches, batch_size):
    problem = mixing(touches)
    parallel = variables_after(problem, n_workers=3, schedule="conflict_free", batch_size=batch_size, epochs=2)
    assert (parallel.runs == 2).all()


RNG = np.random.default_rng(5)
N, N_USERS, N_ITEMS, N_FACTORS = 20_000, 4_000, 2_000, 5
USER, ITEM, RATING = RNG.integers(0, N_USERS, N), RNG.integers(0, N_ITEMS, N), RNG.normal(3.5, 1.0, N)


def rate(e, data, variables, step_size):
    u, v = variables.users[data.user[e]], variables.items[data.item[e]]
    error = data.rating[e]
    for t in range(len(u)):
        error -= u[t] * v[t]
    for t in range(len(u)):
        old_u, old_v = u[t], v[t]
        u[t] = old_u + step_size * (error * old_v - data.penalty * old_u)
        v[t] = old_v + step_size * (error * old_u - data.penalty * old_v)


def squared_error(e, data, variables):
    u, v = variables.users[data.user[e]], variables.items[data.item[e]]
    error = data.rating[e]
    norm = 0.0
    for t in range(len(u)):
        error -= u[t] * v[t]
        norm += u[t] * u[t] + v[t] * v[t]
    return error * error + data.penalty * norm


def rating_problem(update=rate, objective=squared_error, **options):
    factors = np.random.default_rng(1).random((N_USERS + N_ITEMS, N_FACTORS))
    asked = {
        "touches": {"users": USER, "items": ITEM},
        "variables": {"users": factors[:N_USERS], "items": factors[N_USERS:]},
        "data": {"user": USER, "item": ITEM, "rating": RATING},
        "constants": {"penalty": 0.02},
        "objective": objective,
    }
    return CustomProblem(update, **(asked | options))


def test_custom_rating_update_agrees_with_the_built_in_one():
    own = rating_problem()
    built_in = Ratings(USER, ITEM, RATING, N_USERS, N_ITEMS, n_factors=N_FACTORS, penalty=0.02, biased=False)
    built_in.start = lambda rng: (np.concatenate(own.start(rng)), np.zeros(0))
    options = {"method": SGD(0.02), "n_jobs": 2, "max_iter": 4, "tol": None, "callback": lambda *_: None}
    one, other = (minimize(p, random_state=0, **options) for p in (own, built_in))
    np.testing.assert_allclose(np.concatenate(one.variables), other.variables[0], rtol=1e-9)
    np.testing.assert_allclose(np.array(one.objective) / N, other.objective, rtol=1e-9)
    assert one.plan.schedule == other.plan.schedule == "conflict_free"
    assert (one.plan.order == other.plan.order).all()


def test_a1_holds_with_the_measured_batch_size_and_the_objective_has_the_same_bits():
    runs = [
        minimize(rating_problem(), method=SGD(0.02), n_jobs=n, max_iter=3, tol=1e-9, random_state=0) for n in WORKERS
    ]
    assert runs[1].plan.schedule == "conflict_free"
    assert len({run.variables.users.tobytes() + run.variables.items.tobytes() for run in runs}) == 1
    assert len({tuple(run.objective) for run in runs}) == 1


def test_a5_same_seed_same_bits_other_seed_other_bits():
    one, same, other = (
        variables_after(rating_problem(), n_workers=2, schedule="conflict_free", seed=seed) for seed in (0, 0, 1)
    )
    assert is_bitwise_equal(one, same)
    assert not is_bitwise_equal(one, other)


def test_variables_that_are_given_start_every_run_anew():
    problem = rating_problem()
    before = [array.copy() for array in problem.start(np.random.default_rng(0))]
    assert is_bitwise_equal(variables_after(problem), variables_after(problem))
    assert is_bitwise_equal(before, problem.start(np.random.default_rng(0)))


def test_compiled_update_is_taken_as_it_is():
    compiled = njit(rate)
    assert np.allclose(variables_after(rating_problem(compiled)).users, variables_after(rating_problem()).users)
    assert check_touches(rating_problem(compiled)) == []


def look(e, data, variables, step_size):
    variables.seen[e, 0] = data.numbers[e, 1]
    variables.seen[e, 1] = data.rows.indices[data.rows.indptr[e]] + 1000 * data.rows.values[data.rows.indptr[e]]
    variables.seen[e, 2] = data.table.values[data.table.indptr[1]] + data.base[2] + data.scale


def test_data_of_an_update_are_its_own_wherever_the_plan_puts_it():
    n = 500
    column = np.random.default_rng(0).permutation(n)
    problem = CustomProblem(
        look,
        touches={"seen": column},
        variables={"seen": np.zeros((n, 3))},
        data={
            "numbers": np.stack([np.zeros(n), np.arange(n) + 0.5], axis=1, dtype="float32"),
            "rows": csr_array((np.arange(n), column, np.arange(n + 1)), shape=(n, n)),
        },
        constants={"table": csr_array(np.array([[1, 0], [7, 0]])), "base": np.array([0, 0, 20]), "scale": 300},
    )
    plan = make_plan("conflict_free", problem.touches, n_workers=3, rng=np.random.default_rng(1), batch_size=50)
    data, variables = problem.lay_out(plan), problem.start(np.random.default_rng(0))
    for place, e in enumerate(plan.order):
        look(place, data, variables, 0.1)
        assert variables.seen[place].tolist() == [e + 0.5, column[e] + 1000 * e, 327.0]


def test_variables_with_the_same_touches_are_planned_as_one():
    pairs = np.stack([USER, ITEM], axis=1)
    both = {"factors": np.zeros((N_USERS, 2)), "bias": np.zeros(N_USERS)}
    as_one = CustomProblem(idle, touches={"factors": pairs, "bias": pairs}, variables=both)
    apart = CustomProblem(idle, touches={"factors": pairs, "bias": pairs.copy()}, variables=both)
    assert as_one.touches.shape == (N, N_USERS)
    assert apart.touches.shape == (N, 2 * N_USERS)


def idle(e, data, variables, step_size):
    pass


def write_next(e, data, variables, step_size):
    variables.x[e] += 1.0
    if e == 3:
        variables.x[data.other[e]] += step_size


def read_other(e, data, variables, step_size):
    variables.x[e] += variables.x[data.other[e]] if e == 3 else 1.0


def write_fixed(e, data, variables, step_size):
    variables.x[e] += variables.fixed[0]
    if e == 3:
        variables.fixed[0] += 1.0


def write_data(e, data, variables, step_size):
    variables.x[e] += 1.0
    if e == 3:
        data.other[e] = 0


def read_fixed(e, data, variables, step_size):
    variables.x[e] += variables.fixed[0]


def read_out_of_range(e, data, variables, step_size):
    variables.x[e] += variables.fixed[1] if e == 3 else 0.0


def six_updates(update):
    return CustomProblem(
        update,
        touches={"x": np.arange(6)},
        variables={"x": np.full(6, np.nan), "fixed": np.ones(1)}
        if update is idle
        else {"x": np.arange(6.0), "fixed": np.ones(1)},
        data={"other": np.array([5, 4, 3, 1, 1, 0])},
    )


@pytest.mark.parametrize(
    ("update", "faults"),
    [
        (idle, []),
        (read_fixed, []),
        (write_next, ["update 3 changes x[1], which touches does not list"]),
        (read_other, ["update 3 reads x[1], which touches does not list"]),
        (write_fixed, ["update 3 changes fixed[0], which touches does not list"]),
        (write_data, ["update 3 changes data.other, which touches does not list"]),
        (read_out_of_range, ["update 3 fails: IndexError: index 1 is out of bounds for axis 0 with size 1"]),
    ],
)
def test_check_reports_rows_missing_from_touches(update, faults):
    problem = six_updates(update)
    assert check_touches(problem) == faults
    assert is_bitwise_equal(problem.start(None), six_updates(update).start(None))


def test_check_finds_each_missing_array_of_a_real_update():
    assert check_touches(rating_problem()) == []
    forgotten = check_touches(rating_problem(touches={"users": USER}), n_updates=5)
    assert len(forgotten) == 5
    assert all("changes items[" in fault for fault in forgotten)
    wrong = check_touches(rating_problem(touches={"users": USER, "items": (ITEM + 1) % N_ITEMS}), n_updates=5)
    assert any("changes items[" in fault for fault in wrong)
    assert any("reads items[" in fault for fault in wrong)


def unknown_name(e, data, variables, step_size):
    variables.x[e] += data.height[e]


def unknown_function(e, data, variables, step_size):
    variables.x[e] += number_of_wheels(3)  # noqa: F821


def text(e, data, variables, step_size):
    variables.x[e] = "wheel"


def new_array(e, data, variables, step_size):
    variables.x = data.other


def opens_a_file(e, data, variables, step_size):
    with open("wheel") as file:
        file.read()


def three_arguments(e, data, variables):
    return 1.0


def nothing(e, data, variables):
    return None


@pytest.mark.parametrize(
    ("update", "objective", "message"),
    [
        (
            unknown_name,
            None,
            r"^update unknown_name cannot .*'height' .*custom\.py, line \d+\); data: other; variables: x$",
        ),
        (unknown_function, None, "^update unknown_function cannot be compiled by numba: NameError: .*number_of_wheels"),
        (text, None, r"^update text cannot be compiled by numba: No implementation .*setitem.*wheel"),
        (new_array, None, "^update new_array cannot be compiled by numba"),
        (opens_a_file, None, "^update opens_a_file cannot be compiled by numba: The 'with .*not supported"),
        (
            three_arguments,
            None,
            r"must take \(e, data, variables, step_size\); three_arguments takes \(e, data, variables\)",
        ),
        (3, None, "update must be a plain function that numba can compile; got 3"),
        (idle, idle, r"objective must take \(e, data, variables\); idle takes \(e, data, variables, step_size\)"),
        (idle, nothing, "objective nothing must return a number; it returns none"),
    ],
)
def test_function_that_cannot_be_compiled_is_named_in_one_line(update, objective, message):
    with pytest.raises(TypeError, match=message) as raised:
        CustomProblem(
            update,
            touches={"x": np.arange(6)},
            variables={"x": np.zeros(6)},
            data={"other": np.ones(6)},
            objective=objective,
        )
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"touches": {}}, "must name at least one of the variables"),
        ({"touches": {"y": np.arange(6)}}, "touches names 'y'; variables are 'x'"),
        ({"touches": {"x": np.arange(1, 7)}}, "from 0 to 5; it holds 1 to 6"),
        ({"touches": {"x": np.arange(-1, 5)}}, "from 0 to 5; it holds -1 to 4"),
        ({"touches": {"x": np.arange(6.0)}}, "or integers of shape .*; got float64 of shape"),
        ({"touches": {"x": csr_array((6, 7))}}, r"touches\['x'\] has 7 columns; variables\['x'\] has 6 rows"),
        ({"touches": {"x": np.zeros(0, int)}, "data": {}}, "there are no updates"),
        ({"touches": {"x": np.arange(6), "z": np.arange(5)}}, "their lengths differ: {'x': 6, 'z': 5}"),
        ({"data": {"other": np.ones(5)}}, "has 5 rows; there are 6 updates"),
        ({"data": {"other": np.array(["wheel"] * 6)}}, r"data\['other'\] must hold numbers; its type is <U5"),
        ({"data": {"a": np.ones(6)}, "constants": {"a": 1.0}}, "'a' is in data and in constants"),
    ],
)
def test_mistakes_in_the_arrays_are_named(options, message):
    asked = {"touches": {"x": np.arange(6)}, "variables": {"x": np.zeros(6), "z": np.zeros(6)}}
    with pytest.raises(ValueError, match=message):
        CustomProblem(idle, **(asked | options))


def test_missing_objective_is_reported():
    problem = rating_problem(objective=None)
    assert minimize(problem, n_jobs=1, max_iter=2, tol=None).n_iter == 2
    with pytest.raises(ValueError, match="the problem has no objective: pass tol=None to minimize, or objective="):
        minimize(problem, n_jobs=1, max_iter=2)
