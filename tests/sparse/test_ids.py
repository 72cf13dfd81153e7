"""Ids: text, unless every one of them is a canonical integer; exact, and independent of other rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etesian.sparse import MatrixFactorization
from etesian.sparse.ids import as_ids, find_ids, number_ids, type_of
from etesian.sparse.io import load_model, save_model

few = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
RATINGS = [5.0, 1.0, 3.0]


def fitted(user, item, rating=RATINGS, **options):
    options = {"n_factors": 2, "max_iter": 2, "random_state": 0, "schedule": "serial", **options}
    return MatrixFactorization(**options).fit((user, item, rating))


id_texts = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.integers(0, 10**6).map(lambda n: f"{n:08d}"),
    st.sampled_from(
        ["007", "7", "+7", "07", "-0", "0", "-7", "7.0", "1e3", "", " 7", "044023722X", "٣", "_7", "1_000", "nan"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
)


@given(names=st.lists(id_texts, min_size=1, max_size=12, unique=True), data=st.data())
@few
def test_distinct_ids_stay_distinct_through_fit_predict_and_the_model_file(tmp_path, names, data):
    users = data.draw(st.permutations(names))
    rating = np.arange(len(names)) % 5 + 1.0
    model = fitted(users, names, rating, biased=True, step_size=0.1)
    assert len(model.user_ids_) == len(model.item_ids_) == len(names)
    assert sorted(map(str, model.item_ids_)) == sorted(names)
    save_model(model, tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    assert again.item_ids_.tolist() == model.item_ids_.tolist()
    together = again.predict((users, names))
    alone = [again.predict(([user], [name]))[0] for user, name in zip(users, names, strict=True)]
    assert together.tolist() == alone == model.predict((users, names)).tolist()
    rows = find_ids(names, again.item_ids_, "item")
    assert sorted(rows.tolist()) == list(range(len(names)))


@given(names=st.lists(id_texts, min_size=1, max_size=12))
@few
def test_type_is_int_exactly_if_every_id_is_a_canonical_integer(names):
    def is_canonical(name):
        return (
            name.isascii() and name.lstrip("-").isdigit() and str(int(name)) == name and abs(2 * int(name) + 1) < 2**64
        )

    assert type_of(as_ids(names, "item")) == ("int" if all(map(is_canonical, names)) else "text")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (["007", "7", "8"], ["007", "7", "8"]),
        (["1", "2", "10"], [1, 2, 10]),
        (["-5", "0", "9223372036854775807"], [-5, 0, 2**63 - 1]),
        (["1", "2", "9223372036854775808"], ["1", "2", "9223372036854775808"]),
        (np.array([2**53, 2**53 + 1, 5]), [5, 2**53, 2**53 + 1]),
        (np.array([5, 1, 2], np.uint64) + np.uint64(2**63), [2**63 + 1, 2**63 + 2, 2**63 + 5]),
        ([2**63, 1, 2**64], ["1", "18446744073709551616", "9223372036854775808"]),
        (np.array([7, "007", 8], object), ["007", "7", "8"]),
        (np.array([3.0, 1.0, 2.0]), [1, 2, 3]),
        (np.array([b"a", b"c", b"b"]), ["a", "b", "c"]),
    ],
)
def test_ids_of_arrays_are_exact(item, expected):
    model = fitted([1, 1, 2], item)
    assert model.item_ids_.tolist() == sorted(expected, key=str) if isinstance(expected[0], str) else expected
    assert find_ids(item, model.item_ids_, "item").min() >= 0


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.array([2.0**53, 1, 2]), "item ids from 9007199254740992 up are not exact in an array of float64"),
        (np.array([2**24, 1, 2], np.float32), "item ids from 16777216 up are not exact in an array of float32"),
        (np.array([1.5, 1, 2]), "item ids must be integers or text; got 1.5 at position 0"),
        (np.array([1, np.nan, 2]), "got nan at position 1"),
        (np.array(["a", None, "b"], object), "item ids must be integers or text; got None at position 1"),
        (np.array([True, False, True]), "item ids must be integers or text; got bool"),
        (np.array(["2020-01-01"] * 3, "datetime64[D]"), "item ids must be integers or text; got datetime64"),
        (pd.Series([1, None, 2], dtype="Int64"), "item ids must not be missing; the id at position 1 is null"),
        (pl.Series(["a", "b", None]), "item ids must not be missing; the id at position 2 is null"),
        (np.ones((3, 1)), "item ids must be a sequence; got an array of shape"),
    ],
)
def test_inexact_float_ids_are_refused(item, message):
    with pytest.raises(ValueError, match=message):
        fitted([1, 1, 2], item)


def test_an_array_of_floats_with_large_ids_is_refused():
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [2**53 + 1, 2**53, 5], "rating": RATINGS})
    assert MatrixFactorization(n_factors=2, max_iter=1, n_jobs=1).fit(frame).item_ids_.tolist() == [5, 2**53, 2**53 + 1]
    with pytest.raises(ValueError, match="Pass users, items and ratings as separate sequences, or a data frame"):
        MatrixFactorization(n_factors=2).fit(frame.to_numpy())


def test_types_of_users_and_items_are_decided_separately():
    model = fitted([1, 2, 3], ["007", "7", "8"])
    assert (model.user_ids_.dtype.kind, model.item_ids_.dtype.kind) == ("i", "U")


def test_later_ids_are_read_as_the_type_of_the_training_data():
    text, integer = fitted([1, 2, 3], ["007", "7", "8"]), fitted([1, 2, 3], ["9", "7", "8"])
    assert text.predict(([1, 1], [7, 8])).tolist() == text.predict(([1, 1], ["7", "8"])).tolist()
    assert integer.predict(([1, 1], ["7", "8"])).tolist() == integer.predict(([1, 1], [7, 8])).tolist()
    unknown = integer.predict(([1], [99]))[0]
    assert integer.predict(([1, 1], ["007", "ann"])).tolist() == [unknown, unknown]


def test_unsigned_and_signed_ids_are_compared_exactly():
    model = fitted([1, 2, 3], np.array([2**63, 2**63 + 1, 2**63 - 1], np.uint64))
    assert find_ids(np.array([2**63 - 1, -1]), model.item_ids_, "item").tolist() == [0, -1]
    assert find_ids(["9223372036854775807"], model.item_ids_, "item").tolist() == [0]
    small = fitted([1, 2, 3], [1, 2, 3])
    assert find_ids(np.array([2**64 - 1, 3], np.uint64), small.item_ids_, "item").tolist() == [-1, 2]


def test_ids_option_overrides_the_type():
    assert fitted([1, 2, 3], [1, 2, 3], ids="text").item_ids_.tolist() == ["1", "2", "3"]
    model = fitted([1, 2, 3], ["007", "7", "+8"], ids="int")
    assert model.item_ids_.tolist() == [7, 8]
    assert find_ids(["07", "8", "x"], model.item_ids_, "item", "int").tolist() == [0, 1, -1]
    with pytest.raises(ValueError, match="item ids must be 64-bit integers, since ids are 'int'; got 'x': use 'text'"):
        fitted([1, 2, 3], ["7", "x", "8"], ids="int")
    with pytest.raises(ValueError, match="ids must be None, 'text' or 'int'; got 'number'"):
        fitted([1, 2, 3], [1, 2, 3], ids="number")


def test_partial_fit_reads_ids_as_the_first_fit():
    model = fitted([1, 2, 3], ["a", "7", "8"])
    model.partial_fit(([1, 9], [7, 10], [1.0, 2.0]))
    assert model.item_ids_.tolist() == ["10", "7", "8", "a"]
    integer = fitted([1, 2, 3], [1, 2, 3])
    integer.partial_fit((["1", "4"], ["5", "2"], [1.0, 2.0]))
    assert (integer.user_ids_.tolist(), integer.item_ids_.tolist()) == ([1, 2, 3, 4], [1, 2, 3, 5])
    with pytest.raises(ValueError, match="item ids must be integers, as in the first fit; got '07'"):
        integer.partial_fit(([1], ["07"], [1.0]))


def test_categories_without_rows_are_no_ids():
    frame = pd.DataFrame(
        {"user": pd.Categorical(["b", "a"], categories=["a", "b", "c"]), "item": [1, 2], "rating": [1.0, 2.0]}
    )
    assert MatrixFactorization(n_factors=1, max_iter=1, n_jobs=1).fit(frame).user_ids_.tolist() == ["a", "b"]


FORMS = {
    "numpy": np.array,
    "objects": lambda values: np.array(values, object),
    "list": list,
    "pandas": pd.Series,
    "pandas nullable": lambda values: pd.Series(values).convert_dtypes(),
    "pandas arrow": lambda values: pd.Series(values).convert_dtypes(dtype_backend="pyarrow"),
    "pandas category": lambda values: pd.Series(values, dtype="category"),
    "polars": pl.Series,
    "pyarrow": pa.array,
    "pyarrow chunks": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "pyarrow dictionary": lambda values: pa.array(values).dictionary_encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [[3, 2**53 + 1, 2**53], ["b", "007", "7"], ["10", "9", "2"]])
def test_every_form_of_a_column_gives_the_same_ids(form, values):
    expected = number_ids(as_ids(values, "item"), "item")
    found = number_ids(as_ids(FORMS[form](values), "item"), "item")
    assert [each.tolist() for each in found] == [each.tolist() for each in expected]


@pytest.mark.parametrize(
    "column",
    [
        pd.array(["ab", "cd", "ab"], dtype="string"),
        pd.Series(["ab", "cd", "ab"], dtype="string").values,
        pd.Categorical(["ab", "cd", "ab"]),
        pd.arrays.SparseArray([12, 34, 12]),
        pd.Series(pd.arrays.SparseArray([12, 34, 12])),
        pd.array([12, 34, 12], dtype="Int64"),
        pd.Series([12, 34, 12], dtype="int64[pyarrow]").array,
        pd.Index([12, 34, 12]),
    ],
    ids=lambda column: f"{type(column).__name__} of {column.dtype}",
)
def test_extension_arrays_hold_one_id_per_element(column):
    assert [str(each) for each in as_ids(column, "user").values()] == [str(each) for each in column]
    model = fitted(column, [1, 2, 3])
    assert len(model.predict((column, [1, 2, 3]))) == 3
    items, _ = model.recommend(pd.unique(column), n=1)
    assert len(items) == 2


@pytest.mark.parametrize(
    "values",
    [
        ["a", float("nan")],
        ["a", 1.5],
        ["a", True],
        [1, True],
        ["a", None],
        ["a", pd.NA],
        np.array(["a", pd.NA], object),
    ],
)
def test_lists_of_several_types_are_refused_like_arrays_of_objects(values):
    with pytest.raises(ValueError, match=r"user ids must be integers or text; got .* at position 1"):
        as_ids(values, "user")


def test_floats_in_a_list_with_text_are_integers():
    assert as_ids(["a", 3.0, 4], "user").values().tolist() == ["a", "3", "4"]
    model = fitted([1, 2, 2], ["a", "b", "a"])
    assert model.predict([[1.0, "a"], [2, "b"]]).tolist() == model.predict(([1, 2], ["a", "b"])).tolist()


@pytest.mark.parametrize("values", [{1, 2}, {1: 2}, 7])
def test_ids_without_an_order_are_refused(values):
    with pytest.raises(ValueError, match="user ids must be a sequence; got a"):
        as_ids(values, "user")


def test_missing_values_of_a_dictionary_and_unsupported_columns_are_named():
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array([5, None]))
    with pytest.raises(ValueError, match="the id at position 1 is null"):
        as_ids(dictionary, "user")
    with pytest.raises(ValueError, match="Int128 cannot be read: cast it"):
        as_ids(pl.Series([1, 2], dtype=pl.Int128), "user")


def test_small_unsigned_categories_are_ordinary_integers():
    model = fitted(pd.Series([1, 2, 1], dtype="uint8").astype("category"), [1, 2, 3])
    assert model.user_ids_.dtype == np.int64
    model.partial_fit(([-1], [1], [3.0]))
    assert model.user_ids_.tolist() == [-1, 1, 2]


def test_known_integers_are_found_as_pandas_writes_them_next_to_missing_values():
    assert find_ids(["1.0", "2.00", "1.5", "01.0", "1e0"], np.array([1, 2]), "user").tolist() == [0, 1, -1, -1, -1]


@pytest.mark.parametrize(
    "rating", [np.array([1j, 2, 3]), np.array(["2020-01-01"] * 3, "datetime64[ns]"), pd.to_datetime(["2020"] * 3)]
)
def test_ratings_that_are_not_real_numbers_are_refused(rating):
    with pytest.raises(ValueError, match="ratings must be numbers"):
        fitted([1, 2, 3], [1, 2, 3], rating)
