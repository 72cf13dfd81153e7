"""The context of a transformers model: its kept tokens, the nodes that follow them, and their slots in the cache."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.language_model import IntegerArray, Scores
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.tree_attention_mask import ScoredNodes
from etesian.errors import InputError


class HuggingFaceContext:
    """One text of a transformers model; see `etesian.decode.models.language_model.Context`."""

    def __init__(self, passes: EagerPasses) -> None:
        self._passes = passes
        self._cache = passes.open_cache()
        weakref.finalize(self, passes.close_cache, self._cache)
        self._length = self._n_extended = 0
        self._nodes = ScoredNodes.none()

    @property
    def length(self) -> int:
        """Number of kept tokens."""
        return self._length

    @property
    def n_reusable(self) -> int:
        """Number of leading tokens that were read by `extend`: passes of few rows may round their keys and values otherwise."""
        return self._n_extended

    def extend(self, tokens: IntegerArray) -> None:
        """Read and keep tokens without computing logits; drops all nodes."""
        checked = self._checked(tokens)
        self._check_length(self._length + len(checked))
        self._nodes = ScoredNodes.none()
        self._passes.read(checked, self._cache, self._length)
        if self._n_extended == self._length:
            self._n_extended += len(checked)
        self._length += len(checked)

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> Scores:
        """Read each token after its ancestors and the kept text, in one pass.

        Raises
        ------
        InputError
            If a token is outside the vocabulary, a node lies beyond `max_length`, or nodes branch and the model takes
            chains only.
        ValueError
            If a parent does not stand before its child.
        """
        checked = self._checked(tokens)
        new_parents = np.asarray(parents, np.int64)
        if checked.shape != new_parents.shape:
            raise ValueError(f"tokens and parents must have the same length; got {len(checked)} and {len(new_parents)}")
        nodes = self._nodes.followed_by(new_parents)
        if len(checked) == 0:
            return Scores(np.empty((0, self._passes.vocabulary_size), np.float32))
        self._check_length(self._length + int(nodes.depths.max()) + 1)
        if not (nodes.is_chain or self._passes.takes_trees):
            raise InputError(
                f"{type(self._passes.model).__name__} takes chains only; give each token the one before as parent"
            )
        scores = self._passes.score(checked, nodes, self._cache, self._length)
        self._nodes = nodes  # only now: an interrupted pass leaves no nodes behind
        return scores

    def keep(self, nodes: IntegerArray) -> None:
        """Keep a path of nodes that starts at the kept text; drops all other nodes."""
        path = np.asarray(nodes, np.int64)
        self._nodes.check_path(path)
        self._nodes = ScoredNodes.none()
        self._cache.move((self._length + path).tolist(), self._length)
        self._length += len(path)

    def truncate(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
        if not 0 <= length <= self._length:
            raise ValueError(f"length must lie from 0 to {self._length}, the tokens kept; got {length}")
        self._nodes = ScoredNodes.none()
        self._length = length
        self._n_extended = min(self._n_extended, length)

    def _checked(self, tokens: IntegerArray) -> NDArray[np.int64]:
        checked = np.asarray(tokens, np.int64)
        outside = checked[(checked < 0) | (checked >= self._passes.n_embeddings)]
        if outside.size:  # on an accelerator such a token would end the process's use of it
            raise InputError(f"tokens must lie from 0 to {self._passes.n_embeddings - 1}; got {outside[0]}")
        return checked

    def _check_length(self, length: int) -> None:
        longest = self._passes.limits.max_length
        if longest is not None and length > longest:
            raise InputError(
                f"{type(self._passes.model).__name__} reads texts of at most {longest} tokens; got {length}"
            )
