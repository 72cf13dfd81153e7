"""Importers and exporters by name, from the entry points of the installed packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from etesian.bench.errors import InputError

IMPORTERS = "etesian.importers"
"""Entry-point group of functions that take a path and keyword-only options and yield `Found` items."""

EXPORTERS = "etesian.exporters"
"""Entry-point group of functions that take stored runs and a path and return the number of runs written."""


def importer(name: str) -> Callable[..., Any]:
    """Load the importer registered under a name.

    Raises
    ------
    InputError
        If no importer has this name, or the package that offers it cannot be imported.
    """
    return _load(IMPORTERS, "importer", name)


def exporter(name: str) -> Callable[..., Any]:
    """Load the exporter registered under a name.

    Raises
    ------
    InputError
        If no exporter has this name, or the package that offers it cannot be imported.
    """
    return _load(EXPORTERS, "exporter", name)


def importer_names() -> list[str]:
    """Return the names of all registered importers, sorted."""
    return sorted(_points(IMPORTERS))


def exporter_names() -> list[str]:
    """Return the names of all registered exporters, sorted."""
    return sorted(_points(EXPORTERS))


def _points(group: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=group)}


def _load(group: str, role: str, name: str) -> Callable[..., Any]:
    points = _points(group)
    if name not in points:
        raise InputError(f"unknown {role} {name!r}; choose from {', '.join(sorted(points)) or 'none (none installed)'}")
    try:
        loaded: Callable[..., Any] = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{role} {name!r} ({points[name].value}) cannot be loaded: {error}") from error
    return loaded
