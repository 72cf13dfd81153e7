"""Check that updates touch only the rows that they declare. Updates run in plain Python, one at a time, on copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.problems.custom import CustomProblem

Rows = dict[str, NDArray[np.int64]]
"""Rows of variables, by name of the variables."""


def check_touches(
    problem: CustomProblem, *, n_updates: int = 50, step_size: float = 0.1, random_state: int | None = 0
) -> list[str]:
    """Run some updates, and report rows that they change or read and that `touches` does not list.

    A read is detected if another value in the row changes the result of the update. Reads without an effect, or with an
    effect that this starting point hides, go undetected. Rows beyond the end of an array are reported; negative indices
    count from the end, as in Python.

    Parameters
    ----------
    problem
        Problem to check. Its variables and data are not modified.
    n_updates
        Maximum number of updates to run, chosen at random.
    step_size
        Step size of the updates.
    random_state
        Seed of the chosen updates and of the other values.

    Returns
    -------
    list of str
        One sentence per violation; empty if none was found.
    """
    rng = np.random.default_rng(random_state)
    total = problem.touches.shape[0]
    tried = np.sort(rng.choice(total, min(n_updates, total), replace=False))
    with np.errstate(all="ignore"):  # other values may leave the range of an update
        return [fault for e in tried for fault in _faults(_Trial(problem, int(e), step_size), rng)]


def _faults(trial: _Trial, rng: np.random.Generator) -> Iterator[str]:
    try:
        changed = trial.changed()
    except Exception as error:  # the function is the user's and may raise anything
        yield f"update {trial.e} fails: {type(error).__name__}: {error}"
        return
    if changed is not None:
        yield f"update {trial.e} changes {changed}, which touches does not list"
    read = trial.read(rng)
    if read is not None:
        yield f"update {trial.e} reads {read}, which touches does not list"


class _Trial:
    """One update, run repeatedly from chosen values."""

    def __init__(self, problem: CustomProblem, e: int, step_size: float) -> None:
        self.e, self._step_size = e, step_size
        self._run = getattr(problem.update, "py_func", problem.update)
        self._data = problem.in_order()
        self._start = problem.start(np.random.default_rng(0))
        self._touched: Rows = {
            name: rows.indices[rows.indptr[e] : rows.indptr[e + 1]].astype(np.int64)
            for name, rows in problem.touched_rows.items()
        }

    def changed(self) -> str | None:
        """Return a row that the update changes and does not list."""
        data = self._copy(self._data)
        after = self._after(self._start, data)
        for name, old, new in zip(self._start._fields, self._start, after, strict=True):  # type: ignore[attr-defined]
            moved = _different_rows(old, new)
            beyond = np.setdiff1d(moved, self._touched.get(name, []))
            if len(beyond):
                return f"{name}[{beyond[0]}]"
        for name, old, new in zip(self._data._fields, self._data, data, strict=True):
            if _flat(old) != _flat(new):
                return f"data.{name}"
        return None

    def read(self, rng: np.random.Generator) -> str | None:
        """Return a row that the update reads and does not list, found by bisection over the rows not listed."""
        others = {
            name: np.setdiff1d(np.arange(len(getattr(self._start, name))), rows) for name, rows in self._touched.items()
        }
        noise = type(self._start)(*(_other_values(array, rng) for array in self._start))
        plain = self._outcome({}, noise)
        for name, rows in others.items():
            if self._outcome({name: rows}, noise) == plain:
                continue
            low, high = 0, len(rows)
            while high - low > 1:
                middle = (low + high) // 2
                is_below = self._outcome({name: rows[low:middle]}, noise) != plain
                low, high = (low, middle) if is_below else (middle, high)
            return f"{name}[{rows[low]}]"
        return None

    def _outcome(self, replaced: Rows, noise: Any) -> bytes | str:
        """Return the listed rows after the update when other rows hold other values, or the name of the error raised."""
        variables = self._copy(self._start)
        for name, rows in replaced.items():
            getattr(variables, name)[rows] = getattr(noise, name)[rows]
        try:
            after = self._after(variables, self._copy(self._data))
        except Exception as error:  # such as an invalid index read from a row
            return type(error).__name__
        return b"".join(getattr(after, name)[rows].tobytes() for name, rows in self._touched.items())

    def _after(self, variables: Any, data: Any) -> Any:
        variables = self._copy(variables)
        self._run(self.e, data, variables, self._step_size)
        return variables

    def _copy(self, values: Any) -> Any:
        return type(values)(
            *(self._copy(v) if isinstance(v, tuple) else v.copy() if isinstance(v, np.ndarray) else v for v in values)
        )


def _different_rows(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.int64]:
    is_same = (old == new) | (np.isnan(old) & np.isnan(new))
    return np.flatnonzero(~is_same.reshape(len(old), -1).all(axis=1))


def _flat(value: Any) -> bytes:
    return b"".join(map(_flat, value)) if isinstance(value, tuple) else np.asarray(value).tobytes()


def _other_values(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    if array.dtype.kind in "fc":
        return (array + 1 + rng.random(array.shape)).astype(array.dtype)
    return ~array if array.dtype.kind == "b" else array + 1
