"""Leading eigenvector of a sparse symmetric matrix or of A'A, by shift-and-invert SVRG with Rayleigh-Ritz.

MAIN PATH: `leading_eigenvector`. Inverse iteration solves (shift I - M) z = v repeatedly (Garber et al. 2016; Jin et
al. 2015; Pan et al. 2016, section 5). Here one epoch of SVRG solves each system approximately, and the solutions span a
small subspace from which the best vector is chosen (generalized Davidson). An inaccurate solution costs an epoch, but
no accuracy.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.epochs import Seed
from etesian.sparse.problems.eigen import ShiftedRows
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.rayleigh_ritz import Ritz, Subspace, Vector, dot, length
from etesian.sparse.schedules.makers import Plan, Schedule, make_plan

LEAST_GAP = 1e-12  # smallest relative gap between shift and eigenvalue
MOST_GROWTH = (
    1e3  # largest growth of a solution relative to a vector at the Ritz value; beyond it the step size is too large
)


@dataclass(frozen=True, eq=False)
class Eigenpair:
    """Leading eigenvalue and eigenvector.

    Parameters
    ----------
    value
        Rayleigh quotient of the vector.
    vector : array of shape (n_columns,)
        Eigenvector of length 1, with a positive entry of largest absolute value.
    residual
        Length of M v - value v relative to the value, which bounds the relative distance to an eigenvalue of M.
    n_iter
        Number of epochs, each with one update per row.
    plan
        The plan of the last epoch.
    outcome
        ``"converged"``, ``"max_iter"`` or ``"interrupted"`` (by Ctrl-C).
    """

    value: float
    vector: Vector
    residual: float
    n_iter: int
    plan: Plan
    outcome: str


def leading_eigenvector(
    A: Any,
    *,
    of: Literal["symmetric", "gram"] = "symmetric",
    schedule: Schedule = "conflict_free",
    n_jobs: int | None = -1,
    tol: float = 1e-6,
    max_iter: int = 200,
    random_state: Seed = None,
    batch_size: int | None = None,
) -> Eigenpair:
    """Find the eigenvalue of largest absolute value and its eigenvector, in parallel with the same result as in serial.

    An epoch equals about sqrt(n_rows / stable rank) power iterations (the stable rank of A is the sum of all
    eigenvalues of A'A over the largest), but takes as long as ten to twenty products with A.
    Use `scipy.sparse.linalg.eigsh` instead if only the eigenvector matters: it was faster on every matrix tested, for
    example 0.048 s against 0.12 to 0.13 s for the graph in ``benchmarks/results/2026-11-23_races``. Use this function to
    study the stochastic method.

    Parameters
    ----------
    A : sparse or dense matrix of shape (n_rows, n_columns)
        Real, finite matrix. Epochs run in float32 for a float32 matrix, and otherwise in float64.
    of
        Matrix of the eigenproblem. ``"symmetric"`` is A itself, which must be symmetric. The epochs work on A'A, whose
        leading eigenvalue is the square of that of A; its sign is determined at the end. If both signs occur (the
        adjacency matrix of a bipartite graph), the two vectors are separated at the end, and the positive eigenvalue is
        returned. ``"gram"`` is A'A: the result is the first right singular vector of A and the square of its singular
        value.
    schedule
        Schedule: ``"conflict_free"``, ``"serial"`` (the same bits) or ``"lock_free"`` (not reproducible).
    n_jobs
        Number of threads; -1 means all cores. The result does not depend on it, unless the schedule is lock-free.
    tol
        Tolerance of the residual relative to the eigenvalue. The relative error of the eigenvalue is about ``tol**2``.
    max_iter
        Maximum number of epochs.
    random_state
        Seed of the starting vector and of the order of the rows in every epoch.
    batch_size
        Number of rows in a batch. Default: measured. The result does not depend on it.

    Returns
    -------
    Eigenpair
        Best pair found, even if the run ended early.

    Raises
    ------
    ValueError
        If the matrix is empty, zero, not finite, not real, or not symmetric for ``"symmetric"``; or an option is out of
        range.

    Warns
    -----
    ConvergenceWarning
        If the residual is above `tol` after `max_iter` epochs.
    ScheduleWarning
        If rows conflict too much for the schedule to help.
    """
    _check_options(of, schedule, tol, max_iter)
    rows, scale = _read(A, of)
    starting, ordering = np.random.default_rng(random_state).spawn(2)
    space = Subspace(lambda v: rows.T @ (rows @ v))
    space.add(starting.standard_normal(rows.shape[1]))
    with Workers(count_workers(n_jobs)) as workers:
        inverse = _Inverse(rows, workers, schedule=schedule, batch_size=batch_size, rng=ordering)
        best, outcome = _search(space, inverse, sign_by=rows if of == "symmetric" else None, tol=tol, max_iter=max_iter)
    pair = _pair(best, scale if of == "symmetric" else scale**2, inverse, outcome)
    if outcome == "max_iter":
        _warn(pair.residual, tol, max_iter)
    return pair


def _search(
    space: Subspace, inverse: _Inverse, *, sign_by: csr_array | None, tol: float, max_iter: int
) -> tuple[Ritz, str]:
    """Iterate until the best pairs of A'A and of A have converged; return the pair and the outcome."""
    try:
        while True:
            best = space.best()
            if best.residual <= tol * best.value:
                signed = best if sign_by is None else _with_sign(sign_by, best, tol)
                if signed.residual <= tol * abs(signed.value):
                    return signed, "converged"
                space.restart(signed.vector)  # one of a tied pair, with a small component so far
            elif inverse.n_epochs < max_iter:
                space.add(inverse.improve(best))
            else:
                outcome = "max_iter"
                break
    except KeyboardInterrupt:
        outcome = "interrupted"
    best = space.best()
    return best if sign_by is None else _with_sign(sign_by, best, tol), outcome


def _warn(residual: float, tol: float, max_iter: int) -> None:
    warnings.warn(
        f"the residual is {residual:.2g} of the eigenvalue after max_iter={max_iter} epochs, with tol={tol:g}: "
        "raise max_iter or tol",
        ConvergenceWarning,
        stacklevel=3,
    )


def _pair(best: Ritz, scale: float, inverse: _Inverse, outcome: str) -> Eigenpair:
    vector = best.vector * np.sign(best.vector[np.abs(best.vector).argmax()])
    residual = best.residual / abs(best.value) if best.value else math.inf
    return Eigenpair(best.value * scale, vector, residual, inverse.n_epochs, inverse.plan, outcome)


def _with_sign(A: csr_array, ritz: Ritz, tol: float) -> Ritz:
    """Turn an eigenvector of A'A = A^2 for size^2 into one of A for size or -size.

    A v + size v is an approximate eigenvector for size, and A v - size v for -size, since (A - size)(A + size) v is the
    small residual of v for A^2. The longer of the two has the smaller residual; the shorter one is used if its value
    also reaches size.
    """
    size = math.sqrt(ritz.value)
    product = A @ ritz.vector
    plus, minus = (_rayleigh(A, product + sign * size * ritz.vector) for sign in (1, -1))
    if plus is None or minus is None:
        return plus or minus or Ritz(0.0, ritz.vector, product)
    if plus.value >= (1 - tol) * size:
        return plus
    return min(plus, minus, key=lambda pair: pair.residual)


def _rayleigh(A: csr_array, vector: Vector) -> Ritz | None:
    """Return a vector with its Rayleigh quotient, or None for a zero vector."""
    if length(vector) == 0:
        return None
    vector = vector / length(vector)
    product = A @ vector
    value = dot(vector, product)
    return Ritz(value, vector, product - value * vector)


class _Inverse:
    """Improve approximate eigenvectors by an epoch of SVRG on a system with a shift just above the eigenvalue."""

    def __init__(
        self,
        A: csr_array,
        workers: Workers,
        *,
        schedule: Schedule,
        batch_size: int | None,
        rng: np.random.Generator,
    ) -> None:
        self._problem, self._workers = ShiftedRows(A), workers
        self._ordering, state_rng = rng.spawn(2)
        self._schedule, self._batch_size = schedule, batch_size
        self._plan_an_epoch()
        self._state: State = self._problem.start(state_rng)  # type: ignore[assignment]
        self._caution = 1.0
        self.n_epochs = 0

    def _plan_an_epoch(self) -> None:
        self.plan = make_plan(
            self._schedule,
            self._problem.touches,
            n_workers=self._workers.n_workers,
            rng=self._ordering,
            batch_size=self._batch_size,
            keep_steps=True,
        )
        self._schedule, self._batch_size = self.plan.schedule, self.plan.batch_size  # the same for all epochs
        self._rows = self._problem.lay_out(self.plan)

    def improve(self, ritz: Ritz) -> Vector:
        """Solve (shift I - A'A / n) t = residual approximately, so that v + t / gap solves the system for v.

        The shift is the Ritz value, a lower bound of the eigenvalue, plus the length of the residual, within which
        there is an eigenvalue. It decreases with the residual. If the shift is too low, the leading vector grows
        instead of converging.
        """
        if self.n_epochs > 0:
            self._plan_an_epoch()
        self.n_epochs += 1
        value, residual = ritz.value, ritz.residual_vector
        problem, state, n_rows = self._problem, self._state, self._problem.X.shape[0]
        gap = max(ritz.residual, LEAST_GAP * value)
        shift = (value + gap) / n_rows
        step_size = self._caution * problem.step_size(shift)
        rows = problem.pose(self._rows, state, shift=shift, pull=residual / gap)
        self._workers.run(self.plan, problem.update_range, rows, state, step_size)
        problem.finish(state, self._workers.sum, step_size)
        solution = state.coef[:, 0].astype(np.float64)
        if not np.abs(solution).max() * gap / n_rows <= MOST_GROWTH:  # also true for NaN
            self._caution /= 2
            return residual
        return solution


def _check_options(of: str, schedule: Schedule, tol: float, max_iter: int) -> None:
    if of not in ("symmetric", "gram"):
        raise ValueError(f"of must be 'symmetric' or 'gram'; got {of!r}")
    if schedule == "merged":
        raise ValueError("schedule 'merged' is not for eigenvectors; use 'conflict_free', 'levels' or 'auto'")
    if not 0 < tol < 1:
        raise ValueError(f"tol must be above 0 and below 1; got {tol!r}")
    if max_iter < 1:
        raise ValueError(f"max_iter must be at least 1; got {max_iter}")


def _read(A: Any, of: str) -> tuple[csr_array, float]:
    """Return A divided by a power of two near its largest entry, which keeps squares in range, and the divisor."""
    rows = csr_array(A)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"A must be a matrix with rows and columns; its shape is {rows.shape}")
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"A must contain real numbers; its type is {rows.dtype}")
    rows = rows.astype(np.float32 if rows.dtype == np.float32 else np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not np.isfinite(rows.data).all():
        raise ValueError("A must be finite; it contains NaN or infinity")
    if rows.nnz == 0:
        raise ValueError("A must not be zero: every vector would be an eigenvector")
    if of == "symmetric":
        _check_symmetric(rows)
    scale = 2.0 ** int(np.frexp(np.abs(rows.data).max())[1])  # dividing by a power of two is exact
    rows.data /= scale
    return rows, scale


def _check_symmetric(A: csr_array) -> None:
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square for of='symmetric'; its shape is {A.shape}. of='gram' takes any shape")
    difference = (A - A.T).tocoo()
    size = np.abs(difference.data)
    if difference.nnz and size.max() > 16 * np.finfo(A.dtype).eps * np.abs(A.data).max():
        i, j = (axis[size.argmax()] for axis in difference.coords)
        raise ValueError(
            f"A must be symmetric for of='symmetric'; A[{i}, {j}] and A[{j}, {i}] differ by {size.max():.2g}. "
            "Pass A + A.T, or of='gram' for A'A"
        )
