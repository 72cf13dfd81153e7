"""Frames of pandas, polars and pyarrow: columns by name, ids exact, and no detour through one array."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from etesian.sparse import MatrixFactorization
from etesian.sparse.columns import chosen_columns, find_columns, parse_columns, role_of

RNG = np.random.default_rng(0)
USER, ITEM = RNG.integers(100, 130, 200), RNG.integers(900, 920, 200)
RATING = RNG.integers(1, 6, 200).astype(float)

MAKERS = {
    "pandas": pd.DataFrame,
    "pandas nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas arrow": lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "pyarrow batch": lambda columns: pa.RecordBatch.from_pydict({k: pa.array(v) for k, v in columns.items()}),
}


def fitted(ratings):
    return MatrixFactorization(n_factors=2, max_iter=3, schedule="serial", random_state=0).fit(ratings)


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize(
    "names", [("rating", "item", "user"), ("Score", "movie_ID", "User Id"), ("stars", "isbn", "customer-id")]
)
def test_columns_of_a_frame_are_found_by_name(library, names):
    frame = MAKERS[library](dict(zip((*names, "timestamp"), (RATING, ITEM, USER, USER * 7), strict=True)))
    model, expected = fitted(frame), fitted((USER, ITEM, RATING))
    assert model.user_factors_.tolist() == expected.user_factors_.tolist()
    assert model.item_ids_.tolist() == expected.item_ids_.tolist()
    assert model.predict(frame).tolist() == expected.predict((USER, ITEM)).tolist()
    assert model.score(frame) == expected.score((USER, ITEM, RATING))
    assert model.partial_fit(frame).n_iter_ == 4


@pytest.mark.parametrize("library", MAKERS)
def test_unknown_names_are_refused_with_the_remedy(library):
    frame = MAKERS[library]({"a": USER, "b": ITEM, "c": RATING})
    with pytest.raises(
        ValueError, match=r"the columns 'a', 'b', 'c': no column name is recognized as user or item or"
    ) as e:
        fitted(frame)
    assert "rename the columns to user, item, rating, or pass a tuple of 3 columns" in str(e.value)


def test_index_column_of_a_csv_file_is_ignored_and_frames_without_names_go_by_position():
    frame = pd.DataFrame({"Unnamed: 0": np.arange(200), "userId": USER, "movieId": ITEM, "rating": RATING})
    assert fitted(frame).user_ids_.tolist() == np.unique(USER).tolist()
    unnamed = pd.DataFrame(list(zip(USER, ITEM, RATING, strict=True)))
    assert fitted(unnamed).item_ids_.tolist() == np.unique(ITEM).tolist()


def test_lazy_frames_and_repeated_names_are_refused():
    with pytest.raises(ValueError, match=r"a lazy frame must be collected first: call collect\(\)"):
        fitted(pl.LazyFrame({"user": [1], "item": [1], "rating": [1.0]}))
    twice = pd.DataFrame(np.ones((2, 4)), columns=["user", "item", "item", "rating"])
    with pytest.raises(ValueError, match="the columns of a frame must have different names"):
        fitted(twice)


def test_missing_and_textual_ratings_are_refused():
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": pd.array([1, None], dtype="Int64")})
    with pytest.raises(ValueError, match="ratings must be finite; got nan at position 1"):
        fitted(frame)
    with pytest.raises(ValueError, match="ratings must be numbers"):
        fitted(pl.DataFrame({"user": [1, 2], "item": [1, 2], "rating": ["good", "bad"]}))


def test_arrays_are_read_without_the_libraries_of_frames():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pandas', 'polars', 'pyarrow')));"
        "from etesian.sparse import MatrixFactorization as M;"
        "M(n_factors=1, max_iter=1, schedule='serial').fit((['a', '2'], [1, 2], [1.0, 2.0])).predict([['a', 2]])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("userId", "user"),
        ("USER_ID", "user"),
        ("User-ID", "user"),
        ("reviewerID", "user"),
        ("movieId", "item"),
        ("ISBN", "item"),
        ("product", "item"),
        ("book", "item"),
        ("parent_asin", "item"),
        ("Book-Rating", "rating"),
        ("overall", "rating"),
        ("unixReviewTime", "time"),
        ("date", "time"),
        ("genre", None),
        ("", None),
        ("Unnamed: 0", None),
    ],
)
def test_common_names_have_a_role(name, role):
    assert role_of(name) == role


def test_columns_are_recognized_or_the_ambiguity_is_reported():
    assert find_columns(["", "movie", "movieId", "rating", "userId"]) == {"user": 4, "item": 2, "rating": 3}
    with pytest.raises(ValueError, match="several columns may be the item: 'asin', 'parent_asin'"):
        find_columns(["user_id", "asin", "parent_asin"])
    with pytest.raises(ValueError, match="no column name is recognized as user"):
        find_columns(["member_since", "item"])


def test_columns_option_is_read_and_checked():
    assert parse_columns("user=who, item=what,rating=3") == {"user": "who", "item": "what", "rating": "3"}
    assert chosen_columns({"user": "who", "item": "3"}, ("who", "x", "what"), 3) == {"user": 0, "item": 2}
    for text in ("user", "user=", "person=a,item=b", ""):
        with pytest.raises(ValueError, match="columns must have the form user=NAME,item=NAME,rating=NAME"):
            parse_columns(text)
    with pytest.raises(ValueError, match="columns must name each of user, item once"):
        parse_columns("user=a,item=b,user=c")
    with pytest.raises(ValueError, match="columns names item=4; the table has 3 columns, no header"):
        chosen_columns({"user": "1", "item": "4"}, None, 3)
    with pytest.raises(ValueError, match="columns must name user and item"):
        chosen_columns({"user": "1"}, None, 3)
    with pytest.raises(ValueError, match="columns must name different columns"):
        chosen_columns({"user": "1", "item": "1"}, None, 3)
