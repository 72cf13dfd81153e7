"""Tables of ratings in the dialects that people have: each gives the same triples, or a refusal that names the remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmwrite

from etesian.errors import InputError
from etesian.sparse.io import MalformedFileError, read_file, source
from etesian.sparse.io.source import Source

ROWS = [("101", "901", 4.5), ("102", "902", 3.0), ("103", "901", 1.0), ("101", "903", 5.0)] * 3
RATINGS = ("ratings", "matrixmarket", "npz")  # formats accepted by `fit ratings`


def zipped(content, *names):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names or ("ratings.csv",):
            archive.writestr(name, content)
    return written.getvalue()


def zstandard(content):
    import pyarrow as pa

    return pa.compress(content, codec="zstd", asbytes=True)


def table(row="{u},{i},{r}\n", header=""):
    return header + "".join(row.format(u=u, i=i, r=r, k=k) for k, (u, i, r) in enumerate(ROWS))


def triples_of(path, **options):
    read = read_file(path, accepted=RATINGS, **options)
    return list(zip(read.first.values().tolist(), read.second.values().tolist(), read.value.tolist(), strict=True))


DIALECTS = {
    "comma": table(),
    "header": table(header="user,item,rating\n"),
    "index column": table("{k},{u},{i},{r}\n", ",userId,movieId,rating\n"),
    "index column of pandas": table("{k},{u},{i},{r}\n", "Unnamed: 0,userId,movieId,rating\n"),
    "rating first": table("{r},{i},{u}\n", "rating,movie_id,user_id\n"),
    "time first": table("9,{r},{i},{u}\n", "timestamp,stars,Product ID,Customer-ID\n"),
    "time last": table("{u},{i},{r},2005-04-02 23:53:47\n"),
    "semicolon": table("{u};{i};{r}\n", '"User-ID";"ISBN";"Book-Rating"\n'),
    "semicolon named for Excel": "sep=;\n" + table("{u};{i};{r}\n"),
    "header below the delimiter for Excel": '"sep=,"\n' + table(header="user,item,rating\n"),
    "tab": table("{u}\t{i}\t{r}\n"),
    "tab with header": table("{u}\t{i}\t{r}\n", "user\titem\trating\n"),
    "tab with time": table("{u}\t{i}\t{r}\t881250949\n"),
    "double colon": table("{u}::{i}::{r}::978300760\n"),
    "pipe": table("{u}|{i}|{r}\n"),
    "spaces": table("{u} {i} {r}\n"),
    "aligned": table("  {u}   {i}\t{r}  \n"),
    "comments": table("{u} {i} {r}\n", "# made for a test\n% another\n"),
    "header in a comment": table("{u} {i} {r}\n", "# user item rating\n"),
    "quoted": table('"{u}","{i}","{r}"\n', '"userId","movieId","rating"\n'),
    "quoted without header": table('"{u}","{i}","{r}"\n'),
    "outer spaces": table("{u} , {i} , {r}\n", "user , item , rating\n"),
    "carriage returns": table("{u},{i},{r}\r", "user,item,rating\r"),
    "carriage returns and line feeds": table("{u},{i},{r}\r\n", "user,item,rating\r\n"),
    "byte order mark": "\ufeff" + table(header="user,item,rating\n"),
    "no last line end": table().rstrip(),
    "line end in a quoted field": table('{u},{i},{r},"two\n\n ""lines"""\n', "user,item,rating,review\n"),
    "line end in every row, without a header": table('{u};{i};{r};"two\r\nlines; really"\r\n'),
    "line end in the header": table("{u},{i},{r}\n", '"user","item","rating\n"\n'),
    "quote within a field": table('{u},{i},{r},7" vinyl\n'),
    "blank lines": table("{u},{i},{r}\n\n"),
    "blank lines of spaces": table("{u},{i},{r}\n  \n"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("block", [30, 1 << 20])
def test_every_dialect_gives_the_same_triples(tmp_path, monkeypatch, dialect, block):
    monkeypatch.setattr(source, "BLOCK", block)
    (tmp_path / "ratings").write_bytes(DIALECTS[dialect].encode())
    assert triples_of(tmp_path / "ratings") == ROWS


@pytest.mark.parametrize("block", [30, 1 << 20])
@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ('1,2,x,"a"\n', "5: the rating must be a finite number; got 'x'"),
        ('1,2,"a"\n', "5: has 3 columns; every row must have 4"),
        ('1,2,3,"never closed\n', "5: has a quoted field that is never closed"),
    ],
)
def test_errors_after_a_quoted_line_end_name_the_line(tmp_path, monkeypatch, block, bad, complaint):
    monkeypatch.setattr(source, "BLOCK", block)
    path = tmp_path / "ratings"
    path.write_text('user,item,rating,review\n1,2,3,"two\nlines"\n' + "1,3,4,fine\n" + bad + "2,3,4,fine\n" * 3)
    with pytest.raises(MalformedFileError, match=f"ratings:{complaint}"):
        read_file(path, accepted=RATINGS)


def test_decimal_commas_are_read_where_commas_part_no_columns(tmp_path):
    (tmp_path / "ratings").write_text(table("{u};{i};{r}\n", "user;item;rating\n").replace(".", ","))
    assert triples_of(tmp_path / "ratings") == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard, zipped])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-le with mark", "utf-16-be with mark"],
)
def test_packed_and_encoded_files_give_the_same_triples(tmp_path, monkeypatch, pack, encoding):
    monkeypatch.setattr(source, "BLOCK", 33)
    mark = "\ufeff" if "mark" in encoding else ""
    content = (mark + table("{u},{i}é,{r}\r\n", "user,item,rating\r\n")).encode(encoding.removesuffix(" with mark"))
    (tmp_path / "ratings").write_bytes(pack(content))
    assert triples_of(tmp_path / "ratings") == [(u, f"{i}é", r) for u, i, r in ROWS]


def test_columns_used_are_described_and_can_be_chosen(tmp_path):
    path = tmp_path / "ratings"
    path.write_text(table("{r},{u},{i}\n", "how,by,which one\n"))
    with pytest.raises(InputError) as caught:
        read_file(path, accepted=RATINGS)
    assert str(caught.value) == (
        f"{path}: no column name is recognized as user or item; its header is 'how, by, which one': name the columns with "
        "--columns user=NAME,item=NAME,rating=NAME (or numbers from 1)"
    )
    chosen = {"user": "by", "item": "which one", "rating": "how"}
    assert triples_of(path, columns=chosen) == ROWS
    assert read_file(path, accepted=RATINGS, columns=chosen).columns == (
        "columns: user is 'by', item is 'which one', rating is 'how'"
    )
    assert triples_of(path, columns={"user": "2", "item": "3", "rating": "1"}) == ROWS
    with pytest.raises(InputError, match="columns names user=whom; the table has the columns 'how', 'by', 'which one'"):
        read_file(path, accepted=RATINGS, columns={"user": "whom", "item": "2"})
    path.write_text(table("{r},{u},{i}\n"))
    assert triples_of(path, columns={"user": "2", "item": "3", "rating": "1"}) == ROWS
    assert read_file(path, accepted=RATINGS).columns == (
        "no header: column 1 is the user, column 2 is the item, column 3 is the rating"
    )


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("rating,userId,customer", "no column name is recognized as item"),
        ("userId,asin,parent_asin", "several columns may be the item: 'asin', 'parent_asin'"),
        ("a,b,c", "no column name is recognized as user or item"),
    ],
)
def test_ambiguous_header_is_refused(tmp_path, header, complaint):
    (tmp_path / "ratings").write_text(table("{u},{i},{r}\n", f"{header}\n"))
    with pytest.raises(InputError, match=complaint):
        read_file(tmp_path / "ratings", accepted=RATINGS)


def test_ids_are_not_altered(tmp_path):
    (tmp_path / "ratings").write_text(
        "user,item,rating\n007,1234567890123456789,5\n7,1234567890123456788,1\n+7,044023722X,2\n"
    )
    read = read_file(tmp_path / "ratings", accepted=RATINGS)
    assert read.first.values().tolist() == ["007", "7", "+7"]
    assert read.second.values().tolist() == ["1234567890123456789", "1234567890123456788", "044023722X"]


@pytest.mark.parametrize("pattern", [False, True])
def test_matrix_market_rows_and_columns_are_ids_that_count_from_1(tmp_path, pattern):
    matrix = sparse.coo_array(([5.0, 1.0, 2.0], ([0, 2, 2], [1, 0, 3])), shape=(9, 9))
    mmwrite(tmp_path / "m.mtx", matrix, field="pattern" if pattern else "real", comment="made for a test")
    read = read_file(tmp_path / "m.mtx")
    pairs = {pair: value for *pair_, value in [(1, 2, 5.0), (3, 1, 1.0), (3, 4, 2.0)] if (pair := tuple(pair_))}
    found = list(zip(read.first.values().tolist(), read.second.values().tolist(), strict=True))
    assert sorted(found) == sorted(pairs)
    assert read.value is None if pattern else dict(zip(found, read.value.tolist(), strict=True)) == pairs
    (tmp_path / "m.mtx.gz").write_bytes(gzip.compress((tmp_path / "m.mtx").read_bytes()))
    assert read_file(tmp_path / "m.mtx.gz").second.values().tolist() == read.second.values().tolist()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 5\n",
            r"m\.mtx:2: the size line promises 2 entries; the file has 1",
        ),
        (
            "%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 5\n",
            r"m\.mtx:3: the row must be .* 1 to 2; got 3",
        ),
        ("%%MatrixMarket matrix coordinate real general\n2 2 0\n", "must contain at least one entry"),
        ("%%MatrixMarket matrix coordinate complex general\n2 2 1\n1 1 5 1\n", "must contain finite real numbers"),
        (
            "%%MatrixMarket matrix coordinate real general\n9 9 9000000000000000\n1 1 5\n",
            r"m\.mtx:2: the size line promises 9,000,000,000,000,000 entries; the file has 1",
        ),
        ("%%MatrixMarket matrix coordinate real general\n% c\n2 2\n1 1 5\n", r"m\.mtx:3: the size line must be"),
        ("%%MatrixMarket\n", "is not a valid Matrix Market file"),
    ],
)
def test_invalid_matrix_market_files_are_refused(tmp_path, text, complaint):
    (tmp_path / "m.mtx").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_file(tmp_path / "m.mtx")


# Limits on memory and time.


def test_long_lines_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK", 100)
    monkeypatch.setattr(source, "LINE_BYTES", 1_000)
    for name, content in (
        ("a", b"1 1:1\n1 1:" + b"0" * 5_000 + b"\n1 1:1\n"),
        ("b", b"user,item,rating\n1,2," + b"3" * 5_000),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content))
        with pytest.raises(MalformedFileError, match=rf"{name}:2: the line is too long: at most 1,000 bytes are read"):
            read_file(tmp_path / name)


def test_endless_line_is_refused_immediately(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"0" * 300_000))
    with pytest.raises(MalformedFileError, match=r"a\.gz:1: the line is too long to detect the format"):
        read_file(tmp_path / "a.gz")


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("etesian._shared.limits.UNPACKED_BYTES", 10_000)
    (tmp_path / "a.bz2").write_bytes(bz2.compress(b"1,2,3\n" * 100_000))
    with pytest.raises(InputError, match=r"decompresses to more than 10,\d+ bytes"):
        read_file(tmp_path / "a.bz2")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero")
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(InputError, match="is not a regular file"):
            read_file(path)


def test_archives_must_hold_one_file(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(table(), "a.csv", "b.csv"))
    with pytest.raises(
        InputError, match=r"must contain one file; it contains 2 \(a\.csv, b\.csv\): extract the one to read"
    ):
        read_file(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(zipped(table(), "folder/", "a.csv", "__MACOSX/a.csv"))
    assert triples_of(tmp_path / "b.zip") == ROWS
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", table() * 100)
    whole = (tmp_path / "c.zip").read_bytes()
    (tmp_path / "c.zip").write_bytes(whole[:60] + b"\xff\xff" + whole[62:])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_file(tmp_path / "c.zip", format="ratings")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard])
def test_cut_off_files_are_refused(tmp_path, pack):
    rng = np.random.default_rng(0)
    text = "".join(f"{u},{i},{r}\n" for u, i, r in rng.integers(0, 10**9, (3_000, 3)))
    (tmp_path / "a").write_bytes(pack(text.encode())[:-9])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_file(tmp_path / "a", format="ratings")


def test_head_of_a_long_file_ends_with_a_line(tmp_path):
    (tmp_path / "a").write_text("1,2,3\n" * 50_000)
    head = Source(tmp_path / "a").head()
    assert head.endswith(b"3\n")
    assert len(head) <= source.HEAD
