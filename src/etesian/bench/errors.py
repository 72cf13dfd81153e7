"""Errors caused by the input; the message alone, one line, states the problem and the remedy."""

from __future__ import annotations

from etesian.errors import InputError

__all__ = ["AlreadyStoredError", "InputError", "UnknownMetricError"]


class UnknownMetricError(InputError):
    """The target names a metric that the workload does not measure."""


class AlreadyStoredError(InputError):
    """The store holds another run of the same suite, workload, seed and target."""
