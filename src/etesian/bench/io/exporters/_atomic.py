"""Files and folders that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from etesian.bench.errors import InputError


@contextmanager
def written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file to write; it takes its name, and the place of a file of that name, when the block ends without an error.

    Raises
    ------
    InputError
        If the folder to write to does not exist.
    """
    path = Path(path)
    _check_folder_of(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Give a folder to fill; it takes its name when the block ends without an error.

    Raises
    ------
    InputError
        If there is something at that path, or the folder around it does not exist.
    """
    path = Path(path)
    _check_folder_of(path)
    if path.exists():
        raise InputError(f"the folder to write must be a new one; there is something at {path}")
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_folder_of(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"the folder to write to must exist; there is no {path.parent}")


def _umask() -> int:
    mask = os.umask(0)  # there is no way to read it but to set it
    os.umask(mask)
    return mask
