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
LENGTH, LINK, FIRST_EDGE, SEEN = range(4)
"""Columns of states: the length of the longest substring, the state of the longest suffix with other occurrences, the first edge,
and the index of the latest occurrence's last token."""
EDGE_STATE, EDGE_TOKEN, EDGE_TARGET, NEXT_EDGE = range(4)
"""Columns of edges."""
MOST_COUNTED = 32  # suffixes of each new token whose counts are updated; bounds the time per token on repetitive texts
HALF_LIFE = 4096.0  # tokens after which an occurrence counts half
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Automaton(NamedTuple):
    """States, edges and a hash table that finds an edge by state and token.

    The columns share arrays because each array costs time whenever compiled code is called.
    """

    states: NDArray[np.int32]  # (state, column)
    counts: NDArray[np.float32]  # decayed occurrences of states as of `SEEN`
    edges: NDArray[np.int32]  # (edge, column)
    table: NDArray[np.int32]  # edges by hash
    numbers: NDArray[np.int64]


def new_automaton(capacity: int) -> Automaton:
    """Return an empty automaton with room for `capacity` tokens."""
    n_states, n_edges = 2 * capacity + 2, 3 * capacity + 3
    n_slots = 1 << int(np.ceil(np.log2(2 * n_edges)))
    states = np.zeros((n_states, 4), np.int32)
    states[:, (LINK, FIRST_EDGE)] = NONE
    automaton = Automaton(
        states=states,
        counts=np.zeros(n_states, np.float32),
        edges=np.empty((n_edges, 4), np.int32),
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
    age = automaton.numbers[N_TOKENS] - automaton.states[state, SEEN]
    return automaton.counts[state] * 2.0 ** (-age / HALF_LIFE)


@njit(nogil=True, cache=True)
def match_after(automaton: Any, tail: Any) -> tuple[int, int]:
    """Return state and length of the longest suffix of text and `tail` that occurs in the text, before its end.

    `tail` holds tokens after the text that are not appended.
    """
    last = automaton.numbers[LAST]
    state = ROOT_STATE if last == ROOT_STATE else automaton.states[last, LINK]
    length = automaton.states[state, LENGTH]
    for token in tail:
        edge = find_edge(automaton, state, token)
        while edge == NONE and state != ROOT_STATE:
            state = automaton.states[state, LINK]
            length = automaton.states[state, LENGTH]
            edge = find_edge(automaton, state, token)
        if edge != NONE:
            state = automaton.edges[edge, EDGE_TARGET]
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
    while edge != NONE and (automaton.edges[edge, EDGE_STATE] != state or automaton.edges[edge, EDGE_TOKEN] != token):
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
        automaton.edges[edge, EDGE_STATE], automaton.edges[edge, EDGE_TOKEN] = state, token
        automaton.edges[edge, NEXT_EDGE] = automaton.states[state, FIRST_EDGE]
        automaton.states[state, FIRST_EDGE] = edge
    automaton.edges[edge, EDGE_TARGET] = target


@njit(nogil=True, cache=True)
def _new_state(automaton: Any, length: Any) -> int:
    state = automaton.numbers[N_STATES]
    automaton.numbers[N_STATES] = state + 1
    automaton.states[state, LENGTH] = length
    return state


@njit(nogil=True, cache=True)
def _append(automaton: Any, token: Any) -> None:
    """Extend the text by one token; states that gain a suffix of their own are split."""
    last = automaton.numbers[LAST]
    current = _new_state(automaton, automaton.states[last, LENGTH] + 1)
    state = last
    while state != NONE and find_edge(automaton, state, token) == NONE:
        _set_edge(automaton, state, token, current)
        state = automaton.states[state, LINK]
    if state == NONE:
        automaton.states[current, LINK] = ROOT_STATE
    else:
        target = automaton.edges[find_edge(automaton, state, token), EDGE_TARGET]
        if automaton.states[target, LENGTH] == automaton.states[state, LENGTH] + 1:
            automaton.states[current, LINK] = target
        else:
            automaton.states[current, LINK] = _split(automaton, state, token, target)
            automaton.states[target, LINK] = automaton.states[current, LINK]
    automaton.numbers[LAST] = current
    automaton.numbers[N_TOKENS] += 1
    _count(automaton, current)


@njit(nogil=True, cache=True)
def _split(automaton: Any, state: Any, token: Any, target: Any) -> int:
    """Return a copy of `target` for its shorter substrings, to which the edges of `state` and its suffixes now lead."""
    copy = _new_state(automaton, automaton.states[state, LENGTH] + 1)
    automaton.states[copy, LINK] = automaton.states[target, LINK]
    automaton.counts[copy], automaton.states[copy, SEEN] = automaton.counts[target], automaton.states[target, SEEN]
    edge = automaton.states[target, FIRST_EDGE]
    while edge != NONE:
        _set_edge(automaton, copy, automaton.edges[edge, EDGE_TOKEN], automaton.edges[edge, EDGE_TARGET])
        edge = automaton.edges[edge, NEXT_EDGE]
    while state != NONE:
        edge = find_edge(automaton, state, token)
        if edge == NONE or automaton.edges[edge, EDGE_TARGET] != target:
            break
        automaton.edges[edge, EDGE_TARGET] = copy
        state = automaton.states[state, LINK]
    return copy


@njit(nogil=True, cache=True)
def _count(automaton: Any, state: Any) -> None:
    """Count an occurrence that ends with the last token, for the longest suffixes of the text."""
    now = automaton.numbers[N_TOKENS]
    for _ in range(MOST_COUNTED):
        if state <= ROOT_STATE:
            break
        automaton.counts[state] = np.float32(count_now(automaton, state) + 1.0)
        automaton.states[state, SEEN] = now
        state = automaton.states[state, LINK]
