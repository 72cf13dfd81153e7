"""The text and tree that a draft model has read, and its ranking of the next tokens after each node."""

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

LONGEST_CATCH_UP = 16  # missing tokens that are scored together with the tree; more are read before it, without logits
NOTHING = -1  # placeholder where the model has not ranked the next tokens

Tokens = NDArray[np.int32]


class Reading:
    """A context of a draft model with the rankings of its nodes.

    Slot 0 ranks the tokens that follow the kept text, and slot n + 1 those that follow node n. Slots are dropped whenever tokens
    are kept or dropped; keys and values of nodes that became part of the text are kept.

    Parameters
    ----------
    model : LanguageModel
    n_children : int
        Number of ranked tokens per slot.
    own_source : int
        Source of tokens that no inner drafter proposed.
    excluded_tokens : sequence of int
        Tokens that are never ranked.
    columns : ndarray of int64, optional
        Token of each logit, ascending, if the model scores a part of its vocabulary.
    """

    def __init__(
        self,
        model: LanguageModel,
        n_children: int,
        own_source: int,
        excluded_tokens: Sequence[int] = (),
        columns: NDArray[np.int64] | None = None,
    ) -> None:
        self.context = model.context()
        self._columns = columns
        self._excluded = np.array([token for token in excluded_tokens if token < model.vocabulary_size], np.int64)
        self.text: Tokens = np.empty(0, np.int32)
        """Tokens kept by the context."""
        self._own_source = own_source
        self._chooser: Chooser | None = None
        self.tokens, self.parents, self.depths = np.zeros((3, 1), np.int32)
        self.ranked, self.children, self.sources = np.zeros((3, 1, min(n_children, model.vocabulary_size)), np.int32)
        self.confidences = np.zeros(self.ranked.shape, np.float32)
        self.n_slots = 1
        self._make_room(64)
        self._clear()

    def follow(self, text: Tokens, chooser: Chooser) -> Tokens:
        """Keep the part of `text` that was read and drop the rest; return the tokens that are missing."""
        n_common = _common_length(self.text, text)
        if n_common < len(self.text):
            self.forget(n_common)
        else:
            self._keep(_path_along(self.tokens[1 : self.n_slots], self.parents[1 : self.n_slots], text[n_common:]))
        if chooser is not self._chooser:
            self.ranked[0] = NOTHING
            self._chooser = chooser
        if len(self.text) == len(text) and len(text) and self.ranked[0, 0] == NOTHING:
            self.forget(len(text) - 1)
        return text[len(self.text) :]

    def catch_up(self, tokens: Tokens) -> bool:
        """Read all but the last of many missing tokens; return whether a pass ran."""
        if len(tokens) <= LONGEST_CATCH_UP:
            return False
        self.extend(tokens[:-1])
        return True

    def extend(self, tokens: Tokens) -> None:
        """Read and keep tokens that follow the kept text, without logits."""
        if len(tokens):
            self.context.extend(tokens)
            self.keep_read(tokens)

    def keep_read(self, tokens: Tokens) -> None:
        """Record tokens that the context has already read and kept."""
        self.text = np.concatenate([self.text, tokens])
        self._clear()

    def score(self, tokens: Tokens, parents: Tokens, sources: Tokens, *, n_unranked: int = 0) -> None:
        """Read tokens that follow nodes, and rank the next tokens after all but the first `n_unranked`.

        `sources` holds the source of each token, or `NOTHING` to leave it unchanged.
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
            likeliest = self._chooser.rank(logits[n_unranked:], positions, self.ranked.shape[1], self._columns)
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

    def forget(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
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
    """Return the path of nodes that hold the first tokens of `text`."""
    path = np.empty(len(text), np.int32)
    node, length = ROOT, 0
    for candidate in range(len(tokens)):  # children come after their parents, so one scan is enough
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
    """Record the slots of ranked tokens that the model has read, and their sources."""
    for slot in range(start, stop):
        parent = parents[slot] + 1
        for rank in range(ranked.shape[1]):
            if ranked[parent, rank] == tokens[slot]:
                children[parent, rank] = slot
                if new_sources[slot - start] != NOTHING:
                    sources[parent, rank] = new_sources[slot - start]
