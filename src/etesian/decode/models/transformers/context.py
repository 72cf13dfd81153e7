"""A text as a model of transformers has read it: which tokens are kept, which nodes hang from them, where their keys lie."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.language_model import IntegerArray
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.decode.models.transformers.tree_attention_mask import ScoredNodes
from etesian.errors import InputError


class HuggingFaceContext:
    """One text as a model of transformers has read it; see `etesian.decode.models.language_model.Context`."""

    def __init__(self, passes: EagerPasses) -> None:
        self._passes = passes
        self._cache = passes.open_cache()
        weakref.finalize(self, passes.close_cache, self._cache)
        self._length = 0
        self._nodes = ScoredNodes.none()

    @property
    def length(self) -> int:
        """Tokens kept so far."""
        return self._length

    def extend(self, tokens: IntegerArray) -> None:
        """Keep these tokens, one after another, without asking for logits; drops all nodes."""
        checked = self._checked(tokens)
        self._check_length(self._length + len(checked))
        self._nodes = ScoredNodes.none()
        self._passes.read(checked, self._cache, self._length)
        self._length += len(checked)

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> NDArray[np.float32]:
        """Read each token after its ancestors and the kept text, in one pass; logits of shape (n_new, vocabulary_size).

        Raises
        ------
        InputError
            If a token is no entry of the vocabulary, a node lies beyond `max_length`, or the model takes chains only and the
            nodes branch.
        ValueError
            If a parent does not stand before its child.
        """
        checked = self._checked(tokens)
        new_parents = np.asarray(parents, np.int64)
        if checked.shape != new_parents.shape:
            raise ValueError(f"tokens and parents must be as many; got {len(checked)} and {len(new_parents)}")
        nodes = self._nodes.followed_by(new_parents)
        if len(checked) == 0:
            return np.empty((0, self._passes.vocabulary_size), np.float32)
        self._check_length(self._length + int(nodes.depths.max()) + 1)
        if not (nodes.is_chain or self._passes.takes_trees):
            raise InputError(
                f"{type(self._passes.model).__name__} takes chains only; give each token the one before as parent"
            )
        logits = self._passes.score(checked, nodes, self._cache, self._length)
        self._nodes = nodes  # only now: an interrupted pass leaves no nodes behind
        return logits

    def keep(self, nodes: IntegerArray) -> None:
        """Keep these nodes, each the child of the one before and the first of the kept text; drops all others."""
        path = np.asarray(nodes, np.int64)
        self._nodes.check_path(path)
        self._nodes = ScoredNodes.none()
        self._cache.move((self._length + path).tolist(), self._length)
        self._length += len(path)

    def truncate(self, length: int) -> None:
        """Forget every kept token from `length` on, and all nodes."""
        if not 0 <= length <= self._length:
            raise ValueError(f"length must lie from 0 to {self._length}, the tokens kept; got {length}")
        self._nodes = ScoredNodes.none()
        self._length = length

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
