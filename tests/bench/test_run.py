"""The run loop: what is on the clock (C1), how runs end (C2), who counts (C5)."""

from __future__ import annotations

import math

import pytest
from bench_fakes import Climb, FakeClock

from etesian.bench import Point, Target, UnknownMetricError, check_workload, run

REACHABLE = Target("accuracy", 1.0)
FAR = Target("accuracy", 1000.0)


# C1: measure is off the clock and changes nothing.


def test_only_advance_is_on_the_clock(climb: Climb, clock: FakeClock) -> None:
    # 4 slices of 1 s reach 1.0; 100 s of preparing and 5 measurements of 10 s passed as well, off the clock.
    result = run(climb, REACHABLE, clock=clock)
    assert result.seconds == 4.0
    assert [point.seconds for point in result.points] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert clock.seconds == 100 + 5 * 10 + 4 * 1


def test_waiting_for_what_advance_left_running_is_on_the_clock(climb: Climb, clock: FakeClock) -> None:
    result = run(climb, REACHABLE, clock=clock, synchronize=AsynchronousDevice(climb, clock).synchronize)
    assert result.seconds == 4 * (1 + 7)


def test_waiting_for_what_prepare_and_measure_left_running_is_off_the_clock(climb: Climb, clock: FakeClock) -> None:
    device = AsynchronousDevice(climb, clock)
    result = run(device, REACHABLE, clock=clock)
    assert result.seconds == 4 * (1 + 7)  # none of the 1000 s that prepare left, nor the 50 s of each measurement


class AsynchronousDevice:
    """Queues 1000 s of work in prepare, 50 s in measure and 7 s in each slice; `synchronize` waits for the queue."""

    def __init__(self, climb: Climb, clock: FakeClock) -> None:
        self.name, self.climb, self.clock, self.queued = "device", climb, clock, 0.0
        climb_advance = climb.advance
        climb.advance = lambda: self.queue(7, climb_advance())

    def queue(self, seconds: float, result: object) -> object:
        self.queued += seconds
        return result

    def prepare(self, seed: int) -> None:
        self.queue(1000, self.climb.prepare(seed))

    def advance(self) -> bool:
        return self.climb.advance()

    def measure(self) -> dict[str, float]:
        return self.queue(50, self.climb.measure())

    def synchronize(self) -> None:
        self.clock.sleep(self.queued)
        self.queued = 0.0


class Counter:
    """One step a slice, ten in all; subclasses break the contract."""

    name = "counter"

    def prepare(self, seed: int) -> None:
        self.steps = 0

    def advance(self) -> bool:
        if self.steps == 10:
            return False
        self.steps += 1
        return True

    def measure(self) -> dict[str, float]:
        return {"steps": float(self.steps)}


class MeasuringTrains(Counter):
    def measure(self) -> dict[str, float]:
        metrics = super().measure()
        self.steps += 1
        return metrics


class LastSliceIsDenied(Counter):
    def advance(self) -> bool:
        super().advance()
        return self.steps < 2


def test_check_finds_nothing_in_a_workload_that_keeps_the_contract() -> None:
    assert check_workload(Counter(), slices=3) == []
    assert check_workload(Counter(), slices=30) == []


def test_check_finds_a_measure_that_changes_the_state() -> None:
    faults = check_workload(MeasuringTrains())
    assert any("measure changes the state" in fault for fault in faults)
    assert any("measuring the same state twice differs" in fault for fault in faults)


def test_check_finds_an_advance_that_denies_its_last_slice() -> None:
    (fault,) = check_workload(LastSliceIsDenied())
    assert "False means that no work was left" in fault


def test_check_warns_about_workloads_that_are_not_reproducible() -> None:
    class Drifting(Counter):
        prepared = 0

        def prepare(self, seed: int) -> None:
            self.prepared += 1
            self.steps = self.prepared

    (fault,) = check_workload(Drifting())
    assert "two runs" in fault


# C2: a run that does not arrive is censored or never, and kept.


def test_run_that_arrives_keeps_both_ends_of_the_interval(climb: Climb, clock: FakeClock) -> None:
    result = run(climb, Target("accuracy", 0.6), clock=clock)
    before, after = result.passing
    assert result.outcome == "reached"
    assert (before.metrics["accuracy"], after.metrics["accuracy"]) == (0.5, 0.75)
    assert (before.seconds, after.seconds) == (2.0, 3.0)


def test_run_that_starts_at_its_target_takes_no_time(climb: Climb, clock: FakeClock) -> None:
    result = run(climb, Target("accuracy", 0.0), clock=clock)
    assert (result.outcome, result.seconds, len(result.points)) == ("reached", 0.0, 1)


def test_run_out_of_time_has_no_time_to_target(climb: Climb, clock: FakeClock) -> None:
    result = run(climb, FAR, clock=clock, budget_seconds=2.5)
    assert (result.outcome, result.seconds, result.budget_seconds) == ("out_of_time", None, 2.5)
    assert result.points[-1].seconds == 3.0  # the slice that was under way is not cut short


def test_run_that_arrives_at_the_last_moment_has_arrived(climb: Climb, clock: FakeClock) -> None:
    assert run(climb, REACHABLE, clock=clock, budget_seconds=4.0).outcome == "reached"


def test_run_without_work_left_is_exhausted(clock: FakeClock) -> None:
    result = run(Climb(clock, slices=3), FAR, clock=clock)
    assert (result.outcome, result.seconds) == ("exhausted", None)
    assert [point.slices for point in result.points] == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", ["at_least", "at_most"])
def test_metric_that_is_not_finite_is_divergence_and_never_an_arrival(
    climb: Climb, clock: FakeClock, value: float, direction: str
) -> None:
    climb.measure = lambda: {"accuracy": value if climb.accuracy else 0.5}
    result = run(climb, Target("accuracy", 1.0 if direction == "at_least" else 0.0, direction), clock=clock)
    assert (result.outcome, result.passing, len(result.points)) == ("diverged", None, 2)


def test_other_metrics_may_be_anything(climb: Climb, clock: FakeClock) -> None:
    climb.measure = lambda: {"accuracy": climb.accuracy, "worst": math.nan}
    assert run(climb, REACHABLE, clock=clock).outcome == "reached"


def test_failed_run_keeps_its_points_and_its_error(climb: Climb, clock: FakeClock) -> None:
    def advance() -> bool:
        if clock.seconds > 130:
            raise RuntimeError("disk is full")
        return Climb.advance(climb)

    climb.advance = advance
    result = run(climb, FAR, clock=clock)
    assert (result.outcome, result.seconds) == ("failed", None)
    assert [point.slices for point in result.points] == [0, 1, 2]
    assert result.error.splitlines()[0] == "RuntimeError: disk is full"
    assert "in advance" in result.error


@pytest.mark.parametrize("method", ["prepare", "measure", "advance"])
def test_error_in_any_method_is_a_failed_run(climb: Climb, clock: FakeClock, method: str) -> None:
    def fail(*arguments: object) -> None:
        raise SystemExit(3)

    setattr(climb, method, fail)
    result = run(climb, FAR, clock=clock)
    assert (result.outcome, result.error.splitlines()[0]) == ("failed", "SystemExit: 3")


def test_interrupt_from_the_keyboard_is_passed_on(climb: Climb, clock: FakeClock) -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    climb.advance = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(climb, FAR, clock=clock)


def test_advance_without_a_return_value_fails_instead_of_counting_as_exhausted(climb: Climb, clock: FakeClock) -> None:
    climb.advance = lambda: None
    result = run(climb, FAR, clock=clock)
    assert result.outcome == "failed"
    assert "advance must return True or False" in result.error


def test_target_that_the_workload_does_not_measure_is_refused_at_once(climb: Climb, clock: FakeClock) -> None:
    with pytest.raises(UnknownMetricError, match=r"climb measures \(accuracy\); got acuracy>=0.9"):
        run(climb, Target("acuracy", 0.9), clock=clock)


def test_metric_that_goes_missing_later_is_a_failed_run(climb: Climb, clock: FakeClock) -> None:
    climb.measure = lambda: {"loss": 1.0} if climb.accuracy else {"accuracy": 0.0}
    result = run(climb, FAR, clock=clock)
    assert (result.outcome, len(result.points)) == ("failed", 1)


@pytest.mark.parametrize("budget", [0, -1.0, math.nan, math.inf])
def test_budget_must_be_a_positive_number(climb: Climb, budget: float) -> None:
    with pytest.raises(ValueError, match="budget_seconds must be a positive number"):
        run(climb, FAR, budget_seconds=budget)


# C5: the harness counts.


def test_units_are_read_once_after_prepare_and_cannot_be_changed_later(climb: Climb, clock: FakeClock) -> None:
    class Boasting(Climb):
        units = None

        def prepare(self, seed: int) -> None:
            self.units = {"examples": 60}

        def advance(self) -> bool:
            self.units["examples"] = 10**9
            return super().advance()

    assert run(Boasting(clock), REACHABLE, clock=clock).units == {"examples": 60.0}


def test_harness_counts_the_slices(clock: FakeClock) -> None:
    class Boasting(Climb):
        slices = 10**6

        def measure(self) -> dict[str, float]:
            return {"accuracy": self.accuracy, "slices": 10.0**6}

    result = run(Boasting(clock), REACHABLE, clock=clock)
    assert [point.slices for point in result.points] == [0, 1, 2, 3, 4]


# Details of the record.


def test_seed_reaches_the_workload_and_the_record(climb: Climb, clock: FakeClock) -> None:
    seen = []
    climb.prepare = seen.append
    assert run(climb, REACHABLE, seed=7, clock=clock).seed == 7
    assert seen == [7]


def test_every_point_is_reported_when_it_is_measured(climb: Climb, clock: FakeClock) -> None:
    reported: list[Point] = []
    result = run(climb, REACHABLE, clock=clock, on_point=reported.append)
    assert tuple(reported) == result.points


def test_run_records_machine_and_start(climb: Climb, clock: FakeClock) -> None:
    result = run(climb, REACHABLE, clock=clock)
    assert result.machine["cores"] >= 1
    assert result.started.endswith("+00:00")
