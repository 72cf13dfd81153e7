"""Prompt lookup: draft the continuation of earlier occurrences of the last tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.drafters.drafter import DraftRequest, StageWork
from etesian.decode.speculation.calibration import CalibrationByChoice, chance_of
from etesian.decode.tree import ROOT, TokenTree

LONGEST_MATCH = 64  # tokens; longer matches are not more reliable
MOST_LOOKED_AT = 64  # earlier occurrences to inspect, latest first; bounds the time of a call
DOUBLINGS = 6  # classes of match lengths (1, 2, 4, 8, 16, 32 and more tokens), calibrated separately
DOUBT = 1.0  # weight of an unseen continuation, relative to squared match lengths
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class LookupDrafter:
    """Propose continuations that followed earlier occurrences of the last tokens in prompt or output.

    Occurrences are chained by a hash of the last tokens (Lempel and Ziv 1977), so the time per token does not depend on the length
    of the text. The continuations of the longest matches are merged into one tree. The confidence of a token is the share of
    matches that continue with it, weighted by squared match length, and calibrated separately for short and long matches.

    Parameters
    ----------
    min_match : int
        Minimum length of a match, in tokens.
    max_matches : int
        Number of matches that are merged: the longest, and the latest among equals.
    name : str
        Origin of the nodes.
    """

    def __init__(self, *, min_match: int = 2, max_matches: int = 8, name: str = "lookup") -> None:
        if min_match < 1 or max_matches < 1:
            raise ValueError(f"min_match and max_matches must be at least 1; got {min_match} and {max_matches}")
        self.min_match = min_match
        self.max_matches = max_matches
        self.stages = (name,)
        self._calibrations = CalibrationByChoice(DOUBLINGS)
        self.calibration = self._calibrations.greedy  # of the current request
        self._text = np.empty(0, np.int32)
        self._length = 0
        self._newest = np.full(64, -1, np.int32)  # by hash: the latest position where such tokens end
        self._before = np.empty(0, np.int32)  # for each position: the previous one with the same hash
        self._calls, self._seconds = 0, 0.0

    def propose(self, request: DraftRequest) -> TokenTree:
        """Propose the continuations of the longest matches."""
        started = time.perf_counter()
        tree = TokenTree.empty()
        self.calibration = self._calibrations.of(request.chooser.sampling)
        self._follow(request.text)
        if request.max_nodes > 0 and request.max_depth > 0:
            tree = self._looked_up(request.max_nodes, request.max_depth)
        self._calls, self._seconds = self._calls + 1, self._seconds + time.perf_counter() - started
        return tree

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn how often the text continues as it did before."""
        self.calibration.observe(tree, accepted)

    def fresh(self) -> LookupDrafter:
        """Return a drafter with the same options that has learned nothing."""
        return LookupDrafter(min_match=self.min_match, max_matches=self.max_matches, name=self.stages[0])

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the number of calls and their seconds."""
        return {self.stages[0]: StageWork(self._calls, self._seconds)}

    def _looked_up(self, max_nodes: int, max_depth: int) -> TokenTree:
        text = self._text[: self._length]
        places, lengths = _matches(text, self._newest, self._before, self.min_match, self.max_matches)
        if not len(places):
            return TokenTree.empty()
        grown = _merge_continuations(text, places, lengths, max_depth, self.calibration.table)
        tokens, parents, ranks, sources, chances, confidences = grown
        tree = TokenTree(tokens, parents, chances, self.stages * len(tokens))
        chosen = np.sort(np.argsort(-tree.path_probabilities, kind="stable")[:max_nodes])
        return self.calibration.remember(tree.subtree(chosen), sources[chosen], ranks[chosen], confidences[chosen])

    def _follow(self, text: NDArray[np.int32]) -> None:
        """Update the index: remove positions that changed, and add new ones."""
        shorter = min(self._length, len(text))
        differs = self._text[:shorter] != text[:shorter]
        n_common = int(np.argmax(differs)) if differs.any() else shorter
        _take_out(self._text, self._newest, self._before, n_common, self._length, self.min_match)
        if len(text) > len(self._text):
            self._make_room(text, n_common)
        self._text[n_common : len(text)] = text[n_common:]
        _put_in(self._text, self._newest, self._before, n_common, len(text), self.min_match)
        self._length = len(text)

    def _make_room(self, text: NDArray[np.int32], n_common: int) -> None:
        """Double the capacity, and index the unchanged part again."""
        room = 2 * len(text)
        self._text = np.concatenate([self._text[:n_common], np.empty(room - n_common, np.int32)])
        self._before = np.empty(room, np.int32)
        self._newest = np.full(1 << int(np.ceil(np.log2(2 * room))), -1, np.int32)
        _put_in(self._text, self._newest, self._before, 0, n_common, self.min_match)


@njit(nogil=True, cache=True)
def _slot_of(text: Any, end: Any, length: Any, n_slots: Any) -> int:
    """Return the hash of the `length` tokens before `end`."""
    state = np.uint64(0)
    for place in range(end - length, end):
        state = (state ^ np.uint64(text[place])) * _SPREAD
        state ^= state >> np.uint64(29)
    return int(np.int64(state >> np.uint64(32)) & (n_slots - 1))


@njit(nogil=True, cache=True)
def _put_in(text: Any, newest: Any, before: Any, start: Any, stop: Any, length: Any) -> None:
    """Index the positions `start` to `stop`."""
    for end in range(max(start, length), stop):
        slot = _slot_of(text, end, length, len(newest))
        before[end] = newest[slot]
        newest[slot] = end


@njit(nogil=True, cache=True)
def _take_out(text: Any, newest: Any, before: Any, start: Any, stop: Any, length: Any) -> None:
    """Undo `_put_in`, latest position first."""
    for end in range(stop - 1, max(start, length) - 1, -1):
        newest[_slot_of(text, end, length, len(newest))] = before[end]


@njit(nogil=True, cache=True)
def _matches(
    text: Any, newest: Any, before: Any, min_match: Any, max_matches: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return earlier positions after the same last tokens, and match lengths; longest first, latest among equals."""
    places, lengths = np.empty(max_matches, np.int64), np.zeros(max_matches, np.int64)
    n_found, end = 0, len(text)
    place = newest[_slot_of(text, end, min_match, len(newest))] if end >= min_match else -1
    for _ in range(MOST_LOOKED_AT):
        if place < 0:
            break
        length = 0
        while length < min(place, LONGEST_MATCH) and text[place - 1 - length] == text[end - 1 - length]:
            length += 1
        if length >= min_match and (n_found < max_matches or length > lengths[n_found - 1]):
            k = min(n_found, max_matches - 1)
            while k > 0 and lengths[k - 1] < length:
                places[k], lengths[k] = places[k - 1], lengths[k - 1]
                k -= 1
            places[k], lengths[k] = place, length
            n_found = min(n_found + 1, max_matches)
        place = before[place]
    return places[:n_found], lengths[:n_found]


@njit(nogil=True, cache=True)
def _merge_continuations(text: Any, places: Any, lengths: Any, max_depth: Any, calibration: Any) -> Any:
    """Merge the continuations; returns tokens, parents, ranks, length classes, probabilities and confidences."""
    room = len(places) * max_depth
    tokens, parents, ranks = np.empty(room, np.int32), np.empty(room, np.int32), np.zeros(room, np.int32)
    weights, totals = (
        np.zeros(room),
        np.full(room + 1, DOUBT),
    )  # of a node; of all that goes on below it, the text's end first
    longest = np.zeros(room, np.int64)  # match that goes on with a node, with all that was drafted before it
    path = np.empty(max_depth, np.int32)
    n_nodes = 0
    for match in range(len(places)):
        node = ROOT
        for step in range(max_depth):
            beyond = places[match] + step - len(text)  # a text that repeats itself goes on to do so
            token = text[places[match] + step] if beyond < 0 else path[beyond]
            path[step], weight = token, float(lengths[match] + step) ** 2
            child = n_nodes
            for known in range(node + 1, n_nodes):
                if parents[known] == node and tokens[known] == token:
                    child = known
                    break
            if child == n_nodes:
                tokens[child], parents[child] = token, node
                n_nodes += 1
            weights[child] += weight
            longest[child] = max(longest[child], lengths[match] + step)
            totals[node + 1] += weight
            node = child
    chances, confidences = np.empty(n_nodes, np.float32), np.empty(n_nodes, np.float32)
    doublings = np.empty(n_nodes, np.int32)
    for node in range(n_nodes):
        for other in range(n_nodes):
            ranks[node] += parents[other] == parents[node] and weights[other] > weights[node]
        confidences[node] = weights[node] / totals[parents[node] + 1]
        doublings[node] = min(int(np.log2(longest[node])), DOUBLINGS - 1)
        chances[node] = chance_of(calibration, doublings[node], ranks[node], confidences[node])
    return tokens[:n_nodes], parents[:n_nodes], ranks[:n_nodes], doublings, chances, confidences
