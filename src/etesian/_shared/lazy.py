"""Names of a package that are imported at first use, because their modules are slow to import or need an extra."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str], *, modules: Collection[str] = ()) -> Callable[[str], Any]:
    """Return a function for ``__getattr__`` of a package.

    Parameters
    ----------
    package
        Name of the package, ``__name__``.
    homes
        Modules that define the names, relative to the package.
    modules
        Modules of the package that are names themselves.
    """

    def find(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
