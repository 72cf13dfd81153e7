"""Runs made by hand for the tests of the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etesian.bench import Point, Run, Target

ACCURACY = Target("accuracy", 0.9)


def curve(
    values: Sequence[float],
    *,
    workload: str = "plain",
    seed: int = 0,
    step: float = 10.0,
    times: Sequence[float] | None = None,
    outcome: str = "reached",
    target: Target = ACCURACY,
    **fields: Any,
) -> Run:
    """A measurement every `step` seconds, from 0 on."""
    seconds = [step * k for k in range(len(values))] if times is None else times
    points = tuple(Point(k, t, {target.metric: v}) for k, (t, v) in enumerate(zip(seconds, values, strict=True)))
    return Run(workload, seed, target, outcome, points, **fields)  # type: ignore[arg-type]


def climb(seconds: float, *, slices: int = 4, best: float = 0.95, **fields: Any) -> Run:
    """A run that reaches its best at its end, after slices of equal length."""
    values = [0.1 * k / slices for k in range(slices)] + [best]
    return curve(values, step=seconds / slices, **fields)


def climbs(times: Sequence[float], **fields: Any) -> list[Run]:
    """One run a time, with seeds from 0 on."""
    return [climb(seconds, seed=seed, **fields) for seed, seconds in enumerate(times)]
