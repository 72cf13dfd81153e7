"""A suffix automaton over the tokens of a session, grown token by token, with decayed counts of occurrences.

The automaton recognizes every substring of the tokens and takes memory proportional to their number. The link from the state of the
whole text leads to its longest suffix that occurred before, so finding it takes constant amortized time (Blumer et al. 1985).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

ROOT_STATE = 0
NONE = -1
N_STATES, N_EDGES, LAST, N_TOKENS = range(4)
"""Entries of `Automaton.numbers`."""
MOST_COUNTED = 32  # suffixes of each new token whose counts are updated; bounds the time per token on repetitive texts
HALF_LIFE = 4096.0  # tokens after which an occurrence counts half
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Automaton(NamedTuple):
    """States, edges and a hash table that finds an edge by state and token."""

    lengths: NDArray[np.int32]  # of the longest substring of each state
    links: NDArray[np.int32]  # state of the longest suffix with other occurrences
    first_edges: NDArray[np.int32]
    counts: NDArray[np.float32]  # decayed occurrences as of `seen`
    seen: NDArray[np.int32]  # index of the latest occurrence's last token
    edge_states: NDArray[np.int32]
    edge_tokens: NDArray[np.int32]
    edge_targets: NDArray[np.int32]
    next_edges: NDArray[np.int32]
    table: NDArray[np.int32]  # edges by hash
    numbers: NDArray[np.int64]


def new_automaton(capacity: int) -> Automaton:
    """Return an empty automaton with room for `capacity` tokens."""
    n_states, n_edges = 2 * capacity + 2, 3 * capacity + 3
    n_slots = 1 << int(np.ceil(np.log2(2 * n_edges)))
    automaton = Automaton(
        lengths=np.zeros(n_states, np.int32),
        links=np.full(n_states, NONE, np.int32),
        first_edges=np.full(n_states, NONE, np.int32),
        counts=np.zeros(n_states, np.float32),
        seen=np.zeros(n_states, np.int32),
        edge_states=np.empty(n_edges, np.int32),
        edge_tokens=np.empty(n_edges, np.int32),
        edge_targets=np.empty(n_edges, np.int32),
        next_edges=np.empty(n_edges, np.int32),
        table=np.full(n_slots, NONE, np.int32),
        numbers=np.zeros(4, np.int64),
    )
    automaton.numbers[N_STATES] = 1
    return automaton


@njit(nogil=True, cache=True)
def append_tokens(automaton: Any, tokens: Any) -> None:
    """Append tokens to the text."""
    for token in tokens:
        _append(automaton, token)


@njit(nogil=True, cache=True)
def find_edge(automaton: Any, state: Any, token: Any) -> int:
    """Return the edge of a state for a token; `NONE` if no occurrence continues with it."""
    slot = _slot_of(automaton, state, token)
    return automaton.table[slot]


@njit(nogil=True, cache=True)
def count_now(automaton: Any, state: Any) -> float:
    """Return the decayed number of occurrences of a state."""
    age = automaton.numbers[N_TOKENS] - automaton.seen[state]
    return automaton.counts[state] * 2.0 ** (-age / HALF_LIFE)


@njit(nogil=True, cache=True)
def match_after(automaton: Any, tail: Any) -> tuple[int, int]:
    """Return state and length of the longest suffix of text and `tail` that occurs in the text, before its end.

    `tail` holds tokens after the text that are not appended.
    """
    last = automaton.numbers[LAST]
    state = ROOT_STATE if last == ROOT_STATE else automaton.links[last]
    length = automaton.lengths[state]
    for token in tail:
        edge = find_edge(automaton, state, token)
        while edge == NONE and state != ROOT_STATE:
            state = automaton.links[state]
            length = automaton.lengths[state]
            edge = find_edge(automaton, state, token)
        if edge != NONE:
            state = automaton.edge_targets[edge]
            length += 1
    return state, length


@njit(nogil=True, cache=True)
def _slot_of(automaton: Any, state: Any, token: Any) -> int:
    """Return the slot of an edge, or the free slot where it would be."""
    key = np.uint64(np.uint32(state)) << np.uint64(32) | np.uint64(np.uint32(token))
    mixed = key * _SPREAD
    mask = len(automaton.table) - 1
    slot = int(np.int64(mixed >> np.uint64(32))) & mask
    edge = automaton.table[slot]
    while edge != NONE and (automaton.edge_states[edge] != state or automaton.edge_tokens[edge] != token):
        slot = (slot + 1) & mask
        edge = automaton.table[slot]
    return slot


@njit(nogil=True, cache=True)
def _set_edge(automaton: Any, state: Any, token: Any, target: Any) -> None:
    slot = _slot_of(automaton, state, token)
    edge = automaton.table[slot]
    if edge == NONE:
        edge = automaton.numbers[N_EDGES]
        automaton.numbers[N_EDGES] = edge + 1
        automaton.table[slot] = edge
        automaton.edge_states[edge], automaton.edge_tokens[edge] = state, token
        automaton.next_edges[edge] = automaton.first_edges[state]
        automaton.first_edges[state] = edge
    automaton.edge_targets[edge] = target


@njit(nogil=True, cache=True)
def _new_state(automaton: Any, length: Any) -> int:
    state = automaton.numbers[N_STATES]
    automaton.numbers[N_STATES] = state + 1
    automaton.lengths[state] = length
    return state


@njit(nogil=True, cache=True)
def _append(automaton: Any, token: Any) -> None:
    """Extend the text by one token; states that gain a suffix of their own are split."""
    last = automaton.numbers[LAST]
    current = _new_state(automaton, automaton.lengths[last] + 1)
    state = last
    while state != NONE and find_edge(automaton, state, token) == NONE:
        _set_edge(automaton, state, token, current)
        state = automaton.links[state]
    if state == NONE:
        automaton.links[current] = ROOT_STATE
    else:
        target = automaton.edge_targets[find_edge(automaton, state, token)]
        if automaton.lengths[target] == automaton.lengths[state] + 1:
            automaton.links[current] = target
        else:
            automaton.links[current] = _split(automaton, state, token, target)
            automaton.links[target] = automaton.links[current]
    automaton.numbers[LAST] = current
    automaton.numbers[N_TOKENS] += 1
    _count(automaton, current)


@njit(nogil=True, cache=True)
def _split(automaton: Any, state: Any, token: Any, target: Any) -> int:
    """Return a copy of `target` for its shorter substrings, to which the edges of `state` and its suffixes now lead."""
    copy = _new_state(automaton, automaton.lengths[state] + 1)
    automaton.links[copy] = automaton.links[target]
    automaton.counts[copy], automaton.seen[copy] = automaton.counts[target], automaton.seen[target]
    edge = automaton.first_edges[target]
    while edge != NONE:
        _set_edge(automaton, copy, automaton.edge_tokens[edge], automaton.edge_targets[edge])
        edge = automaton.next_edges[edge]
    while state != NONE:
        edge = find_edge(automaton, state, token)
        if edge == NONE or automaton.edge_targets[edge] != target:
            break
        automaton.edge_targets[edge] = copy
        state = automaton.links[state]
    return copy


@njit(nogil=True, cache=True)
def _count(automaton: Any, state: Any) -> None:
    """Count an occurrence that ends with the last token, for the longest suffixes of the text."""
    now = automaton.numbers[N_TOKENS]
    for _ in range(MOST_COUNTED):
        if state <= ROOT_STATE:
            break
        automaton.counts[state] = np.float32(count_now(automaton, state) + 1.0)
        automaton.seen[state] = now
        state = automaton.links[state]
