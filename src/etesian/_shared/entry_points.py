"""Extensions of other packages, registered as entry points: found by group and name, and loaded at first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from etesian.errors import InputError


def extension_names(group: str) -> list[str]:
    """Return the names that are registered in a group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def find_extension(group: str, role: str, name: str) -> Callable[..., Any] | None:
    """Load the function registered under a name; None if there is none.

    Parameters
    ----------
    group
        Entry-point group, such as ``"etesian.drafters"``.
    role
        Noun for messages, such as ``"drafter"``.
    name
        Name of the entry point.

    Raises
    ------
    InputError
        If several packages register the name, or the package that registers it cannot be imported.
    """
    places = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not places:
        return None
    if len(places) > 1:
        raise InputError(f"{role} {name!r} is registered more than once: {', '.join(sorted(places))}; remove a package")
    ((place, entry),) = places.items()
    try:
        loaded: Callable[..., Any] = entry.load()
    except Exception as error:  # importing a package runs code of others, which may raise anything
        raise InputError(f"{role} {name!r} ({place}) cannot be imported: {_in_one_line(error)}") from error
    return loaded


def load_extension(group: str, role: str, name: str) -> Callable[..., Any]:
    """Load the function registered under a name; as `find_extension`, and an unknown name is an `InputError` too."""
    found = find_extension(group, role, name)
    if found is None:
        known = ", ".join(extension_names(group)) or "none (none is installed)"
        raise InputError(f"unknown {role} {name!r}; choose from {known}")
    return found


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
