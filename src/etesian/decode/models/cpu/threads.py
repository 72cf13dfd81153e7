"""The threads that run the parts of a compiled pass."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from etesian._shared.barrier import FAILED

SMALL_BYTES = 2_000_000
"""Bytes of weights below which a second thread costs more than it saves."""


class ThreadTeam:
    """Threads that run one function together, the calling thread as the first of them.

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._pool = _new_pool(n_threads)
        self._lock = Lock()

    def run(self, work: Callable[[int], None], barrier: NDArray[np.int64]) -> None:
        """Call ``work(worker)`` on each thread; `barrier` is the one at which they wait for each other.

        Calls from several threads run one after another, since each needs the whole team.
        """
        with self._lock:
            try:
                others = [self._pool.submit(work, worker) for worker in range(1, self.n_threads)]
                work(0)
            except BaseException:  # such as Ctrl-C: the other threads must not wait for this one
                barrier[FAILED] = 1
                self._pool.shutdown()
                self._pool = _new_pool(self.n_threads)
                barrier[:] = 0
                raise
            for other in others:
                other.result()


def default_threads(n_bytes: int | None = None) -> int:
    """Return torch's number of threads if it has been imported, else the number of cores that this process may use.

    One thread for weights of at most `SMALL_BYTES`.
    """
    if n_bytes is not None and n_bytes <= SMALL_BYTES:
        return 1
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _new_pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(n_threads - 1, 1), thread_name_prefix="etesian-decode")
