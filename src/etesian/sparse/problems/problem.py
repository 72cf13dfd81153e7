"""Protocols of problems, which `minimize` requires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.makers import Plan

Variables = tuple[NDArray[Any], ...]
SumOver = Callable[[Callable[..., None], int, int, tuple, Any], NDArray[np.float64]]
"""``sum_over(sum_range, n, n_sums, data, variables)``: sums over updates, the same bits for any number of threads."""


class Problem(Protocol):
    """Sum of terms, each of which touches a few variables.

    Attributes
    ----------
    touches : CSR array of shape (n_updates, n_variables)
        Variables that each update reads or writes.
    update_range : function of (start, stop, data, variables, step_size)
        Function that runs the updates at positions ``start`` to ``stop - 1`` of `data`, in turn. numba compiles it, so
        it must be a plain module-level function. All plans run the same code.
    settles : bool
        True if the problem is a `SettledProblem`. Its `settle` is called before the first epoch and after every epoch.
    counts_steps : bool
        True if `lay_out` needs ``plan.steps``.
    """

    touches: csr_array

    @property
    def update_range(self) -> Callable[..., None]: ...
    @property
    def settles(self) -> bool: ...
    @property
    def counts_steps(self) -> bool: ...

    def start(self, rng: np.random.Generator) -> Variables:
        """Return the initial variables of a run."""

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy the data of the updates into plan order, ``plan.order``."""

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the objective, summed by `sum_over`, without changing the variables."""


class SettledProblem(Problem, Protocol):
    """Problem with work between epochs, for values that every update reads or leaves pending."""

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float | None:
        """Solve for values that every update reads (an intercept), and apply pending steps of updates.

        `step_size` is that of the last epoch, or None before the first. Returns the objective if it is a by-product,
        which saves a call of `objective`, and None otherwise.
        """


@runtime_checkable
class MeasuredProblem(Problem, Protocol):
    """Problem with a measure of its distance from the minimum.

    Attributes
    ----------
    is_measured : bool
        True if `suboptimality` is meaningful.
    """

    @property
    def is_measured(self) -> bool: ...

    def suboptimality(self, variables: Variables, sum_over: SumOver, enough: float = 0.0) -> float:
        """Return an estimate of the objective minus its minimum; a rough one may be returned if it is far above `enough`."""

    def advice(self) -> str:
        """Return a sentence on how to make the problem converge faster, or an empty string."""


@runtime_checkable
class PackedProblem(Problem, Protocol):
    """Problem whose updates work on arrays of which the variables are views, such as rows that hold a vector and a bias."""

    def worked_on(self, variables: Variables) -> Variables:
        """Return the arrays that the functions of the problem receive in place of the variables."""


@runtime_checkable
class StreamedProblem(Problem, Protocol):
    """Problem whose rows can be permuted block by block while an epoch runs.

    Updates keep no state between epochs except the variables that they touch, so orders in blocks converge as fast as
    permutations (see `etesian.sparse.schedules.orders`). SAGA keeps a memory and does not qualify.

    Attributes
    ----------
    copy_range : function of (first, rows, source, target)
        Function that copies rows ``rows[0]``, ``rows[1]``, ... of `source` to rows ``first``, ``first + 1``, ... of
        `target`. It is compiled like `update_range`.
    """

    @property
    def copy_range(self) -> Callable[..., None]: ...

    def rows(self) -> tuple[Any, ...]:
        """Return the data of the updates as given, in the form of `lay_out`."""

    def room_for(self, n: int, data: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return uninitialized data of n rows, with the types of `data`."""


@runtime_checkable
class MergingProblem(Problem, Protocol):
    """Problem that supports merged plans, in which lists work on copies of hot variables.

    Rows of copies follow those of the variables, list by list: of `n_hot` variables, copy `rank` of list `k` is at
    offset ``k * n_hot + rank`` after the last variable. In `lay_out`, ``plan.copies.rename`` maps variables to the rows
    of their copies.

    Attributes
    ----------
    spread_range : function of (start, stop, hot, n_lists, variables)
        Function that sets all copies of ``hot[start:stop]`` to the values of the variables, called at the start of an
        epoch. It is compiled like `update_range`.
    merge_range : function of (start, stop, hot, cuts, data, variables, step_size)
        Function that adds the changes of the copies of ``hot[start:stop]`` to the variables, in the order of the lists,
        and resets the copies to the result, called after every batch. List k ran the updates ``cuts[k]`` to ``cuts[k +
        1] - 1``. Lists that correct the same error overshoot together: the mean of the changes is always safe, their
        sum only if a batch changes little.
    """

    @property
    def spread_range(self) -> Callable[..., None]: ...
    @property
    def merge_range(self) -> Callable[..., None]: ...

    def with_copies(self, variables: Variables, n_copies: int) -> tuple[Variables, Variables]:
        """Return the variables, and arrays of which they are views, with `n_copies` more rows at the end."""
