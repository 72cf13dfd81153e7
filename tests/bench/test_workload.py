"""Targets as people write them, and suites that refuse what could not be run."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from bench_fakes import Climb, FakeClock

import etesian.bench
from etesian.bench import Concluding, Counting, Suite, Synchronizing, Target, WithResources, Workload

TARGET = Target("accuracy", 0.93)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("accuracy>=0.93", Target("accuracy", 0.93, "at_least")),
        (" loss <= 3.28 ", Target("loss", 3.28, "at_most")),
        ("val/loss<=1e-3", Target("val/loss", 0.001, "at_most")),
    ],
)
def test_target_reads_as_people_write_it_and_back(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.parse(str(target)) == target


def test_whole_number_and_its_float_are_one_target() -> None:
    assert str(Target("loss", 3)) == str(Target("loss", 3.0)) == str(Target.parse("loss>=3"))


@pytest.mark.parametrize("text", ["accuracy", "accuracy>0.93", ">=0.93", "accuracy>=high", "accuracy>=nan", ""])
def test_text_that_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"target reads like|must be a"):
        Target.parse(text)


def test_target_is_reached_at_its_threshold() -> None:
    assert TARGET.is_reached(0.93)
    assert not TARGET.is_reached(math.nextafter(0.93, 0))
    assert Target("loss", 3.0, "at_most").is_reached(3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_value_that_is_not_finite_never_reaches_a_target(value: float) -> None:
    assert not TARGET.is_reached(value)
    assert not Target("loss", 3.0, "at_most").is_reached(value)


def test_class_with_the_four_members_is_a_workload(climb: Climb) -> None:
    assert isinstance(climb, Workload)
    assert not isinstance(TARGET, Workload)


OPTIONAL = {"units": Counting, "synchronize": Synchronizing, "conclude": Concluding, "resources": WithResources}


@pytest.mark.parametrize("member", OPTIONAL)
def test_optional_abilities_are_separate_protocols(climb: Climb, member: str) -> None:
    assert not any(isinstance(climb, protocol) for protocol in OPTIONAL.values())
    setattr(climb, member, dict)
    assert {name for name, protocol in OPTIONAL.items() if isinstance(climb, protocol)} == {member}


def test_no_member_of_a_workload_is_found_by_getattr() -> None:
    for path in Path(etesian.bench.__file__).parent.rglob("*.py"):
        assert not re.search(r"(get|has)attr\((workload|suite)\b", path.read_text("utf-8")), path


def test_suite_keeps_its_workloads_as_a_tuple(climb: Climb) -> None:
    assert Suite("climbs", [climb], TARGET).workloads == (climb,)


def test_suite_refuses_what_could_not_be_run(clock: FakeClock, climb: Climb) -> None:
    with pytest.raises(ValueError, match="must hold at least one"):
        Suite("climbs", [], TARGET)
    with pytest.raises(ValueError, match="got 'climb' twice"):
        Suite("climbs", [climb, Climb(clock)], TARGET)
    with pytest.raises(TypeError, match="must have name, prepare, advance and measure"):
        Suite("climbs", [object()], TARGET)
    with pytest.raises(ValueError, match="name must not be empty"):
        Suite("", [climb], TARGET)
    with pytest.raises(ValueError, match="budget_seconds must be a positive number"):
        Suite("climbs", [climb], TARGET, budget_seconds=0)
