"""A cache of compiled code that never stops a program and never returns outdated code.

Where numba finds no writable folder, the cache is temporary, or there is none. Compiled code contains the functions that it calls,
so it is outdated when its own file changes, or any module of this package that the file imports. Importing this module registers
all this. Packages with compiled loops import it before they compile anything.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import pickle
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

from numba.core import caching

_NOWHERE = "/nonexistent/etesian-compiled"  # numba looks for cached code there, and finds none
_PATIENCE = 2.0  # seconds of compilation after which a note is printed at a terminal
_FAILURES = (OSError, EOFError, pickle.UnpicklingError)
_PACKAGE = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^from +([\w.]+) +import +(?:\(([^)]*)\)|(.*))", re.MULTILINE)


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


class _Notice:
    """Prints one note at a terminal if functions take a while to compile."""

    def __init__(self) -> None:
        self._function: Any = None  # the outermost one that is being compiled
        self._timer = threading.Timer(0.0, _tell)

    def begin(self, function: Any) -> None:
        """Start the timer; `function` is the cache of the function that is about to be compiled."""
        if self._function is None and sys.stderr is not None and sys.stderr.isatty():
            self._function, self._timer = function, threading.Timer(_PATIENCE, _tell)
            self._timer.daemon = True
            self._timer.start()

    def end(self, function: Any) -> None:
        """Stop the timer, unless the compilation of another function started it."""
        if function is self._function:
            self._timer.cancel()
            self._function = None


def _tell() -> None:
    _note("functions are compiled for this processor at first use, which can take a minute; later runs start at once")


def _announced(load: Callable[..., Any], save: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Wrap numba's access to its cache: compilation begins where nothing was found, and ends where the result is kept."""
    notice = _Notice()

    @wraps(load)
    def load_or_begin(self: Any, *arguments: Any) -> Any:
        found = load(self, *arguments)
        if found is None:
            notice.begin(self)
        return found

    @wraps(save)
    def save_and_end(self: Any, *arguments: Any) -> Any:
        notice.end(self)
        return save(self, *arguments)

    return load_or_begin, save_and_end


@cache
def code_digest(source: Path, package: Path = _PACKAGE) -> str:
    """Return a digest of a file and of all modules of its package that it imports, directly or not."""
    found = imported_files(source, package)
    return hashlib.sha256("".join(found[file] for file in sorted(found)).encode()).hexdigest()


def imported_files(source: Path, package: Path = _PACKAGE) -> dict[Path, str]:
    """Return the digests of a file and of all modules of its package that it imports, directly or not."""
    found, waiting = dict[Path, str](), [source]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file], imported = _read(file, package)
            waiting += imported
    return found


@cache
def _read(file: Path, package: Path) -> tuple[str, list[Path]]:
    """Return the digest of a file, and the files of a package that it imports; `import package.module` is not used for them."""
    content, files = file.read_bytes(), list[Path]()
    for module, listed, alone in _IMPORT.findall(content.decode(errors="replace")):
        if module.partition(".")[0] == package.name:
            files += _files_of(module, listed or alone, package)
    return hashlib.sha256(content).hexdigest(), files


@cache
def _files_of(module: str, names: str, package: Path) -> list[Path]:
    """Return the file of a module, or those of a package and of the modules among the imported names."""
    place = package.parent.joinpath(*module.split("."))
    if place.is_dir():
        places = [place / f"{name}.py" for name in ("__init__", *re.findall(r"\w+", names))]
    else:
        places = [place.with_suffix(".py")]
    return [file for file in places if file.is_file()]


def _with_imports(stamp: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Extend numba's stamp of a source file by the modules of this package that the file imports."""

    def extended(self: Any) -> Any:
        source = Path(self._py_file).resolve()
        return (stamp(self), code_digest(source)) if _PACKAGE in source.parents else stamp(self)

    return extended


def _register() -> None:
    numba_caching: Any = caching
    places = numba_caching.FunctionCache._impl_class._locator_classes
    if TemporaryLocator not in places:
        places.append(TemporaryLocator)
        backed = numba_caching._SourceFileBackedLocatorMixin
        backed.get_source_stamp = _with_imports(backed.get_source_stamp)
        numba_caching.Cache.load_overload, numba_caching.Cache.save_overload = _announced(
            _without_cache_errors(numba_caching.Cache.load_overload),
            _without_cache_errors(numba_caching.Cache.save_overload),
        )


_register()
