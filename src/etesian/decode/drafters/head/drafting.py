"""A draft in one compiled call on several threads: passes of the head, rankings of their logits and growth of the tree in turn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.barrier import wait_for_all
from etesian.decode.drafters.growth import DEPTH, PARENT, PATH, RANK, SLOT, TOKEN, UNSCORED, grow_ranked
from etesian.decode.drafters.head.passes import FEATURE_NORM, HeadRows, fuse_features, run_head
from etesian.decode.models.cpu.instructions import exponential, read
from etesian.decode.sampling import noise
from etesian.decode.sampling.options import Sampling
from etesian.decode.tree import ROOT

FIRST, STOP, N_GROWN, N_PASSES = range(4)
"""Entries of `Draft.counts`: the nodes of the next pass, the nodes of the tree, and the passes so far."""
MOST_PASSES = 64
LEAST_WEIGHT = 1e-4
"""Tokens less probable than this, relative to the most probable one, are not considered for truncation."""


class ChoiceRule(NamedTuple):
    """The target's choice from a row of logits; see `Sampling`. No limit: a `top_k` of 0, a `top_p` of 1, a `min_p` of 0."""

    temperature: float
    seed: np.uint64
    is_noisy: bool
    top_k: int
    top_p: float
    min_p: float

    @classmethod
    def of(cls, sampling: Sampling, vocabulary_size: int) -> ChoiceRule:
        """Return the rule of a request without penalties, biases and forced tokens."""
        return cls(
            temperature=max(float(sampling.temperature or 1.0), 1e-30),
            seed=np.uint64(int(sampling.seed) % 2**64),
            is_noisy=not sampling.is_greedy,
            top_k=0 if sampling.is_greedy else min(int(sampling.top_k or 0), vocabulary_size),
            top_p=1.0 if sampling.is_greedy or sampling.top_p is None else float(sampling.top_p),
            min_p=0.0 if sampling.is_greedy else float(sampling.min_p or 0.0),
        )


class DraftLimits(NamedTuple):
    """Limits of a draft, and the decoding rate that its passes must beat; see `DraftRequest`."""

    n_missing: int  # tokens of the text to read first; the last of them is the text's last
    n_kept: int  # slots in use before them
    max_nodes: int
    max_depth: int
    best_case: float  # tokens that a pass can add below a leaf
    trust: float  # acceptance rate of the head's first choices
    required_rate: float
    node_cost: float  # tokens that a node must be expected to add
    pass_seconds: NDArray[np.float64]  # by number of rows, from 0 to the most that a pass reads


class Draft(NamedTuple):
    """A draft in progress. Nodes are numbered in the order in which the head reads them, the missing tokens of the text first."""

    positions: NDArray[np.int64]
    slots: NDArray[np.int64]
    is_seen: NDArray[np.bool_]  # (node, node)
    embeddings: NDArray[np.float32]  # (node, width)
    states: NDArray[np.float32]
    outputs: NDArray[np.float32]
    logits: NDArray[np.float32]  # (row, output), of one pass
    ranked: NDArray[np.int32]  # (node, rank): outputs; see `grow_ranked`
    confidences: NDArray[np.float32]
    sources: NDArray[np.int32]
    children: NDArray[np.int32]
    numbers: NDArray[np.int32]  # the grown tree, with outputs in place of tokens
    shares: NDArray[np.float32]
    counts: NDArray[np.int64]
    rows_of_passes: NDArray[np.int64]


@njit(nogil=True, cache=True, error_model="numpy")
def draft_tree(
    worker, n_workers, shape, weights, norms, has_feature_norm, cache, scratch, features, embeddings, output_tokens,
    draft, limits, rule, calibration,
):  # fmt: skip
    """Run one thread's part of a draft.

    `features` are the target's hidden states of the tokens before the missing ones, `embeddings` those of all outputs, flat, and
    `calibration` is the table of a `Calibration`.
    """
    fuse_features(
        worker, n_workers, weights, norms[FEATURE_NORM], shape.norm_epsilon, has_feature_norm, scratch, features,
        draft.states[: limits.n_missing],
    )  # fmt: skip
    wait_for_all(scratch.barrier, n_workers)
    while True:
        first, stop = draft.counts[FIRST], draft.counts[STOP]
        first_scored = max(first, limits.n_missing - 1)
        rows = HeadRows(
            draft.embeddings[first:stop], draft.states[first:stop], draft.positions[first:stop], draft.slots[first:stop],
            limits.n_kept, np.ascontiguousarray(draft.is_seen[first:stop, :stop]), first_scored - first,
        )  # fmt: skip
        logits = draft.logits.reshape(-1)
        run_head(worker, n_workers, shape, weights, norms, cache, scratch, rows, draft.outputs[first:stop], logits)
        wait_for_all(scratch.barrier, n_workers)
        for node in range(first_scored + worker, stop, n_workers):
            _rank(draft.logits[node - first_scored], node, output_tokens, draft, rule)
        wait_for_all(scratch.barrier, n_workers)
        if worker == 0:
            draft.rows_of_passes[draft.counts[N_PASSES]] = stop - first
            draft.counts[N_PASSES] += 1
            _choose_rows(embeddings, draft, limits, calibration)
        wait_for_all(scratch.barrier, n_workers)
        if draft.counts[FIRST] == draft.counts[STOP]:
            return


@njit(nogil=True, cache=True, error_model="numpy")
def _rank(logits, node, output_tokens, draft, rule):
    """Rank the outputs that the target is most likely to choose after a node; see `Chooser.rank`."""
    weights, highest = np.empty_like(logits), np.max(logits)
    scale = np.float32(1.0 / rule.temperature)
    for output in range(len(logits)):
        weights[output] = exponential((logits[output] - highest) * scale)
    lowest = _lowest_kept(weights, rule)
    if lowest > 0:
        for output in range(len(weights)):
            if weights[output] < lowest:
                weights[output] = 0
    places, shares = noise.rank(
        output_tokens, logits, weights, rule.temperature, rule.seed, draft.positions[node] + 1, draft.ranked.shape[1],
        rule.is_noisy,
    )  # fmt: skip
    for rank in range(len(places)):
        draft.ranked[node, rank], draft.confidences[node, rank] = places[rank], shares[rank]
        draft.children[node, rank], draft.sources[node, rank] = UNSCORED, 0


@njit(nogil=True, cache=True, error_model="numpy")
def _lowest_kept(weights, rule):
    """Return the lowest weight that truncation keeps, relative to the highest; 0 if none of the considered ones is dropped."""
    lowest = np.float32(rule.min_p)
    if rule.top_k == 0 and rule.top_p == 1.0:
        return lowest
    likeliest = -np.sort(-weights[weights >= max(lowest, np.float32(LEAST_WEIGHT))])
    if 0 < rule.top_k <= len(likeliest):
        lowest = max(lowest, likeliest[rule.top_k - 1])
    if rule.top_p < 1.0:
        mass = rule.top_p * np.sum(weights[weights >= lowest])
        for weight in likeliest:
            mass -= weight
            if mass <= 0:
                return max(lowest, weight)
    return lowest


@njit(nogil=True, cache=True, error_model="numpy")
def _choose_rows(embeddings, draft, limits, calibration):
    """Grow the tree, and let the next pass read its best leaves; none ends the draft."""
    numbers, shares = grow_ranked(
        draft.ranked, draft.confidences, draft.sources, draft.children, calibration, limits.n_missing - 1,
        limits.max_nodes, limits.max_depth,
    )  # fmt: skip
    n_grown, row = len(shares), draft.counts[STOP]
    draft.numbers[:n_grown], draft.shares[:n_grown], draft.counts[N_GROWN] = numbers, shares, n_grown
    last = row
    if draft.counts[N_PASSES] < len(draft.rows_of_passes):
        last += _n_profitable(numbers, shares, min(len(limits.pass_seconds) - 1, len(draft.slots) - row), limits)
    draft.counts[FIRST], draft.counts[STOP] = row, last
    for node in range(n_grown):
        if row < last and _is_leaf(numbers[node], limits):
            _add_row(row, numbers[node], numbers, embeddings, draft, limits)
            row += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _n_profitable(numbers, shares, most_rows, limits):
    """Return the number of best leaves whose expected gain exceeds the cost of their pass by most; 0 if none does."""
    replaced = np.float32(limits.node_cost)
    if len(shares) == limits.max_nodes:  # new nodes replace the last ones
        replaced = max(replaced, shares[-1, PATH])
    n_rows, n_best, gain, best = 0, 0, 0.0, 0.0
    for node in range(len(shares)):
        if not _is_leaf(numbers[node], limits):
            continue
        own_gain = shares[node, PATH] * limits.trust - replaced
        is_hopeless = limits.best_case * own_gain <= limits.required_rate * limits.pass_seconds[1]
        if n_rows == most_rows or (n_rows == 0 and is_hopeless):
            break
        n_rows += 1
        gain += own_gain
        net = gain - limits.required_rate * limits.pass_seconds[n_rows]
        if net > best:
            n_best, best = n_rows, net
    return n_best


@njit(nogil=True, cache=True)
def _is_leaf(node, limits):
    """Return whether the head has not read a node that may have children."""
    return node[SLOT] == UNSCORED and node[DEPTH] < limits.max_depth


@njit(nogil=True, cache=True, error_model="numpy")
def _add_row(row, node, numbers, embeddings, draft, limits):
    """Let a row of the next pass read a node of the grown tree."""
    above = limits.n_missing - 1 if node[PARENT] == ROOT else numbers[node[PARENT], SLOT]
    draft.children[above, node[RANK]] = row
    draft.positions[row], draft.slots[row] = draft.positions[above] + 1, limits.n_kept + row
    draft.is_seen[row, :row], draft.is_seen[row, row] = draft.is_seen[above, :row], True
    width = draft.states.shape[1]
    for i in range(width):
        draft.states[row, i] = draft.outputs[above, i]
        draft.embeddings[row, i] = read(embeddings, node[TOKEN] * width + i)
