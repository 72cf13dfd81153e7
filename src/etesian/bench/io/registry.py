"""Importers and exporters by name, from the entry points of the installed packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etesian._shared.entry_points import extension_names, load_extension

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
    return load_extension(IMPORTERS, "importer", name)


def exporter(name: str) -> Callable[..., Any]:
    """Load the exporter registered under a name.

    Raises
    ------
    InputError
        If no exporter has this name, or the package that offers it cannot be imported.
    """
    return load_extension(EXPORTERS, "exporter", name)


def importer_names() -> list[str]:
    """Return the names of all registered importers, sorted."""
    return extension_names(IMPORTERS)


def exporter_names() -> list[str]:
    """Return the names of all registered exporters, sorted."""
    return extension_names(EXPORTERS)
