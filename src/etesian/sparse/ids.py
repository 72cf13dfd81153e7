"""Ids of users and items: text, unless every id of the training data is a canonical integer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.frames import as_arrow, is_foreign

IdType = Literal["text", "int"]

_CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,18}")
_WHOLE = re.compile(r"(0|-?[1-9][0-9]{0,18})\.0+")  # as pandas writes integers of a column with missing values
_DIGITS = re.compile(r"[+-]?[0-9]+")
_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, eq=False)
class IdColumn:
    """One id for each row, stored once per distinct id.

    Parameters
    ----------
    codes : array of shape (n_rows,)
        Index of each row's id in `names`.
    names : array of shape (n_names,)
        Distinct ids: text, or integers of type int64 or uint64.
    """

    codes: NDArray[np.int64]
    names: NDArray[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def values(self) -> NDArray[Any]:
        """Return the id of each row: array of shape (n_rows,)."""
        return self.names[self.codes]

    def rows(self, chosen: NDArray[Any]) -> IdColumn:
        """Return the ids of some rows, by index or by mask."""
        return IdColumn(self.codes[chosen], self.names)


def as_ids(values: Any, kind: str) -> IdColumn:
    """Convert a sequence, an array or a column of a data frame to ids.

    Parameters
    ----------
    values
        Ids: integers, text, or floats that are exact integers. Categorical and nullable columns are accepted.
    kind
        Name for error messages: "user" or "item".

    Raises
    ------
    ValueError
        If an id is missing, is not an integer, or is a float too large to be exact.
    """
    if isinstance(values, IdColumn):
        return values
    if is_foreign(values) and not isinstance(getattr(values, "dtype", None), np.dtype):
        return _from_arrow(as_arrow(values), kind)
    array = as_array(values)
    if array.ndim != 1 or isinstance(values, set | frozenset | dict):
        got = f"an array of shape {array.shape}" if array.ndim > 1 else f"a {type(values).__name__}"
        raise ValueError(f"{kind} ids must be a sequence; got {got}")
    return _from_array(array, kind)


def as_array(values: Any) -> NDArray[Any]:
    """Return a sequence as an array: of objects if types differ or numpy would convert integers to floats."""
    array = np.asarray(values)
    if not isinstance(values, list | tuple):
        return array
    kinds = {type(each) for value in values for each in (value if isinstance(value, list | tuple) else (value,))}
    has_floats = array.dtype.kind == "f" and any(issubclass(kind, Integral) for kind in kinds)
    return np.array(values, object) if len(kinds) > 1 or has_floats else array


def _from_array(array: NDArray[Any], kind: str) -> IdColumn:
    match array.dtype.kind:
        case "i":
            return _distinct(array.astype(np.int64))
        case "u":
            return _distinct(array.astype(np.int64 if array.max(initial=0) <= _INT64.max else np.uint64))
        case "f":
            return _distinct(_exact_integers(array, kind))
        case "U":
            return _distinct(array)
        case "S":
            return _distinct(np.char.decode(array, "utf-8"))
        case "O" | "T":
            return _from_objects(array.tolist(), kind)
    raise ValueError(f"{kind} ids must be integers or text; got {array.dtype}")


def _distinct(array: NDArray[Any]) -> IdColumn:
    names, codes = np.unique(array, return_inverse=True)
    return IdColumn(codes, names)


def _exact_integers(array: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """Convert floats to integers; reject those too large to be exact."""
    bound = 2.0 ** (np.finfo(array.dtype).nmant + 1)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array == np.floor(array))))
    if len(wrong):
        raise ValueError(f"{kind} ids must be integers or text; got {array[wrong[0]]} at position {wrong[0]}")
    wrong = np.flatnonzero(np.abs(array) >= bound)
    if len(wrong):
        raise ValueError(
            f"{kind} ids from {bound:.0f} up are not exact in an array of {array.dtype}, so different ids may have been rounded to "
            f"one; got {array[wrong[0]]:.0f} at position {wrong[0]}. Pass users, items and ratings as separate sequences, "
            "or a data frame, with integer or text ids"
        )
    return array.astype(np.int64)


def _from_objects(values: list[Any], kind: str) -> IdColumn:
    """Number objects in order of appearance; they are integers only if all are."""
    places: dict[Any, int] = {}
    codes = np.fromiter((places.setdefault(value, len(places)) for value in values), np.int64, len(values))
    names = list(places)
    wrong = next((place for place, value in enumerate(values) if not _is_id(value)), None)
    if wrong is not None:
        raise ValueError(f"{kind} ids must be integers or text; got {values[wrong]!r} at position {wrong}")
    floats = [name for name in names if isinstance(name, float)]
    if floats:
        _exact_integers(np.array(floats), kind)
    integers = [int(name) for name in names if not isinstance(name, str)]
    if len(integers) < len(names) or not all(_INT64.min <= each <= _INT64.max for each in integers):
        texts = [name if isinstance(name, str) else str(int(name)) for name in names]
        return IdColumn(codes, np.array(texts, np.str_))
    return IdColumn(codes, np.array(integers, np.int64))


def _is_id(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, str | Integral) and not isinstance(value, bool)


def _from_arrow(column: Any, kind: str) -> IdColumn:
    """Convert a chunked array of pyarrow."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        missing = np.flatnonzero(pc.is_null(column).to_numpy())[0]
        raise ValueError(f"{kind} ids must not be missing; the id at position {missing} is null")
    found = column.type
    if pa.types.is_integer(found) or pa.types.is_floating(found):
        return _from_array(column.to_numpy(), kind)
    if pa.types.is_string_view(found):
        column = column.cast(pa.large_string())
    if not pa.types.is_dictionary(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise ValueError(f"{kind} ids must be integers or text; got a column of type {found}")
        column = column.dictionary_encode()
    joined = column.unify_dictionaries().combine_chunks()
    joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    codes = joined.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if (
        joined.dictionary.null_count
        and (codes == (missing := pc.index(pc.is_null(joined.dictionary), True).as_py())).any()
    ):
        raise ValueError(
            f"{kind} ids must not be missing; the id at position {int(np.argmax(codes == missing))} is null"
        )
    if pa.types.is_integer(joined.type.value_type):
        inner = _from_array(pc.fill_null(joined.dictionary, 0).to_numpy(zero_copy_only=False), kind)
        return IdColumn(inner.codes[codes], inner.names)
    inner = _from_objects(joined.dictionary.to_pylist(), kind)
    return IdColumn(inner.codes[codes], inner.names)


def type_of(column: IdColumn) -> IdType:
    """Return "int" if every id that occurs is a canonical 64-bit integer: no leading zeros, no plus sign; else "text"."""
    names = _occurring(column).names
    return "int" if names.dtype.kind in "iu" or _canonical_integers(names) is not None else "text"


def first_text(column: IdColumn) -> str:
    """Return the first id that is not a canonical integer, for an error message."""
    names = _occurring(column).names.astype(np.str_)
    return str(names[~_integers(names, _CANONICAL)[1]][0])


def joined_ids(known: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Return the union of two arrays of ids of one type, in ascending order."""
    if {known.dtype.kind, new.dtype.kind} == {"i", "u"}:  # numpy would promote to floats
        if min(known.min(initial=0), new.min(initial=0)) < 0:
            raise ValueError("integer ids below 0 and from 2**63 up cannot be combined: use text")
        known, new = known.astype(np.uint64), new.astype(np.uint64)
    return np.union1d(known, new)


def number_ids(column: IdColumn, kind: str, ids: IdType | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number ids from 0 in ascending order.

    Parameters
    ----------
    column
        Ids to number.
    kind
        Name for error messages.
    ids
        Type of the ids. Default: inferred, see `type_of`. With "int", text such as "007" or "+7" means 7.

    Returns
    -------
    ids : array of shape (n_ids,)
        Distinct ids: text or integers.
    index : array of shape (n_rows,)
        Index of each row's id among them.
    """
    column = _occurring(column)
    names = column.names
    wanted = type_of(column) if ids is None else ids
    if wanted == "text":
        names = names.astype(np.str_)
    elif names.dtype.kind == "U":
        numbers = _canonical_integers(names)
        if numbers is None:
            numbers, is_integer = _integers(names, _DIGITS)
            if not is_integer.all():
                wrong = str(names[~is_integer][0])
                raise ValueError(f"{kind} ids must be 64-bit integers, since ids are 'int'; got {wrong!r}: use 'text'")
        names = numbers
    distinct, place = np.unique(names, return_inverse=True)
    return distinct, place[column.codes]


def find_ids(wanted: Any, known: NDArray[Any], kind: str, ids: IdType | None = None) -> NDArray[np.int64]:
    """Return the index of each id among the known ids, which are in ascending order; -1 for unknown ids.

    Ids are converted to the type of the known ids: integers to text, and canonical integers written as text to
    integers.
    """
    column = as_ids(wanted, kind)
    names = column.names
    if known.dtype.kind == "U":
        found = _places(names.astype(np.str_), known)
    elif names.dtype.kind in "iu":
        found = _integer_places(names, known)
    else:
        names = np.array(
            [name.partition(".")[0] if _WHOLE.fullmatch(name) else name for name in names.tolist()], np.str_
        )
        numbers, is_integer = _integers(names, _DIGITS if ids == "int" else _CANONICAL)
        found = np.where(is_integer, _integer_places(numbers, known), -1)
    return found[column.codes]


def _occurring(column: IdColumn) -> IdColumn:
    used = np.bincount(column.codes, minlength=len(column.names)) > 0
    return column if used.all() else IdColumn((np.cumsum(used) - 1)[column.codes], column.names[used])


def _canonical_integers(names: NDArray[np.str_]) -> NDArray[np.int64] | None:
    try:
        numbers = names.astype(np.int64)
    except (ValueError, OverflowError):
        return None
    return numbers if np.array_equal(numbers.astype(np.str_), names) else None


def _integers(names: NDArray[np.str_], form: re.Pattern[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Convert the texts of a form to integers, 0 for others; also return a mask of those converted."""
    numbers = [int(name) if form.fullmatch(name) and len(name) < 40 else None for name in names.tolist()]
    fits = [each is not None and _INT64.min <= each <= _INT64.max for each in numbers]
    return np.array([n if fit else 0 for n, fit in zip(numbers, fits, strict=True)], np.int64), np.array(fits, bool)


def _integer_places(names: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    """Find indices as `_places` does, with signed and unsigned integers, which numpy would compare as floats."""
    limits = np.iinfo(known.dtype)
    fits = (names >= limits.min) & (names <= limits.max)
    return np.where(fits, _places(np.where(fits, names, 0).astype(known.dtype), known), -1)


def _places(names: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    if len(known) == 0:
        return np.full(len(names), -1)
    place = np.minimum(np.searchsorted(known, names), len(known) - 1)
    return np.where(known[place] == names, place, -1)
