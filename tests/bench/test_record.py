"""A run survives JSON unchanged, and nothing else is taken for a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from bench_fakes import make_run
from hypothesis import given
from hypothesis import strategies as st

from etesian.bench import Point, Run, Target


def through_json(run: Run) -> Run:
    return Run.from_dict(json.loads(json.dumps(run.as_dict(), allow_nan=False)))


def test_run_survives_json_bit_for_bit() -> None:
    run = make_run()
    assert repr(through_json(run)) == repr(run)  # repr, since NaN is not equal to itself


@given(value=st.floats(), seconds=st.floats(0, 1e9), seed=st.integers(-(2**63), 2**63 - 1), name=st.text(min_size=1))
def test_any_number_and_name_survives_json(value: float, seconds: float, seed: int, name: str) -> None:
    points = (Point(3, seconds, {"loss": 3.0, name: value, "loss ": 0.0}),)
    run = make_run(name, seed, points=points, outcome="failed", error=name, target=Target("loss ", 1.0))
    assert repr(through_json(run)) == repr(run)


def test_failed_run_without_points_survives_json() -> None:
    run = make_run(points=(), outcome="failed", error="RuntimeError: no disk", budget_seconds=None)
    assert through_json(run) == run


DESCRIPTION = {
    "task": "words",
    "organization": "Ömega",
    "system": "two cores",
    "progress": "loss",
    "details": {"batch_size": 8, "hardware": {"cores": 2, "names": ["a", None]}},
}


def test_description_of_a_run_survives_json() -> None:
    run = make_run(**DESCRIPTION)
    assert repr(through_json(run)) == repr(run)
    assert run.as_dict().items() >= DESCRIPTION.items()


def test_record_without_a_description_is_read_and_keeps_its_text() -> None:
    """As every record was before there were descriptions."""
    record = make_run().as_dict()
    assert not record.keys() & DESCRIPTION.keys()
    run = Run.from_dict(record)
    assert (run.task, run.organization, run.system, run.progress, run.details) == ("", "", "", None, {})
    assert run.as_dict() == record


def test_numbers_that_are_not_finite_are_written_as_strings() -> None:
    point = Point(0, 0.0, {"a": math.nan, "b": math.inf, "c": -math.inf})
    assert point.as_dict()["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def without(field: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.pop(field)


def change(**fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(fields)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without("seed"), "'seed' is missing"),
        (change(speed=3), "no field 'speed'"),
        (change(seed="3"), "seed must be of type int; got '3'"),
        (change(seed=True), "seed must be of type int; got True"),
        (change(outcome="won"), "outcome must be one of reached"),
        (change(target="loss<=3.28"), "target must be of type dict"),
        (change(target={"metric": "loss", "threshold": 3.28, "direction": "down"}), "direction must be 'at_least'"),
        (change(points=[]), "points must not be empty"),
        (change(points=[{"slices": 0, "seconds": 0.0}]), "a point must have .*'metrics' is missing"),
        (change(points=[{"slices": 0, "seconds": 0, "metrics": {"accuracy": 1}}]), "metrics must hold the target's"),
        (change(points=[{"slices": 0, "seconds": 0, "metrics": {"loss": "low"}}]), "metrics.loss must be of type"),
        (change(target={"metric": "loss", "threshold": 1, "direction": "at_most"}), "no point stands at loss<=1.0"),
        (change(units=[1]), "units must be of type dict"),
        (change(progress="epoch"), "metrics must hold the progress, 'epoch'; got"),
        (change(task=None), "task must be of type str; got None"),
        (change(details=[]), "details must be of type dict"),
        (change(budget_seconds="long"), "budget_seconds must be of type int or float or null"),
    ],
)
def test_what_is_not_a_run_is_refused_with_the_reason(spoil: Callable[[dict[str, Any]], None], complaint: str) -> None:
    data = make_run().as_dict()
    spoil(data)
    with pytest.raises(ValueError, match=complaint):
        Run.from_dict(data)


def test_list_is_not_a_run() -> None:
    with pytest.raises(ValueError, match="run must be of type dict"):
        Run.from_dict([])
