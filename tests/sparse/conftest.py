"""Conflict graphs for hypothesis, and a problem with a result that depends on the order of every conflict."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

settings.register_profile("etesian", deadline=None, derandomize=True)
settings.load_profile("etesian")

WORKERS = (1, 2, 3, 4, 7)


@pytest.fixture(autouse=True)
def heed_interrupts():
    """Tests may be a job in the background, which ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def touches_of(rows: list[set[int]], n_variables: int) -> csr_array:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    indices = np.array([v for row in rows for v in sorted(row)], np.int32)
    return csr_array((np.ones(len(indices), np.int8), indices, indptr), shape=(len(rows), n_variables))


@st.composite
def conflict_graphs(draw: st.DrawFn) -> csr_array:
    """From updates that share nothing to updates that all share one variable, equal rows and uneven ones."""
    n_variables = draw(st.integers(1, 40))
    variable = st.integers(0, n_variables - 1)
    size = draw(st.sampled_from([(1, 1), (2, 2), (1, 4)]))
    row = st.sets(variable, min_size=min(size[0], n_variables), max_size=min(size[1], n_variables))
    return touches_of(draw(st.lists(row, min_size=1, max_size=80)), n_variables)


def _mix_range(start, stop, data, variables, step_size):
    indptr, indices, value = data
    (x,) = variables
    for e in range(start, stop):
        total = 0.0
        for position in range(indptr[e], indptr[e + 1]):
            total += x[indices[position]]
        for position in range(indptr[e], indptr[e + 1]):
            x[indices[position]] = 0.3 * x[indices[position]] + 0.2 * total + step_size * value[e]


@dataclass
class Mixing:
    """Each update moves its variables towards their sum and its own number: two that conflict do not commute."""

    touches: csr_array
    settles = False
    counts_steps = False
    update_range = staticmethod(_mix_range)

    def start(self, rng):
        return (rng.standard_normal(self.touches.shape[1]),)

    def lay_out(self, plan):
        rows = self.touches[plan.order]
        return rows.indptr.astype(np.int64), rows.indices.astype(np.int64), np.sin(1.0 + plan.order)

    def objective(self, variables, sum_over):
        return float(np.abs(variables[0]).sum())


def _idle_range(start, stop, data, variables, step_size):
    (x,) = variables
    for e in range(start, stop):
        for _ in range(10_000):
            x[e] = math.sin(x[e] + 1.0)


@dataclass
class Slow:
    """Independent updates of a fifth of a millisecond each; a variable that was reached is no longer 0."""

    n: int
    settles = False
    counts_steps = False
    update_range = staticmethod(_idle_range)

    def __post_init__(self):
        self.touches = touches_of([{v} for v in range(self.n)], self.n)

    def start(self, rng):
        self.x = np.zeros(self.n)
        return (self.x,)

    def interrupt_when_running(self):
        """Send Ctrl-C to this process once some updates have run."""

        def interrupt():
            while not self.x.any():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        self.x = np.zeros(self.n)
        threading.Thread(target=interrupt, daemon=True).start()

    def lay_out(self, plan):
        return (plan.order,)

    def objective(self, variables, sum_over):
        return 0.0
