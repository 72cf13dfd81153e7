"""Files are read back as they were written; an error names the malformed line, compressed or not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

from etesian.errors import InputError
from etesian.sparse.io import MalformedFileError, Sentences, detect_format, graph_of, read_file, source
from etesian.sparse.io.source import Source

DATA = Path(__file__).parents[4] / "shared" / "data"
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
COMPRESSIONS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def random_rows(seed, n=30, n_features=12):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, n_features)) < 0.2, rng.normal(size=(n, n_features)), 0)
    X[0, 0] = X[0, -1] = 1.0
    return sparse.csr_array(X), rng.normal(size=n)


def random_graph(seed, n=20):
    upper = sparse.triu(sparse.random_array((n, n), density=0.2, rng=np.random.default_rng(seed)), k=1)
    upper.data = np.ceil(upper.data * 9)
    return sparse.csr_array(upper + upper.T)


def metis_text(graph, *, weighted=True, vertex_weights=0, comments=False):
    """A graph as its manual says, vertex by vertex."""
    fmt = f"0{int(vertex_weights > 0)}{int(weighted)}"
    lines = ["% made for a test"] * comments + [f"{graph.shape[0]} {graph.nnz // 2} {fmt} {vertex_weights or ''}"]
    for row in range(graph.shape[0]):
        found = slice(graph.indptr[row], graph.indptr[row + 1])
        pairs = zip(graph.indices[found], graph.data[found], strict=True)
        fields = ["7"] * vertex_weights + [f"{v + 1} {w:.0f}" if weighted else f"{v + 1}" for v, w in pairs]
        lines += ["% and on"] * comments + [" ".join(fields)]
    return "\n".join(lines) + "\n\n"


def triples_of(read):
    return list(zip(read.first.values().tolist(), read.second.values().tolist(), read.value.tolist(), strict=True))


def is_equal(a, b):
    return a.shape == b.shape and (a != b).nnz == 0


def read_to_the_end(path, **options):
    found = read_file(path, **options)
    return list(found) if isinstance(found, Sentences) else found


def complaint_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_to_the_end(path, **options)
    return caught.value


# Files are read back as they were written.


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("comment", [None, "two\nlines"])
def test_libsvm_files_of_scikit_learn_are_read(tmp_path, compression, zero_based, comment):
    X, y = random_rows(0)
    written = io.BytesIO()
    query = np.arange(len(y))
    dump_svmlight_file(X, y, written, zero_based=zero_based, comment=comment, query_id=query)
    (tmp_path / "rows").write_bytes(COMPRESSIONS[compression](written.getvalue()))
    read = read_file(tmp_path / "rows")
    first_index = 0 if zero_based else 1
    assert (read.features - first_index).tolist() == np.flatnonzero(X.sum(axis=0)).tolist()
    np.testing.assert_allclose(read.among(first_index + np.arange(12)).toarray(), X.toarray(), rtol=1e-15)
    np.testing.assert_allclose(read.y, y, rtol=1e-15)


@given(
    rows=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 50), st.floats(-1e9, 1e9)), min_size=2, max_size=20),
    delimiter=st.sampled_from([",", ";", "::", "\t", "|", "   "]),
    header=st.booleans(),
    block=st.integers(5, 100),
)
@few
def test_ratings_are_read_back(tmp_path, monkeypatch, rows, delimiter, header, block):
    monkeypatch.setattr(source, "BLOCK", block)
    lines = ["user,item,rating,when".replace(",", delimiter)] * header
    lines += [delimiter.join([str(user), str(item), repr(rating), "soon"]) for user, item, rating in rows]
    (tmp_path / "ratings").write_text("\n".join(lines))
    read = read_file(tmp_path / "ratings", format="ratings")
    assert triples_of(read) == [(str(user), str(item), rating) for user, item, rating in rows]


def test_ratings_with_text_ids_and_quotes_are_read_back(tmp_path):
    rows = [("ann", "Heat, 1995", 4.0), ("bob", 'the "best"', 3.5), ("ann", "12", 1.0)]
    with open(tmp_path / "ratings", "w", newline="") as file:
        csv.writer(file).writerows([("reader", "book", "score"), *rows])
    assert triples_of(read_file(tmp_path / "ratings")) == rows


@pytest.mark.parametrize("options", [{}, {"weighted": False}, {"vertex_weights": 2}, {"comments": True}])
@pytest.mark.parametrize("seed", range(5))
def test_metis_graph_is_read_back(tmp_path, seed, options):
    graph = random_graph(seed)
    if not options.get("weighted", True):
        graph.data[:] = 1
    (tmp_path / "mesh.graph").write_text(metis_text(graph, **options))
    assert is_equal(read_file(tmp_path / "mesh.graph").matrix, graph)


def test_metis_graph_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK", 60)
    graph = random_graph(6, n=40)
    text = metis_text(graph, vertex_weights=1, comments=True)
    (tmp_path / "mesh.graph").write_text(text)
    assert is_equal(read_file(tmp_path / "mesh.graph").matrix, graph)
    lines = text.split("\n")
    for vertex in range(40):
        number = 3 + 2 * vertex  # each line of a vertex comes after a comment
        wrong = [*lines[:number], f"{lines[number]} {vertex + 1} 1", *lines[number + 1 :]]
        (tmp_path / "mesh.graph").write_text("\n".join(wrong))
        with pytest.raises(MalformedFileError, match=rf":{number + 1}: a vertex cannot be its own neighbor"):
            read_file(tmp_path / "mesh.graph")


def test_edges_make_a_graph_in_one_or_both_directions(tmp_path):
    graph = random_graph(3)
    graph = graph[graph.sum(axis=1) > 0][:, graph.sum(axis=0) > 0]
    u, v = graph.nonzero()
    both_ways = "\n".join(f"{a} {b} {w:.0f}" for a, b, w in zip(u, v, graph.data, strict=True))
    once = "\n".join(f"{a} {b} {w:.0f}" for a, b, w in zip(u, v, graph.data, strict=True) if a < b)
    for text in (both_ways, once):
        (tmp_path / "edges").write_text(text)
        assert is_equal(graph_of(read_file(tmp_path / "edges")).matrix, graph)


def test_edge_from_a_vertex_to_itself_counts_once(tmp_path):
    (tmp_path / "edges").write_text("1 1 5\n1 3 2\n3 1 7\n")
    graph = graph_of(read_file(tmp_path / "edges"))
    assert graph.matrix.toarray().tolist() == [[5, 7], [7, 0]]
    assert graph.ids.tolist() == [1, 3]


def test_npz_files_of_scipy_are_read_with_labels(tmp_path):
    X, y = random_rows(1)
    for matrix in (X, X.tocoo(), X.tocsc(), sparse.csr_matrix(X)):
        sparse.save_npz(tmp_path / "a.npz", matrix)
        read = read_file(tmp_path / "a.npz")
        assert is_equal(read.among(np.arange(12)), X)
    np.savez(tmp_path / "b.npz", X=X.toarray(), y=y)
    np.savez(tmp_path / "c.npz", data=X.data, indices=X.indices, indptr=X.indptr, shape=X.shape, format="csr", y=y)
    for name in "bc":
        read = read_file(tmp_path / f"{name}.npz")
        assert is_equal(read.among(np.arange(12)), X)
        assert read.y.tolist() == y.tolist()


# Errors name the mistake and its line.

GOOD = {
    "libsvm": ["1 1:2 3:4", "-1 2:1.5", "1"],
    "ratings": ["user,item,rating", "1,2,3.5", "2,3,4", "3,2,1"],
    "edges": ["# a comment", "1 2 {}", "2 3", "3 1"],
    "text": ["the cat sat", "on the mat"],
}
BAD = {
    "libsvm": [
        ("1 1:2 3", "features must be written index:value, with a finite value; got '3'"),
        ("1 1:nan", "features must be written index:value, with a finite value; got '1:nan'"),
        ("1 3:1 2:1", "indices must ascend; 2 comes after 3"),
        ("1 2:1 2:1", "indices must ascend; 2 comes after 2"),
        ("1 -1:1", "indices must be whole numbers from 0 to 2,147,483,647; got '-1'"),
        ("1 99999999999:1", "got '99999999999'"),
        ("one 1:1", "a line must begin with a number, the label; got 'one'"),
        ("1,2 1:1", "a line must begin with a number, the label; got '1,2'"),
        ("inf 1:1", "a line must begin with a number, the label; got 'inf'"),
    ],
    "ratings": [
        ("1,2", "has 2 columns; every row must have 3, like the first"),
        ("1,2,3,4", "has 4 columns; every row must have 3, like the first"),
        ("1,,3", "the item is empty"),
        (" ,2,3", "the user is empty"),
        ("1,2,", "the rating must be a finite number; got ''"),
        ("1,2,nan", "the rating must be a finite number; got 'nan'"),
        ("1,2,1_000", "the rating must be a finite number; got '1_000'"),
        (f"1,{'2' * 1_001},3", "the item is longer than 1,000 characters"),
        (b"1,caf\xe9,3", "is not UTF-8: convert the file"),
        (b"1,2\0,3", "contains a zero byte"),
    ],
    "edges": [
        ("1", "has 1 columns; every row must have 2, like the first"),
        ("1 2 3", "has 3 columns; every row must have 2, like the first"),
        ("1 2 {'weight': 3}", "has 4 columns; every row must have 2, like the first"),
    ],
    "text": [(b"caf\xe9 au lait", "is not UTF-8: convert the file")],
}
MALFORMED = [(name, line, complaint) for name, lines in BAD.items() for line, complaint in lines]


@pytest.mark.parametrize("compression", ["plain", "gzip"])
@pytest.mark.parametrize(("name", "line", "complaint"), MALFORMED)
def test_error_names_the_malformed_line(tmp_path, monkeypatch, name, line, complaint, compression):
    monkeypatch.setattr(source, "BLOCK", 100)
    good = [text.encode() for text in GOOD[name]] * 20
    good = [text for number, text in enumerate(good) if number == 0 or not text.startswith((b"user", b"#"))]
    good.insert(37, line if isinstance(line, bytes) else line.encode())
    (tmp_path / "file").write_bytes(COMPRESSIONS[compression](b"\n".join(good) + b"\n"))
    error = complaint_of(tmp_path / "file", format=name)
    assert isinstance(error, MalformedFileError)
    assert str(error).startswith(f"{tmp_path / 'file'}:38: ")
    assert complaint in str(error)


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("3 2\n2\n1 3\n2\n", None, None),
        ("% c\n3 2\n2\n1 3\n\n", 4, "an edge must be listed at both endpoints"),
        ("3 2\n2\n1 3\n4\n", 4, "neighbors must be whole numbers from 1 to 3"),
        ("3 2\n2\n1 3 0\n2\n", 3, "neighbors must be whole numbers from 1 to 3"),
        ("3 2\n2\n1 2 3\n2\n", 3, "a vertex cannot be its own neighbor"),
        ("3 2\n2 2\n1 3 1\n2\n", 2, "lists a neighbor twice"),
        ("3 2\n2\n1 3\n", 3, "promises 3 vertices, a line each; this is line 2 of them and the last"),
        ("3 2\n2\n1 3\n2\n1\n", 5, "promises 3 vertices, a line each; this is line 4 of them"),
        ("3 2 001\n2 5\n1 5 3\n2 1\n", 3, "pairs of neighbor and weight"),
        ("3 2 001\n2 5\n1 6 3 1\n2 1\n", 2, "with the same weight"),
        ("3 2 001\n2 5\n1 5 3 -1\n2 -1\n", 3, "weights of edges must be above 0"),
        ("3 2 010 2\n2\n1 3\n2\n", 2, "needs 2 numbers of the vertex"),
        ("3 2 021\n2\n1 3\n2\n", 1, "the format must be three digits 0 or 1; got 021"),
        ("3\n2\n1 3\n2\n", 1, "begins with its numbers of vertices and edges"),
        ("3 3\n2\n1 3\n2\n", None, "promises 3 edges; there are 2"),
        ("99999999999 2\n2\n1\n", 3, "promises 99,999,999,999 vertices"),
    ],
)
def test_metis_graph_is_checked(tmp_path, text, line, complaint):
    path = tmp_path / "a.graph"
    path.write_text(text)
    if complaint is None:
        assert read_file(path, format="metis").matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
        return
    error = complaint_of(path, format="metis")
    assert complaint in str(error)
    assert getattr(error, "line", None) == line


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"a": [1]}, "holds the arrays a; it must contain"),
        ({"X": [[1.0, np.nan]]}, "the matrix must contain finite numbers"),
        ({"X": [1.0]}, "X must be real numbers of shape (n_rows, n_features)"),
        ({"X": [[1.0]], "y": [1, 2]}, "y must have shape (1,)"),
        ({"X": np.array([[None]])}, "holds pickled objects"),
        ({"user": [1], "item": [1, 2], "rating": [1]}, "must have equal lengths"),
        (
            {"data": [1.0], "indices": [7], "indptr": [0, 1], "shape": [1, 2], "format": "csr"},
            "does not contain a valid sparse matrix",
        ),
        (
            {"data": [1.0], "indices": [-1], "indptr": [0, 1], "shape": [1, 2], "format": "csr"},
            "does not contain a valid sparse matrix",
        ),
        (
            {"data": [1.0], "indices": [0], "indptr": [0, 9], "shape": [1, 2], "format": "csr"},
            "does not contain a valid sparse matrix",
        ),
    ],
)
def test_npz_is_checked(tmp_path, arrays, complaint):
    np.savez(tmp_path / "a.npz", **arrays)
    assert complaint in str(complaint_of(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x7fELF\0\0", "is a binary file"),
        (gzip.compress(b"1 1:1\n" * 50_000)[:-20], "is cut off or damaged"),
        (b"PK\x03\x04 and then nothing", "is cut off or damaged"),
    ],
)
def test_file_without_data_is_refused(tmp_path, content, complaint):
    (tmp_path / "a").write_bytes(content)
    assert complaint in str(complaint_of(tmp_path / "a"))


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "cannot be read: No such file" in str(complaint_of(tmp_path / "none"))
    assert "cannot be read: Is a directory" in str(complaint_of(tmp_path))


def test_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "a").write_text("1,2,3\n1,3,4\n")
    error = complaint_of(tmp_path / "a", accepted=("libsvm", "npz"))
    assert "looks like ratings (rows of user, item, rating (CSV)); accepted are libsvm" in str(error)
    with pytest.raises(ValueError, match="format must be 'libsvm'; got 'text'"):
        read_file(tmp_path / "a", format="text", accepted=("libsvm",))


# Formats by content, and notes.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 1:2\n-1\n", "libsvm"),
        ("# c\n-1\n-1\n-1 qid:3 4:1\n", "libsvm"),
        ("userId,movieId,rating\n1,2,3\n", "ratings"),
        ("1,2,3\n1,2\n1,3,4\n", "ratings"),
        ("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "ratings"),
        ("1::1193::5::978300760\n1::661::3::978302109\n", "ratings"),
        ("ann;Heat;3.5\nbob;Heat;2\n", "ratings"),
        ("# SNAP\n0\t1\n0\t2\n", "edges"),
        ("1 2 {}\n2 3 {}\n", "edges"),
        ("1 2 0.5\n2 3 0.25\n", "edges"),
        ("4 3\n2\n1 3 4\n2\n2\n", "metis"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 5\n", "matrixmarket"),
        ("USER_1 LOC_2 4.0\nUSER_3 LOC_2 5.0\n", "ratings"),
        ("user\titem\trating\n1\t2\t3\n", "ratings"),
        ("1,2,3.5,2005-04-02 23:53:47\n1,3,4.5,2005-04-03 20:13:07\n", "ratings"),
        ("user,item\nann,Heat\n", "ratings"),
        ("the cat\nsat on 1 mat\n", "text"),
        ("the cat sat\nthe dog sat\nat 9 o\n", "text"),
        ("Yes, we did.\nNo, we did not, at 3:15.\n", "text"),
    ],
)
def test_format_is_found_from_content(tmp_path, text, expected):
    (tmp_path / "a").write_text(text)
    assert detect_format(Source(tmp_path / "a")) == expected
    (tmp_path / "b").write_bytes(gzip.compress(("\ufeff" + text).encode()))
    assert detect_format(Source(tmp_path / "b")) == expected


def test_isolated_pair_and_empty_rows_are_noted(tmp_path):
    (tmp_path / "a").write_text("1,1,3\n1,2,4\n2,2,1\n9,99,5\n")
    assert read_file(tmp_path / "a").notes() == [
        "user 9 and item 99 have only one rating, of each other: their predictions are unreliable"
    ]
    (tmp_path / "b").write_text("1 1:1\n-1\n\n")
    assert read_file(tmp_path / "b").notes() == ["1 of 2 rows have no feature"]


def test_features_of_a_model_are_found_by_their_index_in_the_file(tmp_path):
    (tmp_path / "a").write_text("1 1:1 7:2\n0 3:4\n")
    read = read_file(tmp_path / "a")
    assert read.features.tolist() == [1, 3, 7]
    assert read.X.toarray().tolist() == [[1, 0, 2], [0, 4, 0]]
    assert read.among(np.array([0, 1, 7, 9])).toarray().tolist() == [[0, 1, 2, 0], [0, 0, 0, 0]]
    assert read.among(np.array([], int)).shape == (2, 0)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not on this machine")
def test_real_files_are_read():
    w8a = read_file(DATA / "libsvm" / "w8a")
    assert (w8a.X.shape, w8a.features[0], w8a.notes()) == ((49_749, 300), 1, ["4,203 of 49,749 rows have no feature"])
    ratings = read_file(DATA / "ratings" / "ml-latest-small_ratings.csv")
    assert len(ratings.value) == 100_837
    assert "user 999 and item 999999" in ratings.notes()[0]
    assert read_file(DATA / "graphs" / "delaunay_n15.graph").matrix.nnz == 2 * 98_274
    assert len(read_file(DATA / "graphs" / "ca-HepPh.txt").first) == 117_618
    assert len(np.unique(read_file(DATA / "libsvm" / "cocoa_small_train.dat").X.indices)) == 7_034
