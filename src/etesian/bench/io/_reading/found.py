"""What every importer gives: runs, and what it could not read. Walks the files; knows nothing of their formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etesian.bench.errors import InputError
from etesian.bench.io._reading.files import DAMAGES, files_below
from etesian.bench.record import StoredRun


@dataclass(frozen=True)
class Skipped:
    """A file, or a part of one, that should have been a run and could not be read.

    Parameters
    ----------
    path
        Where it is.
    reason
        What was wrong, with the number of the line where there is one.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A file that is no run: not one of the format by its name, or a description that runs can do without.

    Parameters
    ----------
    path
        Where it is.
    reason
        Why it was not read.
    """

    path: str
    reason: str = "is no file of this format, by its name"


Found = StoredRun | Skipped | Ignored
"""What importers give, one after the other: nothing of what lies below a path is left unmentioned."""


def read_each(
    path: str | Path,
    read: Callable[[Path], Iterable[Found]],
    *,
    is_candidate: Callable[[Path], bool],
    sought: str,
) -> Iterator[Found]:
    """Read a file, or each candidate in a folder in sorted order; what cannot be read is skipped with its reason.

    Parameters
    ----------
    path
        A file, which is a candidate by whatever name, or a folder.
    read
        Gives the runs of one file; its errors make the file skipped.
    is_candidate
        Whether a file in a folder is to be read.
    sought
        What candidates look like, for the message if there is none.

    Raises
    ------
    InputError
        If there is no such path, or no candidate in the folder.
    """
    path = Path(path)
    files = {file: file == path or is_candidate(file) for file in files_below(path)}
    if not any(files.values()):
        raise InputError(f"the folder {path} holds no {sought}")
    for file, is_sought in files.items():
        if is_sought:
            yield from _read_one(file, read)
        else:
            yield Ignored(printable(str(file)))


def attempt(path: str, read: Callable[[], Iterable[Found]]) -> Iterator[Found]:
    """Give what `read` gives; an error in it becomes the reason for which `path` is skipped."""
    try:
        yield from read()
    except InputError:
        raise
    except DAMAGES as error:
        yield Skipped(printable(path), reason_of(error))


def reason_of(error: BaseException) -> str:
    """Write in one line why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    """Replace what terminals and databases cannot take: control characters, and bytes of names that are not UTF-8."""
    clean = text.encode(errors="replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in clean)


def _read_one(file: Path, read: Callable[[Path], Iterable[Found]]) -> Iterator[Found]:
    return attempt(str(file), lambda: read(file))
