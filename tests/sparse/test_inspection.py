import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import touches_of
from scipy.sparse import coo_array, csc_array, csr_array

from etesian.sparse import inspect_conflicts
from etesian.sparse.schedules.conflicts import BARRIER_UPDATES
from etesian.sparse.speedup_chart import _label_heights


def star(n=600):
    return touches_of([{0, v} for v in range(1, n)], n)


def random_pairs(n=5_000, n_side=2_000):
    rng = np.random.default_rng(0)
    return coo_array((np.ones(n), (rng.integers(0, n_side, n), rng.integers(0, n_side, n))), shape=(n_side, n_side))


def test_hub_in_every_update_is_named_and_threads_are_not_recommended():
    report = inspect_conflicts(star(), names=["the hub", *map(str, range(599))])
    assert report.hottest[0].name == "the hub"
    assert report.hottest[0].share == 1.0
    assert report.n_single_levels == report.n_updates == 599
    assert {batch.largest_component for batch in report.batches} == {1.0}
    assert report.verdict == (
        "One component at any batch size: threads are not predicted to help. "
        "Hot variables that connect updates: the hub (100%). "
        "Linear models may exempt the hottest 1: schedule='merged', predicted up to 1.9 times as fast, with 8 workers; "
        "its result is not the serial run's, but the same for any number of workers."
    )


def test_updates_that_share_nothing_are_predicted_to_spread():
    report = inspect_conflicts(touches_of([{v} for v in range(20_000)], 20_000))
    assert report.n_single_levels == 1
    assert report.most_parallel == 20_000
    assert report.single_levels[0] == pytest.approx(20_000 / (10_000 + BARRIER_UPDATES))
    assert report.components[0] == pytest.approx(2_048 / (1_024 + BARRIER_UPDATES))
    assert report.verdict.startswith("Batches split into small components: schedule='conflict_free'")


def test_predictions_are_bounded_by_workers_and_by_the_longest_chain():
    report = inspect_conflicts(random_pairs(), updates="elements")
    for row in (report.components, report.levels, report.single_levels):
        assert all(speedup <= workers for speedup, workers in zip(row, report.workers, strict=True))
        assert max(row) <= report.most_parallel


def test_merged_is_predicted_for_rows_alone():
    report = inspect_conflicts(star())
    # ten batches, whose longest lists hold 8 of 64 updates, and 3 of the last 23; 8 copies of a hub are as 4 updates of two touches
    assert report.n_exempt == 1
    assert report.merged[2] == pytest.approx(599 / (9 * 8 + 3 + 10 * (4 + 2 * BARRIER_UPDATES)))
    edges = inspect_conflicts(random_pairs(), updates="elements")
    assert (edges.n_exempt, edges.merged) == (None, ())
    assert "merged" not in str(edges)


def test_elements_touch_their_row_and_their_column():
    X = coo_array((np.ones(3), ([0, 0, 1], [0, 1, 1])), shape=(2, 3))
    report = inspect_conflicts(X, updates="elements")
    assert (report.n_updates, report.n_variables, report.mean_touches) == (3, 5, 2.0)
    assert [(hot.name, hot.share) for hot in report.hottest[:2]] == [("row 0", 2 / 3), ("column 1", 2 / 3)]


def test_edges_are_taken_once_and_loops_are_left_out():
    X = csr_array(np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]]))
    report = inspect_conflicts(X, updates="edges")
    assert (report.n_updates, report.n_variables) == (2, 3)
    assert report.hottest[0].name == "vertex 1"


@pytest.mark.parametrize("kind", [csr_array, csc_array, coo_array])
def test_any_sparse_format_gives_the_same_report(kind):
    assert inspect_conflicts(kind(star())) == inspect_conflicts(star())


def test_report_survives_json_and_reads_as_a_table():
    report = inspect_conflicts(random_pairs(), updates="elements")
    read = json.loads(json.dumps(report.as_dict()))
    assert read["levels"] == list(report.levels)
    assert read["verdict"] == report.verdict
    assert read["batches"][0]["batch_size"] == 64
    lines = str(report).splitlines()
    assert lines[-1] == report.verdict
    assert "64 workers" in lines[3]


def test_plot_is_an_svg_with_the_ideal_line(tmp_path):
    path = tmp_path / "speedup.svg"
    inspect_conflicts(star()).plot(path)
    root = ET.parse(path).getroot()
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["ideal", "components", "levels"]


def test_labels_do_not_cover_one_another_or_leave_the_picture():
    assert _label_heights([40.0, 100.0, 101.0]) == [40.0, 100.0, 115.0]
    assert _label_heights([40.0, 330.0, 330.0]) == [25.0, 315.0, 330.0]


def test_few_updates_make_one_batch():
    report = inspect_conflicts(touches_of([{0}, {0}, {1}], 2))
    assert [batch.batch_size for batch in report.batches] == [3]


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (np.eye(3), {}, TypeError, "X must be a scipy sparse matrix or array; got ndarray"),
        (star(), {"updates": "columns"}, ValueError, "updates must be 'rows', 'elements' or 'edges'; got 'columns'"),
        (star(), {"updates": "edges"}, ValueError, r"X must be square for updates='edges'; got shape \(599, 600\)"),
        (csr_array((2, 2)), {"updates": "edges"}, ValueError, "X must contain at least one update"),
        (star(), {"names": ["one"]}, ValueError, "names must name 600 variables; got 1"),
    ],
)
def test_invalid_input_is_refused(X, options, error, message):
    with pytest.raises(error, match=message):
        inspect_conflicts(X, **options)
