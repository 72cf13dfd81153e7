"""Data frames of pandas, polars and pyarrow, read by column without importing these libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LIBRARIES = ("pandas", "polars", "pyarrow")


def is_foreign(value: Any) -> bool:
    """Return True if a value belongs to a data frame library, or exports an Arrow stream."""
    return type(value).__module__.partition(".")[0] in _LIBRARIES or hasattr(value, "__arrow_c_stream__")


def is_frame(value: Any) -> bool:
    """Return True if a value is a table of named columns, such as a DataFrame."""
    has = dir(type(value))
    return is_foreign(value) and ("columns" in has or "column_names" in has or _is_lazy(value))


def _is_lazy(frame: Any) -> bool:
    return "collect_schema" in dir(type(frame)) and "to_arrow" not in dir(type(frame))


def columns_of(frame: Any) -> dict[str, Any]:
    """Return the columns of a frame by name.

    Raises
    ------
    ValueError
        If two columns have the same name, or a lazy frame has not been collected.
    """
    if _is_lazy(frame):
        raise ValueError("a lazy frame must be collected first: call collect()")
    if hasattr(frame, "iloc"):  # pandas
        names, columns = [str(name) for name in frame.columns], [frame.iloc[:, k] for k in range(frame.shape[1])]
    elif hasattr(frame, "get_columns"):  # polars
        names, columns = list(frame.columns), frame.get_columns()
    else:
        import pyarrow as pa

        table = frame if isinstance(frame, pa.Table | pa.RecordBatch) else pa.table(frame)
        names, columns = list(table.column_names), list(table.columns)
    if len(set(names)) < len(names):
        raise ValueError(f"the columns of a frame must have different names; got {', '.join(map(repr, names))}")
    return dict(zip(names, columns, strict=True))


def as_arrow(column: Any) -> Any:
    """Return a column as a chunked array of pyarrow, without conversion to floats."""
    import pyarrow as pa

    if type(column).__module__.partition(".")[0] == "pandas":  # a Series, an Index or an extension array
        is_sparse = str(getattr(column, "dtype", "")).startswith("Sparse")
        found = pa.array(np.asarray(column) if is_sparse else column, from_pandas=True)
    elif hasattr(column, "to_arrow"):  # a Series of polars
        try:
            found = column.to_arrow()
        except Exception as error:  # of its own kinds, for types that Arrow does not have
            raise ValueError(
                f"a column of type {column.dtype} cannot be read: cast it to integers of 64 bits or to text"
            ) from error
    elif isinstance(column, pa.Array | pa.ChunkedArray):
        found = column
    else:
        found = pa.chunked_array(column)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def as_numbers(column: Any) -> NDArray[Any]:
    """Return a column of numbers or a sequence as an array, with NaN for missing values."""
    if not is_foreign(column) or isinstance(getattr(column, "dtype", None), np.dtype):
        return np.asarray(column)
    import pyarrow as pa
    import pyarrow.compute as pc

    found = as_arrow(column)
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if found.type in (pa.float32(), pa.float64()) and not found.null_count:
        return found.to_numpy()
    try:
        return pc.cast(found, pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array(found.to_pylist(), object)
