"""The leading eigenvector of a sparse symmetric matrix or of A'A: shift and invert by SVRG, held together by Rayleigh-Ritz.

MAIN PATH: `leading_eigenvector`. Inverse iteration solves (shift I - M) z = v again and again (Garber et al. 2016; Jin
et al. 2015; Pan et al. 2016, section 5). Here one epoch of SVRG solves each system roughly, and the solutions are not
thrown away but span a small subspace whose best vector is taken (generalized Davidson): a poor solution costs an epoch,
never accuracy.
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

LEAST_GAP = 1e-12  # of the shift above the eigenvalue, as a share of it, so that the system stays solvable
MOST_GROWTH = 1e3  # of a solution, over that of a vector at the Ritz value; beyond, the step was too large


@dataclass(frozen=True, eq=False)
class Eigenpair:
    """A leading eigenvalue and its vector.

    Parameters
    ----------
    value
        Rayleigh quotient of the vector.
    vector : array of shape (n_columns,)
        Of length 1; its largest entry in absolute value is positive.
    residual
        Length of M v - value v, as a share of the value; there is an eigenvalue of M within this share of `value`.
    n_iter
        Epochs that ran, each going through every row once.
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
    """Find the eigenvalue of largest absolute value, and its vector, on all cores with the serial run's exact result.

    An epoch is worth about sqrt(n_rows / stable rank) power iterations (the stable rank of A is the sum of all
    eigenvalues of A'A over the largest), but costs as much as ten to twenty products with A.
    `scipy.sparse.linalg.eigsh` was faster on every matrix tried; this is for the reproducible parallel form of the
    stochastic method.

    Parameters
    ----------
    A : sparse or dense matrix of shape (n_rows, n_columns)
        Real and finite. float32 is kept for the epochs, everything else becomes float64.
    of
        ``"symmetric"``: of A itself, which must be symmetric. Rows of A give A'A, whose leading eigenvalue is the
        square of A's of largest absolute value; its sign is found at the end. Where both signs tie (the adjacency
        matrix of a bipartite graph), A'A cannot tell the two vectors apart: they are taken apart at the end, and the
        positive one is returned. ``"gram"``: of A'A, that is the first right singular vector of A, and the square of
        its singular value.
    schedule
        ``"conflict_free"``, ``"serial"`` (the same bits) or ``"lock_free"`` (other bits every time).
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    tol
        Stop at this residual, relative to the eigenvalue, whose own relative error is then about ``tol**2``.
    max_iter
        Epochs at most.
    random_state
        Seed of the starting vector and of the order of the rows, which is drawn anew for every epoch.
    batch_size
        Rows a batch; measured by default. The result does not depend on it.

    Returns
    -------
    Eigenpair
        The best pair found, also when the run ended early.

    Raises
    ------
    ValueError
        For a matrix that is empty, zero, not finite or not real, or not symmetric where it has to be; options out of
        range.

    Warns
    -----
    ConvergenceWarning
        When `max_iter` epochs leave a residual above `tol`.
    ScheduleWarning
        When rows conflict too much for the schedule asked for.
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
    """Improve until the best pair of A'A has converged, and that of A with it; the pair, and how the search ended."""
    try:
        while True:
            best = space.best()
            if best.residual <= tol * best.value:
                signed = best if sign_by is None else _with_sign(sign_by, best, tol)
                if signed.residual <= tol * abs(signed.value):
                    return signed, "converged"
                space.restart(signed.vector)  # one of two that tie, met at a low share
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

    A v + size v belongs to size and A v - size v to -size, since (A - size)(A + size) v is the residual of v for A^2,
    which is small. The longer of the two has the smaller residual; a shorter one counts if its value reaches size all
    the same.
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
    """Return a vector with its Rayleigh quotient; None for a vector of 0."""
    if length(vector) == 0:
        return None
    vector = vector / length(vector)
    product = A @ vector
    value = dot(vector, product)
    return Ritz(value, vector, product - value * vector)


class _Inverse:
    """Improves approximate eigenvectors, each by an epoch of SVRG on a system shifted to just above its eigenvalue."""

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
        self._schedule, self._batch_size = self.plan.schedule, self.plan.batch_size  # decided once for all epochs
        self._rows = self._problem.lay_out(self.plan)

    def improve(self, ritz: Ritz) -> Vector:
        """Solve (shift I - A'A / n) t = residual roughly: then v + t / gap solves the system with v on the right.

        The shift is the Ritz value, a lower bound of the eigenvalue, plus the residual's length, which an eigenvalue
        lies within: far above while the vector is poor, and lowered as the residual falls. A shift that is too low
        after all only lets the leading vector grow in place of converging.
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
        if not np.abs(solution).max() * gap / n_rows <= MOST_GROWTH:  # or is not a number
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
    """Return the rows of A over about its largest entry, which keeps squares in range, and what they were divided by."""
    rows = csr_array(A)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"A must be a matrix with rows and columns; its shape is {rows.shape}")
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"A must hold real numbers; its type is {rows.dtype}")
    rows = rows.astype(np.float32 if rows.dtype == np.float32 else np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not np.isfinite(rows.data).all():
        raise ValueError("A must be finite; it holds NaN or infinity")
    if rows.nnz == 0:
        raise ValueError("A must not be zero: every vector would be an eigenvector")
    if of == "symmetric":
        _check_symmetric(rows)
    scale = 2.0 ** int(np.frexp(np.abs(rows.data).max())[1])  # a power of two changes no digit
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
