"""Hot variables, which a merged plan exempts from conflicts so that batches split into small components.

The choice depends on the touches alone, not on the number of workers or the sampled order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflicts import BARRIER_UPDATES, SMALLEST_BATCH, Touches, as_touches, measure_balance
from etesian.sparse.schedules.plan import Copies

N_LISTS = 8  # lists per batch: more lists occupy more workers, and cost more merging
BATCHES_AN_EPOCH = 64  # merging rarely costs extra epochs: benchmarks/results, hot variables
LARGEST_MERGED_BATCH = 1_024
SPLIT = 0.9  # fraction of the speed-up of lists of equal length
N_SAMPLES = 4


def default_merged_batch(n_updates: int) -> int:
    """Return the default number of updates between two merges, which affects the result and so ignores the workers."""
    return min(LARGEST_MERGED_BATCH, max(SMALLEST_BATCH, n_updates // BATCHES_AN_EPOCH))


def find_hot(matrix: csr_array, *, batch_size: int, n_lists: int) -> NDArray[np.int64]:
    """Return the smallest set of hottest variables without which components balance well over the lists.

    Its size is found by bisection on batches drawn with a fixed seed, so it is the same in every run.

    Parameters
    ----------
    matrix : CSR array of shape (n_updates, n_variables)
        Variables that each update reads or writes.
    batch_size, n_lists
        Number of updates and of lists per batch.

    Returns
    -------
    array of shape (n_hot,)
        Indices in ascending order. Empty if batches split well without an exemption.
    """
    n_updates, n_variables = matrix.shape
    counts = np.bincount(matrix.indices, minlength=n_variables)
    hottest_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    batch_size = min(batch_size, n_updates)
    drawn = np.random.default_rng(0).permutation(n_updates)[: N_SAMPLES * batch_size]
    sample = as_touches(matrix[drawn])
    too_few, enough = -1, len(hottest_first)  # without variables there are no conflicts
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _spreads(without_variables(sample, hottest_first[:middle]), batch_size, n_lists):
            enough = middle
        else:
            too_few = middle
    return np.sort(hottest_first[:enough])


def _spreads(touches: Touches, batch_size: int, n_lists: int) -> bool:
    order = np.arange(len(touches.indptr) - 1)
    balance = measure_balance(touches, order, batch_size=batch_size, n_workers=n_lists, n_samples=N_SAMPLES)
    longest = -(-batch_size // n_lists)  # if all lists were equally long
    return balance.predicted_speedup >= SPLIT * batch_size / (longest + BARRIER_UPDATES)


def without_variables(touches: Touches, variables: NDArray[np.int64]) -> Touches:
    """Return the touches without some variables."""
    is_kept = np.ones(touches.n_variables, bool)
    is_kept[variables] = False
    kept = is_kept[touches.indices]
    indptr = np.concatenate([[0], np.cumsum(kept)])[touches.indptr].astype(touches.indptr.dtype)
    lengths = np.diff(indptr)
    longest = int(lengths.max())
    width = longest if longest == lengths.min() else 0
    return Touches(indptr, touches.indices[kept], touches.n_variables, longest, width)


def predict_speedup(copies: Copies, *, n_workers: int, mean_touches: float) -> float:
    """Predict the speed-up of an epoch over one worker without copies.

    Merging a copy counts as one touch of a variable, and each of the two barriers of a batch as `BARRIER_UPDATES`
    updates.

    Parameters
    ----------
    copies
        Copies of a merged plan.
    n_workers
        Number of workers.
    mean_touches
        Mean number of variables that an update touches.
    """
    offsets = copies.offsets(n_workers)
    busiest = np.diff(offsets, axis=1).max(axis=1).sum()
    merging = -(-len(copies.hot) // n_workers) * copies.n_lists / max(mean_touches, 1.0)
    waiting = 2 * BARRIER_UPDATES if n_workers > 1 else 0
    return float(offsets[-1, -1] / (busiest + len(offsets) * (merging + waiting)))
