"""Suites from Python files, or from entry points of the group ``etesian.workloads``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from etesian._shared.entry_points import extension_names, load_extension
from etesian.bench.errors import InputError
from etesian.bench.workload import Suite, Workload

GROUP = "etesian.workloads"
"""Entry points of this group refer to functions without arguments that return a `Suite`."""


def load_suite(source: str) -> Suite:
    """Load a suite.

    Parameters
    ----------
    source
        Path of a Python file that ends in ``.py``, or a name among `known_names`.

    Raises
    ------
    InputError
        If the file or name does not exist, or defines no suite.
    """
    offered = _suite_of_file(Path(source)) if source.endswith(".py") else _installed_suite(source)
    try:
        suite = offered() if callable(offered) else offered
    except InputError:
        raise  # its message is complete
    except Exception as error:
        raise InputError(f"the suite of {source} cannot be made: {_in_one_line(error)}") from error
    if not isinstance(suite, Suite):
        raise InputError(f"`suite` of {source} must be a Suite or a function that returns one; got {suite!r}")
    return suite


def load_workload(source: str, name: str) -> Workload:
    """Load a suite and return one of its workloads, in its initial state."""
    return next(workload for workload in load_suite(source).workloads if workload.name == name)


def known_names() -> list[str]:
    """Return the names of the suites of installed packages."""
    return extension_names(GROUP)


def _installed_suite(name: str) -> object:
    if name not in known_names():
        known = ", ".join(known_names()) or "none is installed"
        raise InputError(f"no suite is named {name!r}; known: {known}; or give a file that ends in .py")
    return load_extension(GROUP, "suite", name)


def _suite_of_file(path: Path) -> object:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    module = _import_file(path)
    if not hasattr(module, "suite"):
        raise InputError(f"{path} must define `suite`, a Suite or a function that returns one; it does not")
    return module.suite


def _import_file(path: Path) -> ModuleType:
    """Import the file as a module, with its folder on the path, like a script."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"etesian_suite_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # required by dataclasses and pickle
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path} cannot be loaded: {_in_one_line(error)}") from error
    return module


def _in_one_line(error: Exception) -> str:
    """Format type, message and innermost line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"
