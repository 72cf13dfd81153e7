"""The leading eigenvector: laws A1 and A5, scipy's eigsh and svds, cases worked by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import WORKERS
from scipy.sparse import block_array, csr_array, diags_array, random_array
from scipy.sparse.linalg import eigsh, svds
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse import SGD, Epochs, Workers, eigenvector, leading_eigenvector
from etesian.sparse.problems.eigen import ShiftedRows
from etesian.sparse.rayleigh_ritz import KEPT, SUBSPACE, Subspace

DATA = Path(os.environ.get("ETESIAN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def data_file(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}; set ETESIAN_DATA to where it is")
    return path


def adjacency(rows, columns, n):
    A = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    A = csr_array(A + A.T)
    A.data[:] = 1.0
    return A


def delaunay():
    header, *lines = data_file("graphs/delaunay_n15.graph").read_text().splitlines()
    neighbors = [np.array(line.split(), int) - 1 for line in lines]
    rows = np.repeat(np.arange(len(neighbors)), list(map(len, neighbors)))
    return adjacency(rows, np.concatenate(neighbors), int(header.split()[0]))


def co_authors():
    edges = np.loadtxt(data_file("graphs/ca-HepPh.txt"), dtype=int, usecols=(0, 1))
    ids, ends = np.unique(edges, return_inverse=True)
    return adjacency(*ends.reshape(edges.shape).T, len(ids))


def random_symmetric(n=600, seed=0):
    rng = np.random.default_rng(seed)
    A = random_array((n, n), density=0.01, rng=rng, data_sampler=rng.standard_normal)
    return csr_array(A + A.T)


def mesh(side=60):
    """Return a grid with diagonals and heavy edges in the middle: small components, and one leading eigenvector."""
    place = np.arange(side * side)
    row, column = place // side, place % side
    weight = 1.0 + 4.0 * np.exp(-((row - side / 2) ** 2 + (column - side / 2) ** 2) / 20.0)
    inner = np.where(column == side - 1, 0.0, weight)
    A = diags_array(
        [inner[:-1], weight[:-side], inner[: -side - 1]], offsets=[1, side, side + 1], shape=(side**2, side**2)
    )
    return csr_array(A + A.T)


def found(A, **options):
    return leading_eigenvector(A, **({"random_state": 0, "n_jobs": 1} | options))


def assert_is_pair(pair, M, tol):
    assert np.linalg.norm(pair.vector) == pytest.approx(1.0, rel=1e-12)
    assert np.linalg.norm(M @ pair.vector - pair.value * pair.vector) <= 1.01 * tol * abs(pair.value)
    assert pair.value == pytest.approx(pair.vector @ (M @ pair.vector), rel=1e-12)
    assert pair.outcome == "converged"


@pytest.mark.parametrize("of", ["symmetric", "gram"])
def test_a1_any_number_of_workers_gives_the_bits_of_the_serial_run(of):
    A = mesh()
    serial = found(A, of=of, schedule="serial", max_iter=60, tol=1e-4)
    for n_workers in WORKERS:
        parallel = found(A, of=of, n_jobs=n_workers, max_iter=60, tol=1e-4)
        assert n_workers == 1 or (parallel.plan.schedule, parallel.plan.n_workers) == ("conflict_free", n_workers)
        assert parallel.vector.tobytes() == serial.vector.tobytes(), n_workers
        assert (parallel.value, parallel.n_iter) == (serial.value, serial.n_iter)


def test_a1_does_not_depend_on_the_batch_size():
    runs = {found(mesh(), n_jobs=2, batch_size=size, tol=1e-4).vector.tobytes() for size in (7, 64, 500)}
    assert len(runs) == 1


def test_a5_same_seed_same_bits_other_seed_other_bits():
    one, same, other = (found(mesh(), n_jobs=2, random_state=seed).vector for seed in (0, 0, 1))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a4_epoch_on_a_shifted_system_equals_eager_steps():
    A = csr_array(random_array((80, 30), density=0.1, rng=np.random.default_rng(1)))
    A.sort_indices()
    problem, pull, step = ShiftedRows(A), np.random.default_rng(2).standard_normal(30), 0.2
    with Workers(1) as workers:
        run = Epochs(problem, workers, method=SGD(step), schedule="serial", random_state=0)
        data = problem.pose(run._data, run.variables, shift=0.3, pull=pull)
        workers.run(run.plan, problem.update_range, data, run.variables, step)
        problem.finish(run.variables, workers.sum, step)
    z = np.zeros(30)
    for i in run.plan.order:
        row = A.toarray()[i]
        z = z - step * (0.3 * z - (row @ z) * row - pull)
    np.testing.assert_allclose(run.variables.coef[:, 0], z, rtol=1e-10, atol=1e-12)


def test_repeated_epochs_solve_the_shifted_system():
    A = csr_array(random_array((200, 20), density=0.2, rng=np.random.default_rng(1)))
    A.sort_indices()
    gram = (A.T @ A).toarray() / 200
    shift, b = 2 * np.linalg.eigvalsh(gram)[-1], np.random.default_rng(2).standard_normal(20)
    problem = ShiftedRows(A)
    with Workers(1) as workers:
        run = Epochs(problem, workers, method=SGD(0.2), schedule="serial", random_state=0)
        run._data = problem.pose(run._data, run.variables, shift=shift, pull=b)
        for _ in range(200):
            run.advance()
    np.testing.assert_allclose(run.variables.coef[:, 0], np.linalg.solve(shift * np.eye(20) - gram, b), rtol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_pair_of_a_symmetric_matrix_is_that_of_eigsh(seed):
    A = random_symmetric(seed=seed)
    pair = found(A, tol=1e-8, max_iter=400)
    (value,), vector = eigsh(A, 1, which="LM", v0=np.ones(A.shape[0]))
    assert_is_pair(pair, A, 1e-8)
    assert pair.value == pytest.approx(value, rel=1e-12)
    assert abs(pair.vector @ vector[:, 0]) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(2_000, 60), (60, 300)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pair_of_a_gram_matrix_is_the_first_singular_one(dtype, shape):
    A = random_array(shape, density=0.05, rng=np.random.default_rng(3)).astype(dtype)
    pair = found(A, of="gram", tol=1e-5)
    A = A.astype("float64")
    _, (value,), right = svds(A, 1, v0=np.ones(min(shape)))
    assert_is_pair(pair, A.T @ A, 1e-5)
    assert pair.value == pytest.approx(value**2, rel=1e-9)
    assert abs(pair.vector @ right[0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("graph", [delaunay, co_authors])
def test_pair_of_a_real_graph_is_that_of_eigsh(graph):
    A = graph()
    pair = found(A, n_jobs=2, tol=1e-5)
    (value,), vector = eigsh(A, 1, which="LM", v0=np.ones(A.shape[0]))
    assert_is_pair(pair, A, 1e-5)
    assert pair.value == pytest.approx(value, rel=1e-8)
    assert abs(pair.vector @ vector[:, 0]) == pytest.approx(1.0, abs=1e-4)


def test_negative_eigenvalue_of_largest_size_keeps_its_sign():
    pair = found(csr_array(np.diag([1.0, -3.0, 2.0])))
    assert pair.value == pytest.approx(-3.0)
    np.testing.assert_allclose(np.abs(pair.vector), [0, 1, 0], atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_positive_value_is_returned_where_both_signs_tie(seed):
    B = random_array((50, 40), density=0.2, rng=np.random.default_rng(4))
    bipartite = block_array([[None, B], [B.T, None]])
    pair = found(bipartite, random_state=seed)
    assert_is_pair(pair, bipartite, 1e-6)
    assert pair.value == pytest.approx(svds(B, 1, return_singular_vectors=False)[0], rel=1e-9)


def test_positive_value_is_returned_where_all_values_tie_in_pairs():
    side = 30
    along = np.where(np.arange(side**2) % side == side - 1, 0.0, 1.0)[:-1]
    A = diags_array([along, np.ones(side**2 - side)], offsets=[1, side], shape=(side**2, side**2))
    grid = csr_array(A + A.T)  # bipartite; its values are sums of 2 cos(i pi / 31)
    for seed in range(4):
        assert found(grid, random_state=seed).value == pytest.approx(4 * np.cos(np.pi / 31), rel=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_tied_signs_are_separated(sign):
    A = diags_array(sign * np.concatenate([[3.0, -2.995], np.linspace(-2, 2, 200)]))
    assert {round(found(A, random_state=seed).value, 6) for seed in range(6)} == {3.0 * sign}


def test_epoch_turns_the_vector_further_than_a_product_with_the_matrix(monkeypatch):
    by_epochs = [found(mesh(), of="gram", random_state=seed).n_iter for seed in range(3)]

    def product(inverse, ritz):
        inverse.n_epochs += 1
        return ritz.residual_vector

    monkeypatch.setattr(eigenvector._Inverse, "improve", product)
    by_products = [found(mesh(), of="gram", random_state=seed).n_iter for seed in range(3)]
    assert max(by_epochs) < min(by_products)


def test_long_data_of_low_rank_take_a_few_epochs_and_do_not_overflow():
    rng = np.random.default_rng(6)
    A = rng.random((30_000, 1)) * rng.random((1, 40)) + 0.01 * rng.standard_normal((30_000, 40))
    pair = found(A, of="gram")
    assert_is_pair(pair, A.T @ A, 1e-6)
    assert pair.n_iter <= 4


def test_any_vector_of_a_double_eigenvalue_is_accepted():
    A = csr_array(np.diag([2.0, 2.0, 1.0, 0.5]))
    assert_is_pair(found(A), A, 1e-6)


def test_one_by_one_and_dense_and_integer_matrices():
    assert found(np.array([[-4.0]])).value == -4.0
    assert found(np.array([[2, 1], [1, 2]])).value == pytest.approx(3.0)
    np.testing.assert_allclose(found(np.array([[2, 1], [1, 2]])).vector, [0.5**0.5, 0.5**0.5], atol=1e-6)
    assert found(np.array([[3.0, 4.0]]), of="gram").value == pytest.approx(25.0)


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_size_of_the_entries_does_not_matter(size):
    A = random_symmetric(200)
    assert found(A * size).value == pytest.approx(found(A).value * size, rel=1e-9)


def test_rows_of_very_different_size_do_not_make_it_diverge():
    rng = np.random.default_rng(5)
    A = csr_array(random_array((500, 80), density=0.1, rng=rng) * np.exp(3 * rng.standard_normal((500, 1))))
    assert_is_pair(found(A, of="gram"), A.T @ A, 1e-6)


def test_lock_free_run_finds_the_same_pair():
    pair = found(mesh(), schedule="lock_free", n_jobs=2, tol=1e-4, max_iter=400)
    assert pair.value == pytest.approx(found(mesh(), tol=1e-4).value, rel=1e-5)
    assert not pair.plan.is_reproducible


def test_too_few_epochs_warn_with_the_residual_and_return_the_best_pair():
    with pytest.warns(ConvergenceWarning, match="the residual is .* after max_iter=2 epochs, with tol=1e-06"):
        pair = found(mesh(), max_iter=2)
    assert (pair.outcome, pair.n_iter) == ("max_iter", 2)
    assert pair.residual > 1e-6


def test_tolerance_below_rounding_ends():
    with pytest.warns(ConvergenceWarning):
        pair = found(random_symmetric(100), tol=1e-300, max_iter=300)
    assert pair.residual < 1e-14


def test_subspace_stays_small_and_its_value_never_falls():
    A = random_symmetric(100)
    space, rng = Subspace(lambda v: A @ (A @ v)), np.random.default_rng(0)
    sizes, values = [], []
    for _ in range(30):
        space.add(rng.standard_normal(100))
        sizes.append(len(space._columns))
        values.append(space.best().value)
    assert max(sizes) == SUBSPACE
    assert min(sizes[SUBSPACE:]) == KEPT + 1
    assert (np.diff(values) >= -1e-12).all()
    columns = np.array(space._columns)
    np.testing.assert_allclose(columns @ columns.T, np.eye(len(columns)), atol=1e-12)


SQUARE = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("A", "options", "message"),
    [
        (np.ones((2, 3)), {}, r"square for of='symmetric'; its shape is \(2, 3\)"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), {}, r"symmetric for of='symmetric'; A\[\d, \d\] and .* differ by 1"),
        (np.zeros((0, 0)), {}, r"rows and columns; its shape is \(0, 0\)"),
        (np.zeros((3, 3)), {}, "must not be zero"),
        (np.array([[np.nan]]), {}, "NaN or infinity"),
        (SQUARE * 1j, {}, "real numbers; its type is complex128"),
        (SQUARE, {"of": "A"}, "'symmetric' or 'gram'; got 'A'"),
        (SQUARE, {"tol": 0.0}, "tol must be above 0 and below 1; got 0.0"),
        (SQUARE, {"max_iter": 0}, "max_iter must be at least 1; got 0"),
        (SQUARE, {"schedule": "parallel"}, "schedule must be"),
        (SQUARE, {"n_jobs": 0}, "n_jobs must be"),
    ],
)
def test_invalid_arguments_are_refused(A, options, message):
    with pytest.raises(ValueError, match=message):
        found(A, **options)
