"""A text and a tree as a draft model has read them, and what it finds likely next after each token. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.drafters.growth import UNSCORED
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.sampling import Chooser
from etesian.decode.tree import ROOT

LONGEST_CATCH_UP = 16  # missing tokens that are scored with the tree; more are read beforehand, without logits
NOTHING = -1  # stands for a token where the model was not asked what comes next

Tokens = NDArray[np.int32]


class Reading:
    """One context of a draft model with the rankings of its nodes.

    What follows the kept text stands in slot 0; what follows node n stands in slot n + 1. Slots are dropped whenever tokens are
    kept or forgotten; keys and values of nodes that the text went on with are kept.

    Parameters
    ----------
    model
    n_children
        How many of the likeliest tokens are looked at after each.
    own_source
        The number of the source of tokens that nobody proposed to this model.
    """

    def __init__(
        self, model: LanguageModel, n_children: int, own_source: int, excluded_tokens: Sequence[int] = ()
    ) -> None:
        self.context = model.context()
        self._excluded = np.array([token for token in excluded_tokens if token < model.vocabulary_size], np.int64)
        self.text: Tokens = np.empty(0, np.int32)
        """Tokens that the context keeps."""
        self._own_source = own_source
        self._chooser: Chooser | None = None
        self.tokens, self.parents, self.depths = np.zeros((3, 1), np.int32)
        self.ranked, self.children, self.sources = np.zeros((3, 1, min(n_children, model.vocabulary_size)), np.int32)
        self.confidences = np.zeros(self.ranked.shape, np.float32)
        self.n_slots = 1
        self._make_room(64)
        self._clear()

    def follow(self, text: Tokens, chooser: Chooser) -> Tokens:
        """Keep what was read of `text`, forget all else; returns its tokens that have to be read, perhaps none."""
        n_common = _common_length(self.text, text)
        if n_common < len(self.text):
            self._forget(n_common)
        else:
            self._keep(_path_along(self.tokens[1 : self.n_slots], self.parents[1 : self.n_slots], text[n_common:]))
        if chooser is not self._chooser:
            self.ranked[0] = NOTHING
            self._chooser = chooser
        if len(self.text) == len(text) and len(text) and self.ranked[0, 0] == NOTHING:
            self._forget(len(text) - 1)
        return text[len(self.text) :]

    def catch_up(self, tokens: Tokens) -> bool:
        """Read all but the last of many missing tokens beforehand; says whether that took a pass."""
        if len(tokens) <= LONGEST_CATCH_UP:
            return False
        self.context.extend(tokens[:-1])
        self.text = np.concatenate([self.text, tokens[:-1]])
        self._clear()
        return True

    def score(self, tokens: Tokens, parents: Tokens, sources: Tokens, *, n_unranked: int = 0) -> None:
        """Read tokens that follow nodes, and rank what comes next after each but the first `n_unranked`.

        `sources` holds the number of who proposed each token; `NOTHING` where that is known, or no matter.
        """
        assert self._chooser is not None  # `follow` comes first
        start, first_ranked, stop = self.n_slots, self.n_slots + n_unranked, self.n_slots + len(tokens)
        self._make_room(stop)
        logits = self.context.score(tokens, parents).logits
        self.tokens[start:stop], self.parents[start:stop] = tokens, parents
        _set_depths(self.parents, self.depths, start, stop)
        self.ranked[start:stop], self.children[start:stop] = NOTHING, UNSCORED
        self.sources[start:stop] = self._own_source
        if first_ranked < stop:
            if len(self._excluded):
                logits[n_unranked:, self._excluded] = -np.inf
            positions = len(self.text) + self.depths[first_ranked:stop]
            likeliest = self._chooser.rank(logits[n_unranked:], positions, self.ranked.shape[1])
            self.ranked[first_ranked:stop], self.confidences[first_ranked:stop] = likeliest
        _link(self.tokens, self.parents, self.ranked, self.children, self.sources, start, stop, sources)
        self.n_slots = stop

    def _keep(self, path: NDArray[np.int32]) -> None:
        if self.n_slots == 1:
            return
        self.context.keep(path)
        self.text = np.concatenate([self.text, self.tokens[path + 1]])
        if len(path):
            self.ranked[0], self.confidences[0] = self.ranked[path[-1] + 1], self.confidences[path[-1] + 1]
        self._drop_nodes()

    def _forget(self, length: int) -> None:
        self.context.truncate(length)
        self.text = self.text[:length]
        self._clear()

    def _clear(self) -> None:
        self.ranked[0] = NOTHING
        self._drop_nodes()

    def _drop_nodes(self) -> None:
        self.n_slots = 1
        self.children[0], self.sources[0] = UNSCORED, self._own_source

    def _make_room(self, n_slots: int) -> None:
        if n_slots <= len(self.tokens):
            return
        for name in ("tokens", "parents", "depths", "ranked", "confidences", "children", "sources"):
            before = getattr(self, name)
            grown = np.zeros((2 * n_slots, *before.shape[1:]), before.dtype)
            grown[: len(before)] = before
            setattr(self, name, grown)


def _common_length(one: Tokens, other: Tokens) -> int:
    shorter = min(len(one), len(other))
    differ = one[:shorter] != other[:shorter]
    return int(np.argmax(differ)) if differ.any() else shorter


@njit(nogil=True, cache=True)
def _path_along(tokens: Any, parents: Any, text: Any) -> NDArray[np.int32]:
    """Nodes that bear the first tokens of `text`, one after another."""
    path = np.empty(len(text), np.int32)
    node, length = ROOT, 0
    for candidate in range(len(tokens)):  # children come after their parents, so one look at each is enough
        if length < len(text) and parents[candidate] == node and tokens[candidate] == text[length]:
            path[length] = candidate
            node, length = candidate, length + 1
    return path[:length]


@njit(nogil=True, cache=True)
def _set_depths(parents: Any, depths: Any, start: Any, stop: Any) -> None:
    for slot in range(start, stop):
        depths[slot] = depths[parents[slot] + 1] + 1


@njit(nogil=True, cache=True)
def _link(
    tokens: Any, parents: Any, ranked: Any, children: Any, sources: Any, start: Any, stop: Any, new_sources: Any
) -> None:
    """Note where ranked tokens stand that the model has read by now, and who proposed them."""
    for slot in range(start, stop):
        parent = parents[slot] + 1
        for rank in range(ranked.shape[1]):
            if ranked[parent, rank] == tokens[slot]:
                children[parent, rank] = slot
                if new_sources[slot - start] != NOTHING:
                    sources[parent, rank] = new_sources[slot - start]
