"""Matrix Market files give the matrix that scipy reads, in blocks of any size, and errors name the line."""

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmread

from etesian.sparse.io import MalformedFileError, read_file, source

SYMMETRIES = ("general", "symmetric", "skew-symmetric")


def random_matrix(symmetry, seed, n=9):
    matrix = np.where((rng := np.random.default_rng(seed)).random((n, n)) < 0.4, rng.normal(size=(n, n)), 0)
    matrix[3, 1] = 2.5
    return {"general": matrix, "symmetric": matrix + matrix.T, "skew-symmetric": matrix - matrix.T}[symmetry]


def lines_of(matrix, layout, symmetry):
    """Write the entries as the format's description says; scipy's writer has no dense skew-symmetric files."""
    first = {
        "general": lambda column: 0,
        "symmetric": lambda column: column,
        "skew-symmetric": lambda column: column + 1,
    }
    cells = [(r, c) for c in range(len(matrix)) for r in range(first[symmetry](c), len(matrix))]
    if layout == "array":
        return [f"{len(matrix)} {len(matrix)}"] + [repr(float(matrix[cell])) for cell in cells]
    entries = [
        f"{r + 1} {c + 1} {matrix[r, c]!r}".replace("np.float64(", "").rstrip(")") for r, c in cells if matrix[r, c]
    ]
    return [f"{len(matrix)} {len(matrix)} {len(entries)}", *entries]


def matrix_of(read, n):
    rows, columns = read.first.values() - 1, read.second.values() - 1
    return sparse.coo_array((read.value, (rows, columns)), shape=(n, n)).toarray()


@pytest.mark.parametrize("block", [30, 1 << 20])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("layout", ["coordinate", "array"])
def test_matrices_are_those_that_scipy_reads(tmp_path, monkeypatch, layout, symmetry, block):
    monkeypatch.setattr(source, "BLOCK", block)
    matrix = random_matrix(symmetry, seed=len(layout + symmetry))
    lines = [f"%%MatrixMarket matrix {layout} real {symmetry}", "% a comment", *lines_of(matrix, layout, symmetry)]
    (tmp_path / "m.mtx").write_text("\n".join(lines) + "\n")
    read = read_file(tmp_path / "m.mtx")
    peer = mmread(tmp_path / "m.mtx")
    assert np.array_equal(matrix_of(read, len(matrix)), peer.toarray() if sparse.issparse(peer) else peer)
    assert np.array_equal(matrix_of(read, len(matrix)), matrix)


@pytest.mark.parametrize(
    ("banner", "size", "entry", "complaint"),
    [
        ("coordinate real general", "9 9 60", "1 10 5", "the column must be a whole number from 1 to 9; got 10"),
        ("coordinate real general", "9 9 60", "1.5 1 5", "the row must be a whole number from 1 to 9; got 1.5"),
        ("coordinate real general", "9 9 60", "1 1", "an entry must have 3 numbers; this line has 2"),
        ("coordinate real general", "9 9 60", "1 1 nan", "must contain finite real numbers"),
        ("coordinate real general", "9 9 60", "1 1 x", "'x' is not a number"),
        ("coordinate pattern symmetric", "9 9 60", "1 1 5", "an entry must have 2 numbers; this line has 3"),
        ("array real general", "6 10", "inf", "must contain finite real numbers"),
    ],
)
def test_the_first_malformed_line_is_named(tmp_path, monkeypatch, banner, size, entry, complaint):
    monkeypatch.setattr(source, "BLOCK", 100)
    good = {"coordinate real general": "1 1 5", "coordinate pattern symmetric": "1 1", "array real general": "5"}[
        banner
    ]
    entries = [good] * 60
    entries[40] = entry
    (tmp_path / "m.mtx").write_text(f"%%MatrixMarket matrix {banner}\n\n% c\n{size}\n" + "\n".join(entries))
    with pytest.raises(MalformedFileError, match=complaint) as found:
        read_file(tmp_path / "m.mtx")
    assert found.value.line == 45


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("matrix array pattern general\n2 2\n", "write 'coordinate', not 'array'"),
        ("matrix coordinate real odd\n2 2 1\n", "'odd' must be one of general, symmetric"),
        ("matrix coordinate real symmetric\n2 3 1\n1 1 1\n", "a symmetric matrix must be square; got '2 3 1'"),
        ("matrix coordinate real general\n9007199254740993 1 1\n1 1 1\n", "the size line must be"),
    ],
)
def test_unusable_headers_are_refused(tmp_path, text, complaint):
    (tmp_path / "m.mtx").write_text(f"%%MatrixMarket {text}")
    with pytest.raises(MalformedFileError, match=complaint):
        read_file(tmp_path / "m.mtx")


def test_repeated_entries_are_summed_as_in_scipy(tmp_path):
    path = tmp_path / "repeated.mtx"
    path.write_text("%%MATRIXMARKET MATRIX COORDINATE REAL GENERAL\n2 2 4\n1 1 2\n1 1 2\n2 2 1\n1 2 3\n")
    read = read_file(path)
    assert sorted(zip(read.first.values(), read.second.values(), read.value, strict=True)) == [
        (1, 1, 4),
        (1, 2, 3),
        (2, 2, 1),
    ]
