"""An archive with millions of entries is refused by every reader before its directory is read."""

import io
import tracemalloc
import zipfile

import pytest

from etesian._shared.archives import open_archive
from etesian._shared.arrays import ArrayFileError, read_arrays
from etesian._shared.limits import raised_limits
from etesian.bench.io import Skipped, read_csv
from etesian.errors import InputError
from etesian.sparse.io import read_file

ENTRIES = 80_000


@pytest.fixture(scope="module")
def crowded():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(ENTRIES):
            archive.writestr(f"{number:020}.npy", b"")
    return content.getvalue()


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(error, read, *arguments):
    with pytest.raises(error, match="directory takes"):
        read(*arguments)


def test_crowded_archive_of_arrays_is_refused_without_memory(crowded):
    assert peak_of(lambda: refused(ArrayFileError, read_arrays, io.BytesIO(crowded))) < 1 << 20


@pytest.mark.parametrize("name", ["r.csv.zip", "r.npz", "r.svm.zip"])
def test_crowded_archive_of_data_is_refused_without_memory(crowded, tmp_path, name):
    (tmp_path / name).write_bytes(crowded)
    assert peak_of(lambda: refused(InputError, read_file, tmp_path / name)) < 16 << 20


def test_crowded_archive_of_runs_is_refused_without_memory(crowded, tmp_path):
    (tmp_path / "runs.csv.zip").write_bytes(crowded)
    found = []
    assert peak_of(lambda: found.extend(read_csv(tmp_path / "runs.csv.zip"))) < 16 << 20
    assert [type(each) for each in found] == [Skipped]
    assert "directory takes" in found[0].reason


def test_crowded_archive_is_opened_with_raised_limits(crowded):
    with raised_limits(2), open_archive(io.BytesIO(crowded)) as archive:
        assert len(archive.namelist()) == ENTRIES


def test_members_larger_than_the_limit_of_the_directory_are_read():
    content, data = io.BytesIO(), bytes(9 << 20)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", data)
        archive.comment = b"comment" * 1_000
    assert open_archive(content).read("a") == data
