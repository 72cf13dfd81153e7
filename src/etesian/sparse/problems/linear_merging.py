"""Compiled merging of copies of hot features, for merged plans of linear problems."""

from __future__ import annotations

from numba import njit

from etesian.sparse.problems.penalties import prepare_steps, sets_zeros, take_steps
from etesian.sparse.problems.penalties.l2 import fast_expm1


def spread_copies(start, stop, hot, n_lists, state):
    """Initialize all copies of the hot features ``start`` to ``stop - 1``, with no steps taken."""
    coef, _, mean_gradient, memory, caught_up = state
    first = len(caught_up) - n_lists * len(hot)
    for rank in range(start, stop):
        j = hot[rank]
        for copy in range(first + rank, len(caught_up), len(hot)):
            caught_up[copy] = 0
            for k in range(coef.shape[1]):
                coef[copy, k] = coef[j, k]
                if len(memory) > 0:
                    mean_gradient[copy, k] = mean_gradient[j, k]


def merge_copies(start, stop, hot, cuts, rows, state, step_size):
    """Add a share of the changes of copies to the hot features ``start`` to ``stop - 1``, and reset the copies.

    A copy takes the sparse and dense steps of its list only. Each list is therefore a short run of the method from the
    current features, all lists together take as many steps as the batch has updates, and copies do not move at the
    optimum. Changes of mean gradients are added without a factor, since a mean gradient is a sum over the memory.
    """
    n_lists, caught_up = len(cuts) - 1, state.caught_up
    _finish_lists(start, stop, hot, cuts, rows, state, step_size)
    _add_gains(start, stop, hot, n_lists, state.coef, rows.hot_curvature, step_size, sets_zeros(rows.penalty))
    if rows.learns_memory:
        _add_gains(start, stop, hot, n_lists, state.mean_gradient, rows.hot_curvature, 0.0, False)
    for rank in range(start, stop):
        caught_up[hot[rank]] = cuts[n_lists]


@njit(nogil=True)
def _finish_lists(start, stop, hot, cuts, rows, state, step_size):
    """Apply pending dense steps of copies, and reset their step counts."""
    coef, _, mean_gradient, memory, caught_up = state
    penalty, scale, remembers = rows.penalty, rows.scale, len(memory) > 0
    first = len(caught_up) - (len(cuts) - 1) * len(hot)
    for part in range(len(cuts) - 1):
        n_steps = cuts[part + 1] - cuts[part]
        for rank in range(start, stop):
            copy = first + part * len(hot) + rank
            missed = n_steps - caught_up[copy]
            prepared = prepare_steps(penalty, missed, step_size * scale[copy] if len(scale) > 0 else step_size)
            caught_up[copy] = 0
            for k in range(coef.shape[1]):
                gradient = mean_gradient[copy, k] if remembers else 0.0
                coef[copy, k] = take_steps(penalty, prepared, float(coef[copy, k]), gradient)


@njit(nogil=True)
def merge_factor(n_lists, reach):
    """Return the factor of the summed changes of lists, which avoids overshoot when lists correct the same error.

    Along a direction of curvature c, n updates of step size s reduce a distance by the factor exp(-n s c). Each of
    n_lists lists covers 1 - exp(-n s c / n_lists) of the distance, and all in turn cover 1 - exp(-n s c). The factor is
    the ratio of the latter to the sum of the former: about 1 for small changes, and 1 / n_lists, the mean of the
    copies, for large ones. `reach` is n s c.
    """
    if reach < 1e-12:
        return 1.0
    return fast_expm1(-reach) / (n_lists * fast_expm1(-reach / n_lists))


@njit(nogil=True)
def _add_gains(start, stop, hot, n_lists, array, curvature, step_size, stops_at_zero):
    """Sum the changes of copies, list by list, and assign the result to all copies.

    An L1 penalty stops each list at 0. If all lists reach 0, so does the result.
    """
    first = len(array) - n_lists * len(hot)
    for rank in range(start, stop):
        j, share = hot[rank], merge_factor(n_lists, step_size * curvature[rank])
        for k in range(array.shape[1]):
            sign = -1.0 if array[j, k] < 0.0 else 1.0
            size, gained, past_zero = sign * array[j, k], 0.0, 0.0
            for copy in range(first + rank, len(array), len(hot)):
                value = sign * array[copy, k]
                if stops_at_zero and value < 0.0:
                    past_zero += value
                    value = 0.0
                gained += value - size
            total = size + share * gained
            if stops_at_zero and total < 0.0:  # NaN is preserved
                total = 0.0
            total += share * past_zero
            for copy in range(first + rank, len(array), len(hot)):
                array[copy, k] = sign * total
            array[j, k] = sign * total
