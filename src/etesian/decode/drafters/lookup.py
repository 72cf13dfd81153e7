"""Lookup: draft the continuation of earlier occurrences of the last tokens, in the text and in earlier texts of the session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.drafters.drafter import DraftRequest, StageWork
from etesian.decode.drafters.growth import CHANCE, CONFIDENCE, DEPTH, PARENT, PATH, RANK, SOURCE, TOKEN, make_place
from etesian.decode.drafters.suffix_automaton import (
    EDGE_TARGET,
    EDGE_TOKEN,
    FIRST_EDGE,
    LENGTH,
    LINK,
    N_TOKENS,
    NEXT_EDGE,
    NONE,
    ROOT_STATE,
    SEEN,
    append_tokens,
    count_now,
    match_after,
    new_automaton,
)
from etesian.decode.speculation.calibration import CalibrationByChoice, chance_of
from etesian.decode.tree import ROOT, TokenTree

STATE, MATCH = 5, 6
"""Further integer columns of a node: its state of the automaton, and the length of the match that it ends."""
DOUBLINGS = 6  # bins of match lengths (1, 2, 4, 8, 16, 32 and more tokens), calibrated separately
TRUST = (
    0.5,
    0.8,
    0.9,
    0.9,
    1.0,
    1.0,
)  # factor of the confidence by bin, until acceptance is known
LEVELS = 3  # suffixes of a match, the longest first, whose continuations are merged
MOST_EDGES = 64  # continuations of a suffix to inspect, latest first; bounds the time of a call
MOST_CHILDREN = 4
DOUBT = 1.0  # weight of an unseen continuation, relative to squared match lengths
CONTEXT = 32  # tokens before a change of the text that are remembered again, so that matches reach across it
FIRST_CAPACITY = 1024


class LookupDrafter:
    """Propose continuations that followed earlier occurrences of the last tokens in this session.

    A suffix automaton holds the current text and the earlier texts of the session: prompts and outputs of all requests to this
    drafter. It finds the longest match of the last tokens whatever the length of the session. The confidence of a token is the
    share of matches that continue with it; a match counts by its squared length and less the longer ago it was. Long and short
    matches are calibrated separately, as are those in the current text and in earlier ones, so trees grow deep where matches have
    proved reliable.

    A drafter stores the texts of its requests. Do not share one between users; `fresh` creates an empty one.

    Parameters
    ----------
    min_match : int
        Minimum length of a match, in tokens.
    memory : int
        Maximum number of tokens to remember. When it is reached, the older half is forgotten. A token takes about 130 bytes.
    name : str
        Origin of the nodes.
    """

    def __init__(self, *, min_match: int = 2, memory: int = 65_536, name: str = "lookup") -> None:
        if min_match < 1 or memory < 2:
            raise ValueError(f"min_match must be at least 1 and memory at least 2; got {min_match} and {memory}")
        self.min_match = min_match
        self.memory = memory
        self.stages = (name,)
        self._calibrations = CalibrationByChoice(2 * DOUBLINGS, trust=np.repeat(TRUST, 2).tolist())
        self.calibration = self._calibrations.greedy  # of the current request
        self._text = np.empty(0, np.int32)  # current text
        self._length = 0
        self._log = np.empty(min(FIRST_CAPACITY, memory), np.int32)  # all remembered tokens; negative between texts
        self._automaton = new_automaton(len(self._log))
        self._n_separators = 0
        self._start = 0  # of the current text in the log
        self._calls, self._seconds = 0, 0.0

    def propose(self, request: DraftRequest) -> TokenTree:
        """Propose the continuations of the longest matches."""
        started = time.perf_counter()
        self.calibration = self._calibrations.of(request.chooser.sampling)
        tree = self._looked_up(
            request.text, len(request.text) - request.n_drafted, request.max_nodes, request.max_depth
        )
        self._calls, self._seconds = self._calls + 1, self._seconds + time.perf_counter() - started
        return tree

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn how often the text continues as it did before."""
        self.calibration.observe(tree, accepted)

    def fresh(self) -> LookupDrafter:
        """Return a drafter with the same options that has learned and remembers nothing."""
        return LookupDrafter(min_match=self.min_match, memory=self.memory, name=self.stages[0])

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the number of calls and their seconds."""
        return {self.stages[0]: StageWork(self._calls, self._seconds)}

    @property
    def n_remembered(self) -> int:
        """Number of remembered tokens, including one separator per text."""
        return int(self._automaton.numbers[N_TOKENS])

    def _looked_up(self, text: NDArray[np.int32], n_certain: int, max_nodes: int, max_depth: int) -> TokenTree:
        """Append new certain tokens, and propose what follows; usually in one compiled call, because it runs in every pass."""
        limits = self.min_match, self.calibration.table, max_nodes, max_depth
        is_followed, rows, shares = _drafted(
            self._automaton, self._log, self._text, self._length, text, n_certain, self._start, *limits
        )
        if not is_followed:
            self._follow(text[:n_certain])
            _, rows, shares = _drafted(
                self._automaton, self._log, self._text, n_certain, text, n_certain, self._start, *limits
            )
        self._length = n_certain
        if not len(rows):
            return TokenTree.empty()
        numbers, floats = rows.T.copy(), shares.T.copy()
        tree = TokenTree(numbers[TOKEN], numbers[PARENT], floats[CHANCE], self.stages * len(rows))
        return self.calibration.remember(tree, numbers[SOURCE], numbers[RANK], floats[CONFIDENCE])

    def _follow(self, text: NDArray[np.int32]) -> None:
        """Append new tokens of the text; where the text changed, begin anew and remember the old one as an earlier text."""
        shorter = min(self._length, len(text))
        differs = self._text[:shorter] != text[:shorter]
        n_common = int(np.argmax(differs)) if differs.any() else shorter
        added = text[n_common:]
        if n_common < self._length:
            self._n_separators += 1
            separator = np.array([-self._n_separators], np.int32)  # occurs once, so that no match contains it
            self._append(separator)
            self._start = self.n_remembered
            added = text[max(n_common - CONTEXT, 0) :]
        self._append(added)
        self._keep_text(text, n_common)

    def _append(self, tokens: NDArray[np.int32]) -> None:
        """Append tokens to the automaton, forgetting the oldest ones where the memory is full."""
        tokens = tokens[-(self.memory // 2) :] if len(tokens) > self.memory // 2 else tokens
        n_before = self.n_remembered
        if n_before + len(tokens) > len(self._log):
            n_before = self._make_room(n_before, len(tokens))
        self._log[n_before : n_before + len(tokens)] = tokens
        append_tokens(self._automaton, tokens)

    def _make_room(self, n_before: int, n_new: int) -> int:
        """Double the capacity up to the memory, else drop the older half; return the number of tokens that remain."""
        kept = self._log[:n_before]
        if n_before + n_new > self.memory:
            kept = kept[-(self.memory // 2) :]
        n_dropped = n_before - len(kept)
        capacity = min(max(2 * len(self._log), 2 * (len(kept) + n_new)), self.memory)
        self._log = np.concatenate([kept, np.empty(capacity - len(kept), np.int32)])
        self._automaton = new_automaton(capacity)
        append_tokens(self._automaton, kept)
        self._start = max(self._start - n_dropped, 0)
        return len(kept)

    def _keep_text(self, text: NDArray[np.int32], n_common: int) -> None:
        if len(text) > len(self._text):
            self._text = np.concatenate([self._text[:n_common], np.empty(2 * len(text) - n_common, np.int32)])
        self._text[n_common : len(text)] = text[n_common:]
        self._length = len(text)


@njit(nogil=True, cache=True)
def _drafted(
    automaton: Any, log: Any, known: Any, n_known: Any, text: Any, n_certain: Any, start: Any, min_match: Any,
    calibration: Any, max_nodes: Any, max_depth: Any,
) -> Any:  # fmt: skip
    """Append the certain tokens of a text that continues the known one, and grow a tree.

    The first result is False if the text does not continue the known one or the log is full.
    """
    numbers, shares = np.empty((0, 7), np.int32), np.empty((0, 3), np.float32)
    if not _followed(automaton, log, known, n_known, text, n_certain):
        return False, numbers, shares
    if max_nodes > 0 and max_depth > 0 and n_certain > 0:
        numbers, shares = _continuations(
            automaton, text[n_certain:], start, min_match, calibration, max_nodes, max_depth
        )
    return True, numbers, shares


@njit(nogil=True, cache=True)
def _followed(automaton: Any, log: Any, known: Any, n_known: Any, text: Any, n_certain: Any) -> bool:
    n_before = automaton.numbers[N_TOKENS]
    if not n_known <= n_certain <= len(known) or n_before + n_certain - n_known > len(log):
        return False
    for place in range(n_known):
        if known[place] != text[place]:
            return False
    for place in range(n_known, n_certain):
        known[place] = log[n_before + place - n_known] = text[place]
    append_tokens(automaton, text[n_known:n_certain])
    return True


@njit(nogil=True, cache=True)
def _continuations(
    automaton: Any, tail: Any, start: Any, min_match: Any, calibration: Any, room: Any, max_depth: Any
) -> Any:
    """Grow the tree of the most probable continuations, best first; rows of the result are nodes, parents before children."""
    numbers, shares = np.empty((room, 7), np.int32), np.empty((room, 3), np.float32)
    found, weights = np.empty((MOST_EDGES, 3), np.int32), np.empty((MOST_EDGES, 2))
    state, match = match_after(automaton, tail)
    node, filled, depth, path = ROOT, 0, 0, 1.0
    while True:
        n_found, total = _successors(automaton, state, match, min_match, found, weights)
        for rank in range(min(n_found, MOST_CHILDREN)):
            _select(found, weights, rank, n_found)
            length, target = found[rank, 1], found[rank, 2]
            source = 2 * min(int(np.log2(length)), DOUBLINGS - 1) + (automaton.states[target, SEEN] <= start)
            confidence = weights[rank, 0] / (total + DOUBT)
            chance = chance_of(calibration, source, rank, confidence)
            if filled == room and path * chance <= shares[room - 1, PATH]:
                continue
            place = make_place(numbers, shares, node, filled, path * chance)
            filled = min(filled + 1, room)
            numbers[place, TOKEN], numbers[place, PARENT] = found[rank, 0], node
            numbers[place, RANK], numbers[place, DEPTH], numbers[place, SOURCE] = rank, depth + 1, source
            numbers[place, STATE], numbers[place, MATCH] = target, length + 1
            shares[place, PATH], shares[place, CHANCE], shares[place, CONFIDENCE] = path * chance, chance, confidence
        node += 1
        while node < filled and numbers[node, DEPTH] >= max_depth:
            node += 1
        if node == filled:
            return numbers[:filled], shares[:filled]
        state, match = numbers[node, STATE], numbers[node, MATCH]
        depth, path = numbers[node, DEPTH], shares[node, PATH]


@njit(nogil=True, cache=True)
def _successors(automaton: Any, state: Any, match: Any, min_match: Any, found: Any, weights: Any) -> tuple[int, float]:
    """Find the tokens after a match and after its longest suffixes; return their number and the sum of their weights.

    `found` receives token, length of the longest match and the state after it, `weights` the weight and the count so far: matches
    that a longer suffix has counted already do not count again.
    """
    n_found, n_levels, total = 0, 0, 0.0
    while state > ROOT_STATE and match >= min_match and n_levels < LEVELS:
        edge, n_edges = automaton.states[state, FIRST_EDGE], 0
        while edge != NONE and n_edges < MOST_EDGES:
            token, target = automaton.edges[edge, EDGE_TOKEN], automaton.edges[edge, EDGE_TARGET]
            edge, n_edges = automaton.edges[edge, NEXT_EDGE], n_edges + 1
            if token < 0:
                continue
            count, place = count_now(automaton, target), 0
            while place < n_found and found[place, 0] != token:
                place += 1
            if place == n_found:
                if n_found == MOST_EDGES:
                    continue
                found[place, 0], found[place, 1], found[place, 2] = token, match, target
                weights[place, 0], weights[place, 1] = 0.0, 0.0
                n_found += 1
            weight = max(count - weights[place, 1], 0.0) * float(match) ** 2
            weights[place, 0] += weight
            weights[place, 1] = max(count, weights[place, 1])
            total += weight
        n_levels += n_edges > 0
        state = automaton.states[state, LINK]
        match = automaton.states[state, LENGTH]
    return n_found, total


@njit(nogil=True, cache=True)
def _select(found: Any, weights: Any, rank: Any, n_found: Any) -> None:
    """Move the heaviest of the remaining tokens to place `rank`; the earlier one among equals."""
    best = rank
    for place in range(rank + 1, n_found):
        if weights[place, 0] > weights[best, 0]:
            best = place
    for column in range(3):
        found[rank, column], found[best, column] = found[best, column], found[rank, column]
    for column in range(2):
        weights[rank, column], weights[best, column] = weights[best, column], weights[rank, column]
