"""Which variables a merged plan exempts: the fewest hottest ones without which batches fall into small components.

Depends on the touches alone, never on workers or on the order that a run samples. Knows nothing of how copies are merged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflicts import BARRIER_UPDATES, SMALLEST_BATCH, Touches, as_touches, measure_balance
from etesian.sparse.schedules.plan import Copies

N_LISTS = 8  # lists a batch: more could keep more workers busy, and cost more merging
BATCHES_AN_EPOCH = 64  # merging rarely costs epochs: benchmarks/results, hot variables
LARGEST_MERGED_BATCH = 1_024
SPLIT = 0.9  # of what lists of equal length would reach
N_SAMPLES = 4


def default_merged_batch(n_updates: int) -> int:
    """Updates between two merges, from the number of updates alone: the result depends on it."""
    return min(LARGEST_MERGED_BATCH, max(SMALLEST_BATCH, n_updates // BATCHES_AN_EPOCH))


def find_hot(matrix: csr_array, *, batch_size: int, n_lists: int) -> NDArray[np.int64]:
    """Return the fewest hottest variables without which the components of batches spread well over the lists.

    Their number is found by bisection on batches of rows drawn by a seed of its own, so the answer is the same for every run.

    Parameters
    ----------
    matrix : CSR array of shape (n_updates, n_variables)
        Which variables each update reads or writes.
    batch_size, n_lists
        Updates a batch, lists a batch.

    Returns
    -------
    array of shape (n_hot,)
        In the order of their numbers. Empty where batches fall apart as they are.
    """
    n_updates, n_variables = matrix.shape
    counts = np.bincount(matrix.indices, minlength=n_variables)
    hottest_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    batch_size = min(batch_size, n_updates)
    drawn = np.random.default_rng(0).permutation(n_updates)[: N_SAMPLES * batch_size]
    sample = as_touches(matrix[drawn])
    too_few, enough = -1, len(hottest_first)  # without any variable, nothing hangs together
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _spreads(leave_out(sample, hottest_first[:middle]), batch_size, n_lists):
            enough = middle
        else:
            too_few = middle
    return np.sort(hottest_first[:enough])


def _spreads(touches: Touches, batch_size: int, n_lists: int) -> bool:
    order = np.arange(len(touches.indptr) - 1)
    balance = measure_balance(touches, order, batch_size=batch_size, n_workers=n_lists, n_samples=N_SAMPLES)
    longest = -(-batch_size // n_lists)  # if all lists were as even as can be
    return balance.predicted_speedup >= SPLIT * batch_size / (longest + BARRIER_UPDATES)


def leave_out(touches: Touches, variables: NDArray[np.int64]) -> Touches:
    """Return the same updates as if they did not touch some variables."""
    is_kept = np.ones(touches.n_variables, bool)
    is_kept[variables] = False
    kept = is_kept[touches.indices]
    indptr = np.concatenate([[0], np.cumsum(kept)])[touches.indptr].astype(touches.indptr.dtype)
    lengths = np.diff(indptr)
    longest = int(lengths.max())
    width = longest if longest == lengths.min() else 0
    return Touches(indptr, touches.indices[kept], touches.n_variables, longest, width)


def predict_speedup(copies: Copies, *, n_workers: int, mean_touches: float) -> float:
    """Predict how many times as fast as one worker without copies an epoch is.

    A copy that is merged counts as one touch of a variable, and each of a batch's two barriers as `BARRIER_UPDATES` updates.

    Parameters
    ----------
    copies
        Of a merged plan.
    n_workers
        Who carry it out.
    mean_touches
        Variables that an update touches.
    """
    offsets = copies.offsets(n_workers)
    busiest = np.diff(offsets, axis=1).max(axis=1).sum()
    merging = -(-len(copies.hot) // n_workers) * copies.n_lists / max(mean_touches, 1.0)
    waiting = 2 * BARRIER_UPDATES if n_workers > 1 else 0
    return float(offsets[-1, -1] / (busiest + len(offsets) * (merging + waiting)))
