"""CustomProblem: an update of one's own, carried out by the same plans as any other.

Updates are compiled into a loop that closes over them, anew in each process: numba does not find closures on disk
again.
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
    """A sparse matrix as updates see it: row e is ``indices[indptr[e]:indptr[e + 1]]``, and `values` alike."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[Any]


class CustomProblem:
    """A sum of terms of your own: one function says what an update does, `touches` which rows of which variables it needs.

    Parameters
    ----------
    update : function of (e, data, variables, step_size)
        Runs update e: reads ``data.name[e]``, changes rows of ``variables.name`` in place. Compiled by numba unless it
        already is, so it may use loops, numbers, arrays and other compiled functions; division by 0 gives infinity.
    touches : mapping of str to array or sparse matrix
        For each of the `variables` that updates write, which rows each update reads or writes: an integer array of
        shape (n_updates,) or (n_updates, n_rows_each), or the pattern of a sparse matrix of shape (n_updates, n_rows).
        Variables that are given the very same object are planned as one. Variables left out may be read by every update
        and written by none. `check_touches` finds what was forgotten.
    variables : mapping of str to array
        What the updates work on, as ``variables.name``; a run starts from a copy.
    data : mapping of str to array or sparse matrix, optional
        A row for each update, laid out in the order of the plan: ``data.name[e]`` is always that of update e. Sparse
        matrices become `SparseRows`.
    constants : mapping of str to number, array or sparse matrix, optional
        The same for every update, and also found in ``data``.
    objective : function of (e, data, variables), optional
        The term of update e; their sum is what `etesian.sparse.driver` watches, the same bits for any number of
        threads.

    Attributes
    ----------
    touches : CSR array of shape (n_updates, n_variables)
        The same for all variables side by side.
    touched_rows : dict of str to CSR array of shape (n_updates, n_rows)
        For each of the variables that updates write, alone.

    Raises
    ------
    TypeError
        When numba cannot compile a function, or it takes other arguments.
    ValueError
        When lengths differ, or an update touches a row that does not exist.
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
            raise ValueError(f"{sorted(twice)[0]!r} is in data and in constants; give one of them another name")
        self._compile()

    def _compile(self) -> None:
        """Compile now, so that a mistake is told where the problem is made."""
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
        """Return what updates see as `data`, in an order of updates; as given by default."""
        rows = {name: value if order is None else value[order] for name, value in self._data.items()}
        return _named("Data", {name: _as_seen(value) for name, value in (rows | self._constants).items()})

    def start(self, rng: np.random.Generator) -> Variables:
        """Copy the variables."""
        return type(self._variables)(*(array.copy() for array in self._variables))

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy data into plan order; constants follow."""
        return self.in_order(plan.order)

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the sum of what `objective` gives for each update."""
        if self._sum_range is None:
            raise ValueError(
                "there is no objective to watch: pass tol=None to minimize, or objective= to CustomProblem"
            )
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
    """Have a function compiled when it is first called, as fast and as loosely rounded as the problems that are built in."""
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
    return bool(issparse(value))  # which alone would tell type checkers too little of what it is


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
            f"data[{name!r}] has {rows.shape[0]} rows for {n_updates} updates; what is the same for all goes to constants"
        )
    return rows


def _as_seen(value: Any) -> Any:
    return SparseRows(value.indptr, value.indices, value.data) if _is_sparse(value) else value


def _touched_rows(touches: Mapping[str, Any], variables: Any) -> dict[str, csr_array]:
    if not touches:
        raise ValueError("touches must name at least one of the variables: updates that touch nothing do nothing")
    rows = {}
    for name, value in touches.items():
        if name not in variables._fields:
            raise ValueError(f"touches names {name!r}; variables are {', '.join(map(repr, variables._fields))}")
        rows[name] = _as_pattern(name, value, len(getattr(variables, name)))
    lengths = {name: matrix.shape[0] for name, matrix in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"touches must have a row for each update; their lengths differ: {lengths}")
    if 0 in lengths.values():
        raise ValueError("touches has no rows: there are no updates")
    return rows


def _as_pattern(name: str, value: Any, n_rows: int) -> csr_array:
    """Turn indices or a matrix into the pattern of a CSR array of shape (n_updates, n_rows), columns in order."""
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
    """Join the touches of all variables; those that were given the same object, once."""
    different = {id(touches[name]): matrix for name, matrix in rows.items()}
    return csr_array(hstack(list(different.values()), format="csr", dtype=np.int8))
