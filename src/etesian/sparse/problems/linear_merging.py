"""The compiled merging of copies of hot features, in merged plans of linear problems."""

from __future__ import annotations

from numba import njit

from etesian.sparse.problems.penalties.functions import prepare_steps, sets_zeros, take_steps
from etesian.sparse.problems.penalties.l2 import fast_expm1


def spread_copies(start, stop, hot, n_lists, state):
    """Set all copies of the hot features start to stop - 1 to what the features hold; lists have made no step yet."""
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
    """Add a share of what copies of the hot features start to stop - 1 gained to the features, and begin anew.

    A copy goes through the steps of its list alone, sparse and dense parts alike. So each list is a short run of the
    method from where the features stand, all lists together make as many steps as the batch has, and at the optimum no
    copy gains anything. Mean gradients are added up whole: they are a sum over what is remembered.
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
    """Make up what copies missed of their lists; their counts begin anew."""
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
def share_of_gains(n_lists, reach):
    """Return the share of the gains of lists that is added up, lest lists that mend the same error overshoot together.

    Along a direction of curvature c, n updates of step s leave exp(-n s c) of a distance, so n_lists lists gain 1 -
    exp(-n s c / n_lists) of it each, and 1 - exp(-n s c) one after the other. The share makes the sum of the former the
    latter. It comes to 1 where little is gained and to 1 / n_lists, the mean of the copies, where all is. `reach` is n
    s c.
    """
    if reach < 1e-12:
        return 1.0
    return fast_expm1(-reach) / (n_lists * fast_expm1(-reach / n_lists))


@njit(nogil=True)
def _add_gains(start, stop, hot, n_lists, array, curvature, step_size, stops_at_zero):
    """Add up, list by list, what copies have more than their features, and give the sums to all copies.

    An L1 penalty stops each list at 0. Lists that all got there have one gain between them, so together they stop
    there, too.
    """
    first = len(array) - n_lists * len(hot)
    for rank in range(start, stop):
        j, share = hot[rank], share_of_gains(n_lists, step_size * curvature[rank])
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
            if stops_at_zero and total < 0.0:  # what is no number stays so
                total = 0.0
            total += share * past_zero
            for copy in range(first + rank, len(array), len(hot)):
                array[copy, k] = sign * total
            array[j, k] = sign * total
