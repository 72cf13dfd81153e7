"""Metrics measured once, after the end: they do not affect the outcome, and the analysis includes them."""

from __future__ import annotations

import numpy as np
import pytest
from bench_fakes import Climb, FakeClock

from etesian.bench import Run, Target, UnknownMetricError, run
from etesian.bench.analysis import analyze

HALF = Target("accuracy", 0.5)


class Concluding(Climb):
    """Answers three of four fresh examples rightly; counts its calls."""

    conclusion: object = {"fresh_accuracy": np.array([True, False, True, True]), "fresh_loss": 0.25}

    def prepare(self, seed: int) -> None:
        super().prepare(seed)
        self.log: list[str] = []

    def measure(self) -> dict[str, float]:
        self.log.append("measure")
        return dict(super().measure())

    def conclude(self) -> object:
        self.log.append("conclude")
        self.clock.sleep(1000)
        return self.conclusion


@pytest.fixture
def concluding(clock: FakeClock) -> Concluding:
    return Concluding(clock)


def test_conclusion_comes_once_at_the_end_and_off_the_clock(concluding: Concluding, clock: FakeClock) -> None:
    finished = run(concluding, HALF, clock=clock)
    assert concluding.log == ["measure", "measure", "measure", "conclude"]
    assert [set(point.metrics) for point in finished.points[:-1]] == [{"accuracy"}] * 2
    assert finished.points[-1].metrics == {"accuracy": 0.5, "fresh_accuracy": 0.75, "fresh_loss": 0.25}
    assert (finished.outcome, finished.seconds) == ("reached", 2.0)
    assert finished.details == {"correct": {"fresh_accuracy": [1, 0, 1, 1]}}
    assert Run.from_dict(finished.as_dict()) == finished


def test_no_target_can_be_decided_by_the_conclusion(concluding: Concluding, clock: FakeClock) -> None:
    with pytest.raises(UnknownMetricError, match="fresh_accuracy"):
        run(concluding, Target("fresh_accuracy", 0.5), clock=clock)


@pytest.mark.parametrize(
    ("options", "outcome"), [({"budget_seconds": 1.0}, "out_of_time"), ({}, "exhausted")], ids=["budget", "work"]
)
def test_runs_that_do_not_arrive_conclude_too(clock: FakeClock, options: dict[str, float], outcome: str) -> None:
    finished = run(Concluding(clock, slices=3), Target("accuracy", 2.0), clock=clock, **options)
    assert finished.outcome == outcome
    assert finished.points[-1].metrics["fresh_accuracy"] == 0.75


@pytest.mark.parametrize(
    ("conclusion", "error"),
    [
        (0.5, "TypeError: conclude must return a mapping of names to numbers or arrays of bool; got 0.5"),
        ({"accuracy": 0.9}, "ValueError: conclude must return metrics that measure does not; got 'accuracy' from both"),
        ({"fresh": "many"}, "TypeError: fresh of conclude must be a number or an array of bool"),
        ({"fresh": [0, 1]}, "TypeError: fresh of conclude must be a number or an array of bool"),
        ({"fresh": np.array([], bool)}, "ValueError: fresh of conclude must have at least one example; got none"),
    ],
)
def test_conclusion_that_cannot_be_read_fails_the_run_and_keeps_its_points(
    concluding: Concluding, clock: FakeClock, conclusion: object, error: str
) -> None:
    concluding.conclusion = conclusion
    finished = run(concluding, HALF, clock=clock)
    assert finished.outcome == "failed"
    assert (finished.error or "").startswith(error)
    assert [point.metrics for point in finished.points] == [{"accuracy": value} for value in (0.0, 0.25, 0.5)]


def test_analysis_compares_fresh_answers_with_the_baseline(clock: FakeClock) -> None:
    other = Concluding(clock, name="other")
    other.conclusion = {"fresh_accuracy": np.array([True, False, False, False])}
    runs = [run(workload, HALF, seed=seed, clock=clock) for workload in (Concluding(clock), other) for seed in (0, 1)]
    found = {each["entry"]: each for each in analyze(runs).as_dict()["generalization"]}
    assert found["climb"]["fresh"] == 0.75
    assert found["other"]["gap"]["value"] == -0.25
    assert found["other"]["difference"]["value"] == -0.5
    assert found["other"]["disagreement"] is not None
