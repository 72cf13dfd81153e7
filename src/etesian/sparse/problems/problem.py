"""Problem: all that `minimize` asks of what it minimizes."""

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
    """A sum of terms, each of which touches a few variables.

    Attributes
    ----------
    touches : CSR array of shape (n_updates, n_variables)
        Which variables each update reads or writes.
    update_range : function of (start, stop, data, variables, step_size)
        Runs the updates that lie at start to stop - 1 of `data`, one after the other; compiled by numba, so
        module-level and plain. Every plan runs this same code.
    settles : bool
        Whether it is a `SettledProblem`, whose `settle` is called before the first epoch and after every one.
    counts_steps : bool
        Whether `lay_out` needs ``plan.steps``.
    """

    touches: csr_array

    @property
    def update_range(self) -> Callable[..., None]: ...
    @property
    def settles(self) -> bool: ...
    @property
    def counts_steps(self) -> bool: ...

    def start(self, rng: np.random.Generator) -> Variables:
        """Make the variables that a run starts from."""

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy the data of the updates into the order in which they will run, ``plan.order``."""

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return what is minimized, summed by `sum_over`; changes nothing."""


class SettledProblem(Problem, Protocol):
    """A problem with something that all updates read, or leave open, and that is settled between epochs."""

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float | None:
        """Solve for what every update reads (an intercept), and make up what updates left open.

        `step_size` is that of the epoch that just ended; None where none did. Returns the objective there if it came by
        on the way, to spare a call of `objective`.
        """


@runtime_checkable
class MeasuredProblem(Problem, Protocol):
    """A convex problem that can measure how far it is from its minimum.

    Attributes
    ----------
    is_measured : bool
        Whether `gradient_step` measures anything: not where the loss has a kink.
    """

    @property
    def is_measured(self) -> bool: ...

    def gradient_step(self, variables: Variables, sum_over: SumOver, enough: float = 0.0) -> float:
        """Return half the squared length of a proximal gradient step in variables scaled to curvature 1.

        About the distance of the objective to its minimum. Where a rough estimate is far above `enough`, it may be
        returned in place of the exact value.
        """

    def advice(self) -> str:
        """Return a sentence on how to make the problem converge faster, or an empty string."""


@runtime_checkable
class StreamedProblem(Problem, Protocol):
    """A problem whose rows can be brought into the order of an epoch a block at a time, while the epoch runs.

    Its updates remember nothing from one epoch to the next but in the variables that they touch, so that orders in
    blocks serve it as well as permutations (see `etesian.sparse.schedules.orders`); SAGA's do remember.

    Attributes
    ----------
    copy_range : function of (first, rows, source, target)
        Copies rows ``rows[0]``, ``rows[1]``, ... of `source` to rows ``first``, ``first + 1``, ... of `target`.
        Compiled as `update_range`.
    """

    @property
    def copy_range(self) -> Callable[..., None]: ...

    def rows(self) -> tuple[Any, ...]:
        """Return the data of the updates as given, in the form of `lay_out`."""

    def room_for(self, n: int, data: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return data of n rows, of any content, with the same types as `data`."""


@runtime_checkable
class MergingProblem(Problem, Protocol):
    """A problem that can be carried out by merged plans, in which lists work on copies of hot variables.

    Rows of copies stand behind those of the variables, list by list: of `n_hot` variables, copy `rank` of list `k`
    stands ``k * n_hot + rank`` rows behind the last variable. In `lay_out`, ``plan.copies.rename`` says which row an
    update works on.

    Attributes
    ----------
    spread_range : function of (start, stop, hot, n_lists, variables)
        Sets all copies of ``hot[start:stop]`` to what the variables hold; called when an epoch begins. Compiled as
        `update_range`.
    merge_range : function of (start, stop, hot, cuts, data, variables, step_size)
        Gives what the copies of ``hot[start:stop]`` gained to the variables, in the order of the lists, and sets the
        copies to what comes out; called after every batch. List k ran the updates ``cuts[k]`` to ``cuts[k + 1] - 1``.
        Lists that mend the same error overshoot together: the mean of the gains is always safe, their sum only where a
        batch changes little.
    """

    @property
    def spread_range(self) -> Callable[..., None]: ...
    @property
    def merge_range(self) -> Callable[..., None]: ...

    def with_copies(self, variables: Variables, n_copies: int) -> tuple[Variables, Variables]:
        """Return the variables as everyone sees them, and the same memory with `n_copies` more rows behind, to work on."""
