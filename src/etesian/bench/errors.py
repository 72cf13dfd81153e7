"""Errors that are the user's to put right: their message alone, one line, says what is wrong and what would work."""

from __future__ import annotations

from etesian.errors import InputError

__all__ = ["AlreadyStoredError", "InputError", "UnknownMetricError"]


class UnknownMetricError(InputError):
    """The target names a metric that the workload does not measure."""


class AlreadyStoredError(InputError):
    """The store holds another run of the same suite, workload, seed and target."""
