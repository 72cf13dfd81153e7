"""Reading a file takes at most three times the memory of the data that is kept, and hostile files take little."""

from __future__ import annotations

import gc
import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from etesian._shared.limits import raised_limits
from etesian.bench import Point, Run, StoredRun, Target
from etesian.bench.io import read_jsonl, write_jsonl
from etesian.errors import InputError
from etesian.sparse.io import Graph, LabeledRows, MalformedFileError, Triples, read_file

FIXED_BYTES = 20 << 20
"""Buffers whose size does not depend on the file."""

ROWS = 1_000_000


def peak_of(work: Callable[[], int]) -> tuple[int, int]:
    """Run `work` in a forked process; return the memory that it added at its peak, and its result, in bytes."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        result = work()
        os.write(writing, json.dumps([_status("VmHWM") - before, result]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        added, result = json.loads(file.read())
    os.waitpid(child, 0)
    return added, result


def _status(name: str) -> int:
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
    return int(line.split()[1]) << 10


def kept_bytes(contents: Any) -> int:
    """Return the size of the arrays of some contents."""
    if isinstance(contents, LabeledRows):
        arrays = [contents.X.data, contents.X.indices, contents.X.indptr, contents.y, contents.features]
    elif isinstance(contents, Graph):
        arrays = [contents.matrix.data, contents.matrix.indices, contents.matrix.indptr, contents.ids]
    else:
        assert isinstance(contents, Triples)
        arrays = [
            contents.first.codes,
            contents.first.names,
            contents.second.codes,
            contents.second.names,
            contents.value,
        ]
    return sum(array.nbytes for array in arrays if array is not None)


def write_ratings(path: Path) -> None:
    block = "".join(f"{k % 997},{k % 1009},{k % 5}.5\n" for k in range(10_000))
    path.write_text("user,item,rating\n" + block * (ROWS // 10_000))


def write_rows(path: Path) -> None:
    block = "".join(f"{k % 2} {1 + k % 90}:1.5 {100 + k % 90}:2 {200 + k % 90}:3\n" for k in range(10_000))
    path.write_text(block * (ROWS // 20_000))


def write_matrix(path: Path) -> None:
    indices = np.tile(np.arange(10, dtype=np.int32), ROWS // 5)
    matrix = sparse.csr_array(
        (np.ones(len(indices)), indices, np.arange(0, len(indices) + 1, 10)), shape=(ROWS // 5, 10)
    )
    sparse.save_npz(path, matrix, compressed=False)


def write_pattern(path: Path) -> None:
    block = "".join(f"{1 + k % 997} {1 + k % 1009}\n" for k in range(10_000))
    path.write_text(
        f"%%MatrixMarket matrix coordinate pattern general\n997 1009 {2 * ROWS}\n" + block * (ROWS // 5_000)
    )


def write_symmetric(path: Path) -> None:
    n = ROWS // 10
    lines = (f"{row + below} {row} 1.5" for row in range(1, n + 1) for below in range(1, 11))
    size = f"{n + 10} {n + 10} {10 * n}"
    path.write_text(f"%%MatrixMarket matrix coordinate real symmetric\n{size}\n" + "\n".join(lines) + "\n")


def write_dense(path: Path) -> None:
    path.write_text(f"%%MatrixMarket matrix array real general\n{ROWS // 500} 1000\n" + "1.5\n" * (2 * ROWS))


def write_graph(path: Path) -> None:
    """A ring in which each vertex also has edges to those up to four steps away."""
    n = ROWS // 5
    neighbors = (np.arange(n)[:, None] + [-4, -3, -2, -1, 1, 2, 3, 4]) % n + 1
    lines = (" ".join(f"{each} 3" for each in row) for row in neighbors.tolist())
    path.write_text(f"{n} {4 * n} 001\n" + "\n".join(lines) + "\n")


WRITERS = {
    "r.csv": write_ratings,
    "r.svm": write_rows,
    "m.npz": write_matrix,
    "p.mtx": write_pattern,
    "s.mtx": write_symmetric,
    "d.mtx": write_dense,
    "g.graph": write_graph,
}


@pytest.fixture(scope="module", autouse=True)
def readers_are_compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("small") / "a.graph"
    path.write_text("2 1\n2\n1\n")
    read_file(path, format="metis")


@pytest.mark.parametrize(("name", "write"), WRITERS.items())
def test_peak_memory_is_at_most_three_times_the_data(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    added, kept = peak_of(lambda: kept_bytes(read_file(tmp_path / name)))
    assert kept > 10 << 20
    assert added < 3 * kept + FIXED_BYTES, (added >> 20, kept >> 20)


def deep_size(found: object) -> int:
    """Return the size of an object and of all that it refers to, except classes."""
    seen, waiting, size = set[int](), [found], 0
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen.add(id(each))
            size += sys.getsizeof(each)
            waiting += gc.get_referents(each)
    return size


def test_peak_memory_of_a_long_run_is_at_most_three_times_the_record(tmp_path: Path) -> None:
    points = tuple(Point(k, float(k), {"loss": 1 / (1 + k)}) for k in range(100_000))
    run = Run("adam", 0, Target("loss", 0.0, "at_most"), "exhausted", points)
    write_jsonl([StoredRun("long", run)], tmp_path / "r.jsonl")
    kept = deep_size([StoredRun("long", run)])
    del points, run
    added, n_runs = peak_of(lambda: len(read_jsonl(tmp_path / "r.jsonl")))
    assert n_runs == 1
    assert added < 3 * kept + (10 << 20), (added >> 20, kept >> 20)


def refusal(read: Callable[[Path], object], path: Path) -> int:
    with pytest.raises(InputError, match=path.name):
        read(path)
    return 0


def test_small_files_that_grow_are_refused_in_little_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "line.svm.gz", "wb", 1) as file:
        for _ in range(200):
            file.write(b"0" * 1_000_000)
    (tmp_path / "index.svm").write_text("1 2147483647:1\n0 1:1\n")
    os.symlink("/dev/zero", tmp_path / "zero.jsonl")
    for name, read in {
        "line.svm.gz": lambda path: refusal(lambda each: read_file(each, format="libsvm"), path),
        "index.svm": lambda path: len(read_file(path).features),
        "zero.jsonl": lambda path: refusal(read_jsonl, path),
    }.items():
        added, _ = peak_of(lambda read=read, name=name: read(tmp_path / name))
        assert added < 400 << 20, (name, added >> 20)


def test_raised_limits_accept_longer_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etesian.sparse.io.source.LINE_BYTES", 1_000)
    monkeypatch.setattr("etesian.sparse.io.source.BLOCK", 500)
    (tmp_path / "a.svm").write_text("1 1:1\n1 " + " ".join(f"{k}:1" for k in range(1, 300)) + "\n")
    with pytest.raises(MalformedFileError, match=r"a.svm:2: .*1,000 bytes.*--limit-factor"):
        read_file(tmp_path / "a.svm")
    with raised_limits(3):
        assert read_file(tmp_path / "a.svm").X.shape == (2, 299)
    with pytest.raises(ValueError, match="at least 1; got 0"), raised_limits(0):
        pass
