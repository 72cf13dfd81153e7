"""Atomic output: files and folders that appear complete or not at all, even after an error or a crash."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from etesian.errors import InputError, OutputError, StorageError

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a disk that is full, failing or read-only, or of a folder without permission."""
_READ_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", *, make_parents: bool = False) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` only when the block ends without an exception.

    The content goes to a new file with a random name in the same folder, which is flushed to the disk and then renamed. After
    an exception the new file is removed and an old file at `path` is untouched. The permissions follow the umask. A symbolic
    link at `path` is replaced, not followed. Devices and pipes, such as ``/dev/null``, are written directly.

    Parameters
    ----------
    path
        The file to write.
    mode : {"wb", "w"}
        Binary, or text in UTF-8 without newline translation.
    make_parents
        Create missing parent folders.

    Yields
    ------
    file
        Open for writing and reading, seekable unless `path` is a device or pipe.

    Raises
    ------
    OutputError
        If the file cannot be written: no such folder, or `path` is a folder.
    StorageError
        If the disk is full or failing, or the folder is read-only.
    """
    target = Path(path)
    if make_parents:
        _make_parents(target)
    check_output(target)
    encoding, newline = ("utf-8", "") if mode == "w" else (None, None)
    if _is_device(target):
        with _named_errors(target), open(target, mode, encoding=encoding, newline=newline) as file:
            yield file
        return
    temporary = _beside(target)
    with _named_errors(target, temporary):
        descriptor = os.open(temporary, _NEW_FILE, 0o666)
        try:
            with os.fdopen(descriptor, f"{mode}+", encoding=encoding, newline=newline) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _flush_folder(target.parent)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, make_parents: bool = False) -> Iterator[Path]:
    """Create a folder to fill that takes the name `path` only when the block ends without an exception.

    Parameters
    ----------
    path
        The folder to create. Nothing may exist under this name.
    make_parents
        Create missing parent folders.

    Yields
    ------
    folder : pathlib.Path
        An empty folder with a random name beside `path`.

    Raises
    ------
    OutputError
        If something exists at `path`, or the folder or a file in it cannot be written.
    """
    target = Path(path)
    if make_parents:
        _make_parents(target)
    if os.path.lexists(target):
        raise OutputError(f"the folder to write must be new; {target} already exists")
    _check_parent(target)
    temporary = _beside(target)
    with _named_errors(target, temporary):
        temporary.mkdir()
        try:
            yield temporary
            _flush_tree(temporary)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _flush_folder(target.parent)


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise an `OutputError` if a file obviously cannot be written, before the work that would fill it starts.

    Parameters
    ----------
    path
        The file to write. Its folder must exist and be writable, and it must not be a folder itself.
    """
    target = Path(path)
    with _named_errors(target):
        if target.is_dir():
            raise OutputError(f"{target} cannot be written: it is a folder; give the name of a file")
        _check_parent(target)
        if not _is_device(target) and not os.access(target.parent, os.W_OK | os.X_OK):
            raise StorageError(f"{target} cannot be written: the folder {target.parent} is read-only")


def _check_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"{target} cannot be written: there is no folder {target.parent}; create it first")


def _make_parents(target: Path) -> None:
    with _named_errors(target, target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)


def _beside(target: Path) -> Path:
    return target.parent / f".etesian-{secrets.token_hex(8)}"


def _is_device(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def _named_errors(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn operating-system errors of the output into an `OutputError` that names the file; let others pass."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        ours = (None, str(target), str(temporary))
        named = None if error.filename is None else os.fspath(error.filename)
        if named not in ours and not (temporary is not None and Path(str(named)).is_relative_to(temporary)):
            raise
        kind = StorageError if error.errno in STORAGE_ERRORS else OutputError
        raise kind(f"{target} cannot be written: {error.strerror or error}") from error


def _flush_folder(folder: Path) -> None:
    """Make a rename durable. Some file systems cannot flush folders; the file is complete there all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, _READ_FOLDER)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _flush_folder(Path(place))
