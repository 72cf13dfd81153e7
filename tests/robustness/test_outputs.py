"""A disk that fails at any step of any writer leaves the old file, no other, and a message that names the file."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import FIXTURES
from scipy import sparse

from etesian._shared import files
from etesian.bench import analyze, read_jsonl, write_jsonl
from etesian.bench.io import (
    write_benchopt,
    write_csv,
    write_dawnbench,
    write_github_action_benchmark,
    write_github_summary,
    write_parquet,
)
from etesian.bench.report import write_page
from etesian.bench.report.publish import publish
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.errors import StorageError
from etesian.sparse import inspect_conflicts
from etesian.sparse.io import load_model, save_model


class Disk:
    """Counts the steps of writing, and fails at one of them."""

    def __init__(self) -> None:
        self.steps, self.fail_at, self.code = 0, -1, errno.ENOSPC

    def step(self, path: object = None) -> None:
        """Fail if it is time."""
        self.steps += 1
        if self.steps - 1 == self.fail_at:
            raise OSError(self.code, os.strerror(self.code), path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Put a failing disk below the package: opening, writing, flushing, renaming and making folders."""
    found = Disk()

    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            found.step()
            return super().write(content)

    def fdopen(descriptor: int, mode: str, *, encoding: str | None = None, newline: str | None = None) -> Any:
        buffered = io.BufferedRandom(Raw(descriptor, "r+"))
        return io.TextIOWrapper(buffered, encoding, newline=newline) if encoding else buffered

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found.step(os.fspath(arguments[0]) if not isinstance(arguments[0], int) else None)
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(files.os, "fdopen", fdopen)
    for name in ("open", "fsync", "replace"):
        monkeypatch.setattr(files.os, name, counted(getattr(os, name)))
    for name in ("mkdir", "write_text", "rename"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    return found


@cache
def entries() -> list[Any]:
    return read_jsonl(FIXTURES / "runs.jsonl")


@cache
def analysis() -> Any:
    return analyze(entries())


@cache
def conflicts() -> Any:
    return inspect_conflicts(sparse.eye_array(3, format="csr"))


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model": ("m.npz", lambda path: save_model(load_model(FIXTURES / "words.npz"), path)),
    "ngram": ("n.npz", lambda path: NgramTable.load(FIXTURES / "ngram.npz").save(path)),
    "jsonl": ("r.jsonl", lambda path: write_jsonl(entries(), path)),
    "csv": ("r.csv", lambda path: write_csv(entries(), path)),
    "parquet": ("r.parquet", lambda path: write_parquet(entries(), path)),
    "benchopt": ("b.parquet", lambda path: write_benchopt(entries(), path)),
    "github-action-benchmark": ("g.json", lambda path: write_github_action_benchmark(entries(), path)),
    "github-summary": ("g.md", lambda path: write_github_summary(entries(), path)),
    "dawnbench": ("folder", lambda path: write_dawnbench(entries(), path)),
    "report": ("r.html", lambda path: write_page(analysis(), path, title="t")),
    "site": ("site", lambda path: publish(entries(), path, title="t")),
    "picture": ("p.svg", lambda path: conflicts().plot(path)),
}


def complaint_of(write: Callable[[Path], object], path: Path) -> str:
    try:
        write(path)
    except StorageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", WRITERS)
def test_failing_disk_leaves_the_old_file_and_names_the_new_one(tmp_path: Path, disk: Disk, kind: str) -> None:
    name, write = WRITERS[kind]
    is_folder = kind in ("dawnbench", "site")
    for folder in ("first", "good"):  # the first may compile, which writes to the cache of compiled code
        (tmp_path / folder).mkdir()
        disk.steps = 0
        write(tmp_path / folder / name)
    n_steps, n_failed = disk.steps, 0
    assert n_steps >= 5, "the disk is not below this writer"
    places = sorted({int(place) for place in np.linspace(0, n_steps - 1, 8)})
    for fail_at in places:
        (folder := tmp_path / str(fail_at)).mkdir()
        if not is_folder:
            (folder / name).write_text("old")
        disk.steps, disk.fail_at, disk.code = 0, fail_at, (errno.ENOSPC, errno.EACCES)[fail_at % 2]
        message = complaint_of(write, folder / name)
        disk.fail_at = -1
        if message:
            n_failed += 1
            assert name in message
            assert os.strerror(disk.code) in message
            left = sorted(path.name for path in folder.iterdir())
            assert left == ([name] if not is_folder else []) or kind == "site", left
            assert is_folder or (folder / name).read_text() == "old"
            assert not list(folder.rglob(".etesian-*"))
        else:
            assert (folder / name).exists()
            assert is_folder or (folder / name).read_bytes() != b"old"
    assert n_failed >= len(places) - 2  # flushing a folder only makes the renames durable, and may fail
