"""A cache of compiled code that never stops a program: a temporary one where numba finds no writable folder, or none.

Importing this module registers both. Packages with compiled loops import it before they compile anything.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import pickle
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba.core import caching

_NOWHERE = "/nonexistent/etesian-compiled"  # numba looks for cached code there, and finds none
_FAILURES = (OSError, EOFError, pickle.UnpicklingError)


class TemporaryLocator:
    """Place for compiled code in a folder of this process, which nobody else can write to, for numba's list of places.

    Parameters
    ----------
    source
        File with the source code of the function.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    @classmethod
    def from_function(cls, function: Any, source: str) -> TemporaryLocator:
        """Return the place for a function."""
        return cls(source)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return temporary_folder()

    def ensure_cache_path(self) -> None:
        """Do nothing: the folder exists, or nothing is cached."""

    def get_source_stamp(self) -> tuple[float, int]:
        """Return a value that differs when the source code has changed."""
        status = Path(self._source).stat() if Path(self._source).exists() else None
        return (0.0, 0) if status is None else (status.st_mtime, status.st_size)

    def get_disambiguator(self) -> str:
        """Return a text that differs between source files."""
        return hashlib.sha256(self._source.encode(errors="replace")).hexdigest()[:10]


@cache
def temporary_folder() -> str:
    """Make a folder that is removed at exit, with one note; return a place that does not exist if that fails."""
    try:
        folder = tempfile.mkdtemp(prefix="etesian-compiled-")
    except OSError:
        _note("no folder for compiled code is writable: functions are compiled anew in each process")
        return _NOWHERE
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _note(
        "the folder for compiled code is not writable: functions are compiled anew in each process; set NUMBA_CACHE_DIR to a "
        "writable folder"
    )
    return folder


@cache
def _note(text: str) -> None:
    """Log a line, which goes to standard error unless the program configures logging; each line once."""
    logging.getLogger("etesian").warning("note: %s", text)


def _without_cache_errors(access: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap numba's access to its cache, so that a full disk or a damaged file costs the cache and not the result."""

    def access_or_compile(self: Any, *arguments: Any) -> Any:
        try:
            return access(self, *arguments)
        except _FAILURES as error:
            if self.cache_path != _NOWHERE:
                reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
                _note(f"the cache of compiled code in {self.cache_path} cannot be used: {reason}")
            return None

    return access_or_compile


def _register() -> None:
    numba_caching: Any = caching
    places = numba_caching.FunctionCache._impl_class._locator_classes
    if TemporaryLocator not in places:
        places.append(TemporaryLocator)
        numba_caching.Cache.save_overload = _without_cache_errors(numba_caching.Cache.save_overload)
        numba_caching.Cache.load_overload = _without_cache_errors(numba_caching.Cache.load_overload)


_register()
