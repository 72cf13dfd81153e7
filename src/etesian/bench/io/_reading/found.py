"""Items that importers yield (runs, skipped and ignored files), and the walk over files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etesian.bench.errors import InputError
from etesian.bench.io._reading.files import DAMAGES, files_below
from etesian.bench.record import StoredRun


@dataclass(frozen=True)
class Skipped:
    """A file or a part of one that could not be read as a run.

    Parameters
    ----------
    path
        The file, or the place in it.
    reason
        Reason and, where possible, the number of the line.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A file without runs: its name does not match the format, or it only describes runs.

    Parameters
    ----------
    path
        The file.
    reason
        Reason for not reading it.
    """

    path: str
    reason: str = "does not match this format by its name"


Found = StoredRun | Skipped | Ignored
"""Item that an importer yields; every file below a path is accounted for by one."""


def read_each(
    path: str | Path,
    read: Callable[[Path], Iterable[Found]],
    *,
    is_candidate: Callable[[Path], bool],
    sought: str,
) -> Iterator[Found]:
    """Read a file, or each candidate in a folder in sorted order; files that cannot be read are skipped with the reason.

    Parameters
    ----------
    path
        A file with any name, or a folder.
    read
        Function that yields the runs of one file. If it raises an error, the file is skipped.
    is_candidate
        Function that returns True for files of a folder that should be read.
    sought
        Description of the candidates, for the message if there is none.

    Raises
    ------
    InputError
        If the path does not exist, or the folder holds no candidate.
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
    """Yield the items of `read`; an error in it becomes the reason for skipping `path`."""
    try:
        yield from read()
    except InputError:
        raise
    except DAMAGES as error:
        yield Skipped(printable(path), reason_of(error))


def reason_of(error: BaseException) -> str:
    """Describe in one line why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    """Replace control characters and invalid bytes, which terminals and databases cannot hold."""
    clean = text.encode(errors="replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in clean)


def _read_one(file: Path, read: Callable[[Path], Iterable[Found]]) -> Iterator[Found]:
    return attempt(str(file), lambda: read(file))
