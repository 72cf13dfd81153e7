"""CustomProblem: a user-defined update that runs under all schedules.

Updates are compiled into a loop that closes over them, once per process, since numba cannot cache closures on disk.
"""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numba import njit, typeof
from numba.core.dispatcher import Dispatcher
from numba.core.types import Number, float64, int64
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse

from etesian.sparse._engine.kernels import FAST, compile_update_range
from etesian.sparse.problems.compile_errors import readable
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.schedules.makers import Plan

Update = Callable[[int, Any, Any, float], None]
Objective = Callable[[int, Any, Any], float]


class SparseRows(NamedTuple):
    """Sparse matrix as passed to updates: row e is ``indices[indptr[e]:indptr[e + 1]]``, with the same slice of `values`."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[Any]


class CustomProblem:
    """A user-defined sum of terms: one function performs an update, and `touches` declares the rows that it accesses.

    Parameters
    ----------
    update : function of (e, data, variables, step_size)
        Function that runs update e: it reads ``data.name[e]`` and changes rows of ``variables.name`` in place. It is
        compiled by numba unless it already is, so it may use loops, numbers, arrays and other compiled functions.
        Division by 0 gives infinity.
    touches : mapping of str to array or sparse matrix
        Rows that each update reads or writes, for each of the `variables` that updates write: an integer array of shape
        (n_updates,) or (n_updates, n_rows_each), or a sparse matrix of shape (n_updates, n_rows) of which only the
        pattern is used. Variables with the same object are planned as one. Variables that are left out are read-only.
        `check_touches` detects omissions.
    variables : mapping of str to array
        Arrays that the updates change, as ``variables.name``. Each run starts from a copy.
    data : mapping of str to array or sparse matrix, optional
        Arrays with one row per update. They are copied into plan order, and ``data.name[e]`` remains the row of update
        e. Sparse matrices become `SparseRows`.
    constants : mapping of str to number, array or sparse matrix, optional
        Values shared by all updates, also accessible through ``data``.
    objective : function of (e, data, variables), optional
        Function that returns the term of update e. The objective is the sum of the terms, with the same bits for any
        number of threads.

    Attributes
    ----------
    touches : CSR array of shape (n_updates, n_variables)
        Rows that each update touches, with the rows of all variables numbered consecutively.
    touched_rows : dict of str to CSR array of shape (n_updates, n_rows)
        Rows that each update touches, separately for each of the variables that updates write.

    Raises
    ------
    TypeError
        If numba cannot compile a function, or a function takes other arguments.
    ValueError
        If lengths differ, or an update touches a row that does not exist.
    """

    settles: ClassVar[bool] = False
    counts_steps: ClassVar[bool] = False

    def __init__(
        self,
        update: Update,
        *,
        touches: Mapping[str, Any],
        variables: Mapping[str, NDArray[Any]],
        data: Mapping[str, Any] | None = None,
        constants: Mapping[str, Any] | None = None,
        objective: Objective | None = None,
    ) -> None:
        self.update, self.term = update, objective
        self._variables = _named("Variables", {name: _as_array("variables", name, v) for name, v in variables.items()})
        self._constants = {name: _as_constant(name, value) for name, value in (constants or {}).items()}
        self.touched_rows = _touched_rows(touches, self._variables)
        self.touches = _side_by_side(touches, self.touched_rows)
        self._data = {name: _as_rows(name, value, self.touches.shape[0]) for name, value in (data or {}).items()}
        if twice := self._data.keys() & self._constants.keys():
            raise ValueError(f"{sorted(twice)[0]!r} is in data and in constants: rename one of them")
        self._compile()

    def _compile(self) -> None:
        """Compile in the constructor, so that errors are raised there."""
        data, variables = typeof(self.in_order()), typeof(self._variables)
        hint = f"; data: {_listed(self.in_order()._fields)}; variables: {_listed(self._variables._fields)}"
        update = _compiled(self.update, "update", ("e", "data", "variables", "step_size"))
        with readable("update", self.update, hint):
            update.compile((int64, data, variables, float64))
        self.update_range = _updates_of(update)
        compile_update_range(self.update_range, data, variables)
        self._sum_range = None if self.term is None else self._sum_of_terms(self.term, hint)

    def _sum_of_terms(self, function: Objective, hint: str) -> Callable[..., None]:
        types = (int64, typeof(self.in_order()), typeof(self._variables))
        objective = _compiled(function, "objective", ("e", "data", "variables"))
        with readable("objective", function, hint):
            objective.compile(types)
        compiled: Any = objective.overloads[types]
        returned = compiled.signature.return_type
        if not isinstance(returned, Number):
            raise TypeError(f"objective {function.__name__} must return a number; it returns {returned}")
        return _sum_of(objective)

    def in_order(self, order: NDArray[np.int64] | None = None) -> Any:
        """Return the `data` passed to updates, in an order of updates; by default in the given order."""
        rows = {name: value if order is None else value[order] for name, value in self._data.items()}
        return _named("Data", {name: _as_seen(value) for name, value in (rows | self._constants).items()})

    def start(self, rng: np.random.Generator) -> Variables:
        """Copy the variables."""
        return type(self._variables)(*(array.copy() for array in self._variables))

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy data into plan order, followed by the constants."""
        return self.in_order(plan.order)

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the sum of the terms."""
        if self._sum_range is None:
            raise ValueError("the problem has no objective: pass tol=None to minimize, or objective= to CustomProblem")
        return float(sum_over(self._sum_range, self.touches.shape[0], 1, self.in_order(), variables)[0])


@cache
def _updates_of(compiled: Dispatcher) -> Callable[..., None]:
    def update_range(start, stop, data, variables, step_size):
        for e in range(start, stop):
            compiled(e, data, variables, step_size)

    return update_range


@cache
def _sum_of(compiled: Dispatcher) -> Callable[..., None]:
    def sum_range(start, stop, data, variables, sums):
        for e in range(start, stop):
            sums[0] += compiled(e, data, variables)

    return sum_range


def _compiled(function: Any, role: str, arguments: tuple[str, ...]) -> Dispatcher:
    """Return a function that numba compiles at the first call, with the options of the built-in problems."""
    plain = getattr(function, "py_func", function)
    if not inspect.isfunction(plain):
        raise TypeError(f"{role} must be a plain function that numba can compile; got {function!r}")
    if len(inspect.signature(plain).parameters) != len(arguments):
        wanted = f"({', '.join(arguments)})"
        raise TypeError(f"{role} must take {wanted}; {plain.__name__} takes {inspect.signature(plain)}")
    return function if isinstance(function, Dispatcher) else _compile_once(plain)


@cache
def _compile_once(function: Callable[..., Any]) -> Dispatcher:
    return njit(nogil=True, forceinline=True, error_model="numpy", fastmath=set(FAST))(function)


@cache
def _class_of(kind: str, names: tuple[str, ...]) -> Any:
    return namedtuple(kind, names)


def _named(kind: str, values: dict[str, Any]) -> Any:
    return _class_of(kind, tuple(values))(*values.values())


def _is_sparse(value: Any) -> bool:
    return bool(issparse(value))  # without a type guard, which would narrow too much


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _as_array(where: str, name: str, value: Any) -> NDArray[Any]:
    array = np.ascontiguousarray(value)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{where}[{name!r}] must hold numbers; its type is {array.dtype}")
    return np.atleast_1d(array)


def _as_constant(name: str, value: Any) -> Any:
    if _is_sparse(value):
        return csr_array(value)
    return value if np.isscalar(value) else _as_array("constants", name, value)


def _as_rows(name: str, value: Any, n_updates: int) -> Any:
    rows = csr_array(value) if _is_sparse(value) else _as_array("data", name, value)
    if rows.shape[0] != n_updates:
        raise ValueError(
            f"data[{name!r}] has {rows.shape[0]} rows; there are {n_updates} updates. Pass shared values as constants"
        )
    return rows


def _as_seen(value: Any) -> Any:
    return SparseRows(value.indptr, value.indices, value.data) if _is_sparse(value) else value


def _touched_rows(touches: Mapping[str, Any], variables: Any) -> dict[str, csr_array]:
    if not touches:
        raise ValueError("touches must name at least one of the variables; it is empty")
    rows = {}
    for name, value in touches.items():
        if name not in variables._fields:
            raise ValueError(f"touches names {name!r}; variables are {', '.join(map(repr, variables._fields))}")
        rows[name] = _as_pattern(name, value, len(getattr(variables, name)))
    lengths = {name: matrix.shape[0] for name, matrix in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"touches must have a row for each update; their lengths differ: {lengths}")
    if 0 in lengths.values():
        raise ValueError("touches must have at least one row: there are no updates")
    return rows


def _as_pattern(name: str, value: Any, n_rows: int) -> csr_array:
    """Convert indices or a matrix to a CSR pattern of shape (n_updates, n_rows) with sorted columns."""
    if _is_sparse(value):
        matrix = csr_array(value)
        if matrix.shape[1] != n_rows:
            raise ValueError(f"touches[{name!r}] has {matrix.shape[1]} columns; variables[{name!r}] has {n_rows} rows")
        indices: NDArray[Any] = matrix.indices
        indptr: NDArray[Any] = matrix.indptr
    else:
        table = np.asarray(value)
        if table.dtype.kind not in "iu" or table.ndim not in (1, 2):
            raise ValueError(
                f"touches[{name!r}] must be a sparse matrix, or integers of shape (n_updates,) or "
                f"(n_updates, n_rows_each); got {table.dtype} of shape {table.shape}"
            )
        indices, indptr = table.ravel(), np.arange(len(table) + 1) * (table.size // max(len(table), 1))
        if table.size and not 0 <= table.min() <= table.max() < n_rows:
            raise ValueError(
                f"touches[{name!r}] must be from 0 to {n_rows - 1}; it holds {table.min()} to {table.max()}"
            )
    pattern = csr_array((np.ones(len(indices), np.int8), indices, indptr), shape=(len(indptr) - 1, n_rows), copy=True)
    pattern.sum_duplicates()
    return pattern


def _side_by_side(touches: Mapping[str, Any], rows: dict[str, csr_array]) -> csr_array:
    """Stack the touches of all variables horizontally; variables with the same object share columns."""
    different = {id(touches[name]): matrix for name, matrix in rows.items()}
    return csr_array(hstack(list(different.values()), format="csr", dtype=np.int8))
