"""Schedules as workloads: the same bits in parallel as in series, and scores that agree with a calculation apart."""

from __future__ import annotations

import numpy as np
import pytest

from etesian.bench import Target, check_workload, run
from etesian.suite import schedules as module
from etesian.suite.schedules import DrawnMesh, DrawnRatings, Minimization, mesh, ratings

CASES = {
    "ratings": (DrawnRatings(n_users=6_000, n_items=4_000, n_ratings=6_000), Target("rmse", 0.0, "at_most")),
    "mesh": (DrawnMesh(n_side=40), Target("misfit", 0.0, "at_most")),
}


@pytest.mark.parametrize("case", CASES)
def test_workload_keeps_the_contract(case: str) -> None:
    assert check_workload(Minimization("conflict_free", CASES[case][0], n_jobs=2)) == []


@pytest.mark.parametrize("case", CASES)
def test_every_exact_schedule_has_the_serial_fingerprints(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EPOCHS", 4)
    drawn, target = CASES[case]
    serial, *others = [
        run(Minimization(name, drawn, n_jobs=2), target, seed=3)
        for name in ("serial", "conflict_free", "levels", "auto")
    ]
    assert (serial.outcome, len(serial.points)) == ("exhausted", 5)
    assert len({point.metrics["fingerprint"] for point in serial.points}) == len(serial.points)
    for other in others:
        assert [point.metrics for point in other.points] == [point.metrics for point in serial.points]


def test_error_on_ratings_is_of_those_held_out() -> None:
    case = DrawnRatings(n_users=60, n_items=40, n_ratings=2_000)
    problem = case.problem()
    assert problem.touches.shape == (1_800, 100)
    user, item, rating = case._drawn
    factors, biases = np.zeros((100, 16)), np.arange(100.0)
    mean = rating[:1_800].mean(dtype=float)
    errors = [mean + user[k] + 60 + item[k] - rating[k] for k in range(1_800, 2_000)]
    assert case.score((factors, biases))["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_mesh_of_three_by_three_has_twelve_edges_and_heights_fit_it() -> None:
    edges, differences = DrawnMesh(n_side=3)._drawn
    assert edges.shape == (12, 9)
    assert edges.toarray()[0].tolist() == [-1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert edges.toarray()[6].tolist() == [-1, 0, 0, 1, 0, 0, 0, 0, 0]
    heights = np.linalg.lstsq(edges.toarray(), differences, rcond=None)[0]
    assert np.allclose(edges @ heights, differences)


def test_suites_race_every_schedule() -> None:
    for suite in (ratings(), mesh()):
        assert [workload.name for workload in suite.workloads] == [
            "serial", "conflict_free", "levels", "auto", "lock_free"
        ]  # fmt: skip
