"""The compiled updates of linear problems: sparse steps where a row has features, dense ones made up when next touched.

Between two touches a coefficient x goes through the same step again and again, x <- shrink((1 - mu) x - nu, tau): mu comes from
the ridge penalty, nu from a mean gradient, tau from the L1 penalty, and shrink(x, tau) moves x towards 0 by tau, not beyond
it. That is the dense part of an update (Pan et al. 2016, section 4: x_j <- (1 - mu_j) x_j - nu_j + h_j, where only h is
sparse); here it is applied in closed form from the number of steps missed. Knows nothing of plans, estimators or files.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.atomics import prefetch_to_write

AHEAD = 4  # rows between asking for what one touches and touching it: memory that another core wrote takes long to come


class Rows(NamedTuple):
    """Rows of the data in some order, and what their updates need to know.

    Parameters
    ----------
    indptr, indices, values
        Features, as in a CSR matrix with sorted columns that do not repeat.
    target : array of shape (n,)
        Real, or -1 and 1, or (with several outputs) the number of the class.
    weight : array of shape (n,)
        Of each row's loss; 1 on average.
    steps : array of shape (n,)
        Place of each row in the sampled order.
    ids : array of shape (n,)
        Place of each row in the data as given.
    ridge, lasso : float
        Penalties: ridge / 2 |w|^2 + lasso |w|_1.
    learns_memory : bool
        SAGA: whether an update stores its slope, and moves the mean gradient.
    derivative
        Of the loss, compiled.
    first_copy : int
        Where copies of features begin, in a merged plan.
    steps_of_copies : array of shape (n,)
        Place of each row in its list: what copies count steps by.
    hot_curvature : array of shape (n_hot,)
        In a merged plan, the curvature of a batch along each hot feature that merging is to reckon with; empty elsewhere.
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]
    steps: NDArray[Any]
    ids: NDArray[Any]
    ridge: float
    lasso: float
    learns_memory: bool
    derivative: Any
    first_copy: int
    steps_of_copies: NDArray[Any]
    hot_curvature: NDArray[Any]


class State(NamedTuple):
    """The variables. A coefficient's row, its mean gradient and its count belong together: who touches one owns all three.

    Parameters
    ----------
    coef : array of shape (n_features, n_outputs)
        Coefficients.
    intercept : array of shape (n_outputs,)
        Read by every update, changed between epochs only.
    mean_gradient : array of shape (n_features, n_outputs)
        Of the loss where `memory` was taken: SVRG's full gradient, SAGA's mean; shape (0, n_outputs) for SGD.
    memory : array of shape (n_rows, n_outputs)
        Slope of each row's loss when it was last looked at; shape (0, n_outputs) for SGD.
    caught_up : array of shape (n_features,)
        Steps of this epoch that a coefficient has been through.
    """

    coef: NDArray[Any]
    intercept: NDArray[Any]
    mean_gradient: NDArray[Any]
    memory: NDArray[Any]
    caught_up: NDArray[Any]


@njit(nogil=True)
def shrink(x, tau):
    """Move x towards 0 by tau, not beyond it: the proximal operator of tau |x|."""
    if x > tau:
        return x - tau
    if x < -tau:
        return x + tau
    return 0.0 * x


_EXPM1_SERIES = tuple(
    1.0 / math.factorial(n) for n in range(13, 0, -1)
)  # at -1/4 the next term is below 1e-18 of the sum


@njit(nogil=True)
def fast_expm1(x):
    """Return exp(x) - 1, to rounding, for x of 0 or less; near 0 by its Taylor series, which vectorizes and is not called."""
    if x < -0.25:
        return math.expm1(x)
    total = 0.0
    for coefficient in _EXPM1_SERIES:
        total = total * x + coefficient
    return total * x


@njit(nogil=True)
def keep_and_gain(n, mu, rate):
    """Return the factors of x and of -nu after n times x <- (1 - mu) x - nu; `rate` is log(1 - mu), taken once for many n.

    Without mu the sum of n terms is n, not 0 / 0.
    """
    if n * mu < 1e-15:  # to rounding as if mu were 0
        return 1.0 - n * mu, float(n)
    lost = fast_expm1(n * rate)
    return 1.0 + lost, -lost / mu


@njit(nogil=True)
def after_steps(x, n, mu, nu, tau):
    """Apply x <- shrink((1 - mu) x - nu, tau), n times, in time logarithmic in n.

    While x keeps its sign a step is linear, with nu + tau or nu - tau. That path is monotone, so the step before which the sign is
    lost is found by bisection, and the step that loses it is made as it stands. A path leaves 0 at most once.
    """
    rate = math.log1p(-mu)
    while n > 0:
        if x > 0.0 or (x == 0.0 and nu < -tau):
            sign = 1.0
        elif x < 0.0 or nu > tau:
            sign = -1.0
        else:
            return 0.0
        kept = _steps_that_keep_sign(x, n, mu, rate, nu + sign * tau, sign)
        keep, gain = keep_and_gain(kept, mu, rate)
        x = keep * x - gain * (nu + sign * tau)
        n -= kept
        if n > 0:
            x = shrink((1.0 - mu) * x - nu, tau)
            n -= 1
    return x


@njit(nogil=True)
def _steps_that_keep_sign(x, n, mu, rate, nu, sign):
    low, high = 0, n + 1  # low steps keep the sign (or none is made), high steps lose it
    middle = n
    while high - low > 1:
        keep, gain = keep_and_gain(middle, mu, rate)
        if sign * (keep * x - gain * nu) > 0.0:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


@njit(nogil=True)
def _made_up(x, n, keep, gain, mu, nu, tau):
    """Return a coefficient after n missed steps; `keep` and `gain` are those of n and mu."""
    if tau > 0.0:
        return after_steps(x, n, mu, nu, tau)
    return keep * x - gain * nu


@njit(nogil=True)
def target_of(target, output, n_outputs):
    """Return what an output aims at: with several outputs, 1 for the row's own class and -1 for the rest."""
    if n_outputs == 1:
        return target
    return 1.0 if target == output else -1.0


@njit(nogil=True, inline="always")
def _update(start, stop, rows, state, step_size, n_outputs):  # noqa: C901, PLR0912  one piece, see `update_rows`
    indptr, indices, values, target, weight, steps, ids, ridge, lasso, learns_memory, derivative, first_copy, own, _ = (
        rows
    )
    coef, intercept, mean_gradient, memory, caught_up = state
    remembers, mu, tau = len(memory) > 0, step_size * ridge, step_size * lasso
    rate, share = math.log1p(-mu), 1.0 / max(len(memory), 1)
    slope = np.empty(n_outputs)
    for e in range(start, stop):
        step, first, last = steps[e], indptr[e], indptr[e + 1]
        if e + AHEAD < stop:
            if remembers:
                prefetch_to_write(memory, (ids[e + AHEAD], 0))
            for position in range(indptr[e + AHEAD], indptr[e + AHEAD + 1]):
                j = indices[position]
                prefetch_to_write(coef, (j, 0))
                prefetch_to_write(caught_up, (j,))
                if remembers:
                    prefetch_to_write(mean_gradient, (j, 0))
        for k in range(n_outputs):
            slope[k] = intercept[k]
        for position in range(first, last):  # make up what was missed, and predict
            j, value = indices[position], values[position]
            missed = (step if j < first_copy else own[e]) - caught_up[j]
            if missed > 0:  # below 0 only where lock-free workers overtake one another
                keep, gain = keep_and_gain(missed, mu, rate)
                for k in range(n_outputs):
                    nu = step_size * mean_gradient[j, k] if remembers else 0.0
                    coef[j, k] = _made_up(float(coef[j, k]), missed, keep, gain, mu, nu, tau)
            for k in range(n_outputs):
                slope[k] += value * coef[j, k]
        for k in range(n_outputs):  # from predictions to slopes, less those remembered
            new = weight[e] * derivative(slope[k], target_of(target[e], k, n_outputs))
            slope[k] = new - memory[ids[e], k] if remembers else new
            if learns_memory:
                memory[ids[e], k] = new
        for position in range(first, last):  # step: the sparse part, and the dense part of this one step
            j, value = indices[position], values[position]
            caught_up[j] = (step if j < first_copy else own[e]) + 1
            for k in range(n_outputs):
                change = slope[k] * value
                gradient = change + mean_gradient[j, k] if remembers else change
                moved = (1.0 - mu) * coef[j, k] - step_size * gradient
                coef[j, k] = shrink(moved, tau) if tau > 0.0 else moved
                if learns_memory:
                    mean_gradient[j, k] += change * share


def update_rows(start, stop, rows, state, step_size):
    """Run the updates of rows start to stop - 1 in turn: SGD, SVRG or SAGA, as `rows` and `state` say.

    In one piece, with the tuples taken apart once: numba counts references to the arrays of a tuple that is passed on, in memory
    that all threads share, which made an update of two features eight times as slow. One output is the case that counts, and
    its loops over outputs fall away when their number is known.
    """
    if state.coef.shape[1] == 1:
        _update(start, stop, rows, state, step_size, 1)
    else:
        _update(start, stop, rows, state, step_size, state.coef.shape[1])


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

    A copy goes through the steps of its list alone, sparse and dense parts alike. So each list is a short run of the method from
    where the features stand, all lists together make as many steps as the batch has, and at the optimum no copy gains anything.
    Mean gradients are added up whole: they are a sum over what is remembered.
    """
    n_lists, caught_up = len(cuts) - 1, state.caught_up
    _finish_lists(start, stop, hot, cuts, rows.ridge, rows.lasso, state, step_size)
    _add_gains(start, stop, hot, n_lists, state.coef, rows.hot_curvature, step_size, rows.lasso > 0.0)
    if rows.learns_memory:
        _add_gains(start, stop, hot, n_lists, state.mean_gradient, rows.hot_curvature, 0.0, False)
    for rank in range(start, stop):
        caught_up[hot[rank]] = cuts[n_lists]


@njit(nogil=True)
def _finish_lists(start, stop, hot, cuts, ridge, lasso, state, step_size):
    """Make up what copies missed of their lists; their counts begin anew."""
    coef, _, mean_gradient, memory, caught_up = state
    remembers, mu, tau = len(memory) > 0, step_size * ridge, step_size * lasso
    rate, first = math.log1p(-mu), len(caught_up) - (len(cuts) - 1) * len(hot)
    for part in range(len(cuts) - 1):
        n_steps = cuts[part + 1] - cuts[part]
        keep_all, gain_all = keep_and_gain(n_steps, mu, rate)
        for copy in range(first + part * len(hot) + start, first + part * len(hot) + stop):
            missed = n_steps - caught_up[copy]
            keep, gain = (keep_all, gain_all) if missed == n_steps else keep_and_gain(missed, mu, rate)
            caught_up[copy] = 0
            for k in range(coef.shape[1]):
                nu = step_size * mean_gradient[copy, k] if remembers else 0.0
                coef[copy, k] = _made_up(float(coef[copy, k]), missed, keep, gain, mu, nu, tau)


@njit(nogil=True)
def share_of_gains(n_lists, reach):
    """Return the share of the gains of lists that is added up, lest lists that mend the same error overshoot together.

    Along a direction of curvature c, n updates of step s leave exp(-n s c) of a distance, so n_lists lists gain
    1 - exp(-n s c / n_lists) of it each, and 1 - exp(-n s c) one after the other. The share makes the sum of the former the
    latter. It comes to 1 where little is gained and to 1 / n_lists, the mean of the copies, where all is. `reach` is n s c.
    """
    if reach < 1e-12:
        return 1.0
    return fast_expm1(-reach) / (n_lists * fast_expm1(-reach / n_lists))


@njit(nogil=True)
def _add_gains(start, stop, hot, n_lists, array, curvature, step_size, stops_at_zero):
    """Add up, list by list, what copies have more than their features, and give the sums to all copies.

    An L1 penalty stops each list at 0. Lists that all got there have one gain between them, so together they stop there, too.
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


def finish_features(start, stop, data, state, sums):
    """Catch features up to the end of the epoch, which counts updates and not features; sums of w^2 and |w|."""
    n_steps, step_size, ridge, lasso = data
    coef, _, mean_gradient, memory, caught_up = state
    remembers, mu, tau = len(memory) > 0, step_size * ridge, step_size * lasso
    rate = math.log1p(-mu)
    for j in range(start, stop):
        missed = n_steps - caught_up[j]
        keep, gain = keep_and_gain(missed, mu, rate)
        caught_up[j] = 0
        for k in range(coef.shape[1]):
            if missed > 0:
                nu = step_size * mean_gradient[j, k] if remembers else 0.0
                coef[j, k] = _made_up(float(coef[j, k]), missed, keep, gain, mu, nu, tau)
            w = float(coef[j, k])
            sums[0] += w * w
            sums[1] += abs(w)
