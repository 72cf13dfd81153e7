"""Metrics of held-out data, measured once a run has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etesian.bench.record import Point
from etesian.bench.workload import Concluding, Workload

if TYPE_CHECKING:
    import numpy as np


def conclude(workload: Workload, last: Point) -> tuple[Point, dict[str, Any]]:
    """Add the metrics of a `Concluding` workload to its last measurement.

    The outcome is already decided, so that these metrics cannot influence it.

    Parameters
    ----------
    workload
        Workload whose run has ended.
    last
        Last measurement.

    Returns
    -------
    Point
        Last measurement with the new metrics.
    dict
        Entries for `Run.details`: under ``"correct"``, the answers to each example as 0 and 1, by metric.

    Raises
    ------
    TypeError
        If `conclude` does not return a mapping of names to numbers or arrays of bool.
    ValueError
        If `measure` returns a metric of the same name, or an array is empty.
    """
    if not isinstance(workload, Concluding):
        return last, {}
    returned = workload.conclude()
    if not isinstance(returned, Mapping):
        raise TypeError(f"conclude must return a mapping of names to numbers or arrays of bool; got {returned!r}")
    twice = sorted(returned.keys() & last.metrics.keys())
    if twice:
        raise ValueError(f"conclude must return metrics that measure does not; got {twice[0]!r} from both")
    values = {str(name): _as_array(name, value) for name, value in returned.items()}
    correct = {name: value.astype(int).tolist() for name, value in values.items() if value.ndim == 1}
    metrics = dict(last.metrics) | {name: float(value.mean()) for name, value in values.items()}
    return dataclasses.replace(last, metrics=metrics), {"correct": correct} if correct else {}


def _as_array(name: str, value: Any) -> np.ndarray:
    """Return an array of shape () for a number, (examples,) for answers."""
    import numpy as np

    array = np.asarray(value)
    is_number = array.ndim == 0 and array.dtype.kind in "biuf"
    if not is_number and not (array.ndim == 1 and array.dtype == bool):
        raise TypeError(f"{name} of conclude must be a number or an array of bool, one for each example; got {value!r}")
    if array.size == 0:
        raise ValueError(f"{name} of conclude must have at least one example; got none")
    return array
