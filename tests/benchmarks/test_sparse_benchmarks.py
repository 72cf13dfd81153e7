"""Each benchmark runs at toy size, and its tables agree with the runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data import differences_along, mesh_edges, power_law_pairs, power_law_ratings, scattered_rows
from hot_variables import main as hot_variables
from races.entries import least_iterations
from races.table import write_readme
from races.tasks import LinearRows, MeshMatrix
from races.tuning import tune_all
from sparse_kernels import all_kernels
from sparse_roofline import main as roofline
from sparse_roofline import read_counts
from sparse_scaling import main as scaling
from sparse_time_to_target import RACES
from sparse_time_to_target import main as time_to_target
from timing import copy_bandwidth

from etesian.bench import read_jsonl


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("races")
    names = ["logistic"]
    time_to_target(["--races", *names, "--toy", "--seeds", "1", "--workers", "2", "--out", str(folder)])
    return folder


def test_races_leave_records_of_every_entry_that_arrived_in_tuning(results):
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        tuned = json.loads((folder / "tuning.json").read_text())["tuned"]
        arrived = {each["name"] for each in tuned if any(work is not None for work in each["work"].values())}
        assert {entry.run.workload for entry in read_jsonl(folder / "runs.jsonl")} == arrived
        assert {"serial", "conflict_free", "levels", "lock_free", "auto"} <= arrived


def test_exact_schedules_have_the_serial_fingerprints(results):
    for folder in (path for path in results.iterdir() if path.is_dir()):
        runs = {entry.run.workload: entry.run for entry in read_jsonl(folder / "runs.jsonl")}
        serial = [point.metrics["fingerprint"] for point in runs["serial"].points]
        for schedule in ("conflict_free", "levels", "auto"):
            assert [point.metrics["fingerprint"] for point in runs[schedule].points] == serial, folder.name


def test_readme_has_a_table_for_each_race_and_is_made_anew_from_the_records(results):
    text = (results / "README.md").read_text()
    assert text.count("| serial |") == 1
    assert text.count("| conflict_free | 1 of 1 |") == 1
    assert "scikit-learn saga" in text
    assert write_readme(results).read_text() == text


def test_race_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data must be a folder that contains libsvm/w8a"):
        time_to_target(["--races", "w8a", "--out", str(tmp_path)])
    assert set(RACES) > {"w8a", "cocoa", "delaunay", "movielens"}


def test_scaling_finds_the_serial_bits_in_every_exact_plan():
    records = scaling(["--toy", "--rounds", "2", "--workers", "1", "2"])
    assert len({record["kernel"] for record in records}) == 6
    exact = [record for record in records if record["schedule"] not in ("lock_free", "blocked")]
    assert all(record["bitwise the serial result"] for record in exact)
    assert {record["workers"] for record in records} == {1, 2}


def test_roofline_takes_the_larger_of_two_limits():
    for record in roofline(["--toy", "--rounds", "2", "--workers", "1"]):
        seconds = record["bytes an update"] / record["bytes a second"]
        memory = record["bytes an update"] / record["copy bytes a second"]
        arithmetic = record["operations an update"] / record["possible operations a second"]
        assert record["limit"] == ("memory" if memory > arithmetic else "arithmetic")
        assert record["share of the limit"] == pytest.approx(max(memory, arithmetic) / seconds, abs=1e-3)


def test_bytes_of_a_kernel_count_rows_twice_and_data_once():
    kernels = {kernel.name: kernel for kernel in all_kernels(toy=True)}
    ratings = kernels["ratings, rank 8"]
    assert ratings.moved_bytes == 2 * 2 * 8 * 4  # two rows of 8 float32 numbers, read and written
    assert ratings.streamed_bytes == 4 + 4 + 4  # user, item, rating
    saga, svrg = kernels["mesh, saga"], kernels["mesh, svrg"]
    assert (
        saga.moved_bytes - svrg.moved_bytes == 2 * 8 + 8
    )  # the mean gradients of two ends and the memory are not written


def test_perf_counts_are_read_and_what_is_not_supported_is_left_out():
    text = "1234,,cache-misses,10,100.00,,\n<not supported>,,instructions,0,100.00,,\n"
    assert read_counts(text) == {"cache-misses": 1234.0}


def test_copy_bandwidth_is_a_positive_number():
    assert 0 < copy_bandwidth(2, 100_000, rounds=1) < np.inf


@pytest.mark.parametrize(("needed", "guess"), [(1, 1), (1, 8), (7, 8), (8, 8), (9, 8), (37, 8), (3, 64)])
def test_least_iterations_finds_the_first_number_that_reaches(needed, guess):
    tried = []

    def reaches(n):
        tried.append(n)
        return n >= needed

    assert least_iterations(reaches, guess=guess, limit=100) == needed
    assert len(tried) == len(set(tried))


def test_least_iterations_gives_up_at_the_limit():
    assert least_iterations(lambda n: False, guess=3, limit=20) is None
    assert least_iterations(lambda n: n >= 20, guess=3, limit=20) == 20


class Converging:
    """Arrives after 64 / 2^exponent epochs, or not at all with a step above 2^2."""

    tuned_with = ""

    def __init__(self, exponent=0):
        self.name, self.exponent = "converging", exponent

    def with_exponent(self, exponent):
        return Converging(exponent)

    def remember(self, work):
        return self

    def work_to_target(self, seed, limit):
        work = int(64 / 2.0**self.exponent)
        return work if self.exponent <= 2 and work <= limit else None


def test_tuning_takes_the_step_size_with_the_fewest_epochs_and_records_all():
    (tuned,) = tune_all([Converging()], range(-2, 5))
    assert (tuned.exponent, tuned.entry.exponent) == (2, 2)
    assert set(tuned.work) == {str(exponent) for exponent in range(-2, 5)}
    assert tuned.work["2"] == 16
    assert tuned.work["3"] is None


def test_score_of_linear_rows_is_0_at_the_solution_and_1_without_one(tmp_path):
    X, y = differences_along(mesh_edges(200))
    LinearRows.save(tmp_path / "rows.npz", X, y, is_squared=True, ridge=1.0 / len(y))
    with np.load(tmp_path / "rows.npz") as arrays:
        rows = LinearRows(dict(arrays))
    solution = np.linalg.solve((X.T @ X).toarray() / len(y) + np.eye(X.shape[1]) / len(y), X.T @ y / len(y))
    assert rows.score(None) == {"excess": 1.0}
    assert abs(rows.score(solution)["excess"]) < 1e-9


def test_residual_is_0_at_an_eigenvector_and_not_beside_it(tmp_path):
    edges = mesh_edges(200)
    matrix = MeshMatrix({"edges": edges})
    vector = np.linalg.eigh(matrix.A.toarray())[1][:, -1]
    assert matrix.score(vector)["residual"] < 1e-12
    assert matrix.score(np.roll(vector, 1))["residual"] > 0.1


def test_mesh_is_planar_in_size_and_its_edges_are_given_once():
    edges = mesh_edges(1_000)
    n = edges.max() + 1
    assert n <= 1_000
    assert 2.5 * n < len(edges) <= 3 * n - 6
    assert (edges[:, 0] < edges[:, 1]).all()
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_mesh_has_holes():
    edges = mesh_edges(10_000)
    # Euler: 3 n - 3 edges, less one for each edge on a rim; the outer rim alone takes 174, the twelve holes about 10 each
    assert 3 * (edges.max() + 1) - len(edges) > 250


def test_made_data_is_the_same_each_time_and_in_range():
    for make in (lambda: power_law_ratings(5_000, planted_rank=4), lambda: power_law_pairs(5_000)):
        assert all(np.array_equal(a, b) for a, b in zip(make(), make(), strict=True))
    left, right, count = power_law_pairs(5_000)
    assert (left < right).all()
    assert (count > 0).all()
    X, y = scattered_rows(500, n_features=1_000)
    assert (np.diff(X.indptr) == 5).all()
    assert X.has_canonical_format
    assert set(y) == {-1.0, 1.0}


def test_lists_that_share_hot_variables_are_counted_beside_the_serial_order(tmp_path):
    hot_variables(["--toy", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "records.json").read_text())
    (found,) = record["results"].values()
    assert [each["lists"] for each in found] == [1, 2, "merged"]
    assert found[0]["epochs"] == 10  # the serial order's own goal
    (timed,) = record["times"].values()
    assert [each["schedule"] for each in timed[:4]] == ["serial", "merged by one", "merged", "lock_free"]
    assert [each["workers"] for each in timed[:4]] == [1, 1, 2, 2]
    assert timed[0]["speedup over serial"] == [1.0, 1.0, 1.0]
