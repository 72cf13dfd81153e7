"""Costs of an entry in money and energy: `Costs`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from etesian.bench.analysis.options import Options, PerEntry, figure_of
from etesian.bench.analysis.races import Entry
from etesian.bench.record import Run
from etesian.bench.statistics import Estimate, Passage

_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Costs:
    """Money and energy to reach the target; None where the price or the power is unknown.

    Parameters
    ----------
    cost, expected_cost
        Money for runs that reach the target, and with restarts until one does.
    energy_joules, expected_energy_joules
        The same for energy.
    """

    cost: Estimate | None
    expected_cost: Estimate | None
    energy_joules: Estimate | None
    expected_energy_joules: Estimate | None

    def by_name(self) -> dict[str, Estimate | None]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def costs_of(entry: Entry, passage: Passage, mean: Estimate, expected: Estimate, options: Options) -> Costs:
    """Compute the costs of an entry from the options, or from the details of its runs."""
    price = _rate(options.price, entry, "cost_per_hour")
    watts = _rate(options.watts, entry, "watts")
    return Costs(
        cost=_published_cost(entry, passage) if price is None else mean.scaled(price / _SECONDS_PER_HOUR),
        expected_cost=None if price is None else expected.scaled(price / _SECONDS_PER_HOUR),
        energy_joules=None if watts is None else mean.scaled(watts),
        expected_energy_joules=None if watts is None else expected.scaled(watts),
    )


def number_in(run: Run, detail: str) -> float | None:
    """Return a finite number in the details of a run; None if there is none."""
    value = run.details.get(detail)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _rate(figure: PerEntry, entry: Entry, detail: str) -> float | None:
    """Return the given rate, or the mean of those in the details of all runs."""
    given = figure_of(figure, entry.name)
    if given is not None:
        return given
    recorded = [number_in(run, detail) for run in entry.runs]
    known = [each for each in recorded if each is not None]
    return float(np.mean(known)) if known and len(known) == len(recorded) else None


def _published_cost(entry: Entry, passage: Passage) -> Estimate | None:
    """Return the mean of the costs that the runs state, without an interval as their basis is unknown."""
    costs = [number_in(run, "cost") for run, arrived in zip(entry.runs, passage.arrived, strict=True) if arrived]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return None
    return Estimate.missing("as published", runs=len(known), value=float(np.mean(known)))
