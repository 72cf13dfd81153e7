"""A toy model whose next-token logits are looked up by the last few tokens; it checks every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.batching import KeyValueBlock, ScoreRequest
from etesian.decode.models.language_model import IntegerArray, ModelTraits, Scores

LogitsOf = Callable[[Sequence[int]], NDArray[np.float32]]
_ROOT = -1


class TableModel:
    """A language model whose logits come from a table, for tests and for developing drafters.

    Parameters
    ----------
    vocabulary_size : int
    order : int
        Number of last tokens that the next one depends on.
    n_rows : int
        Rows of the table; each sequence of `order` tokens is hashed to one of them.
    scale : float
        Standard deviation of the logits: near 0 the distribution is uniform, far above 1 it is concentrated on one token.
    max_length : int or None
        Length of the longest text; None if unlimited.
    seed : int
        Seed of the table.
    """

    rows_are_exact = True
    supports_trees = True
    fingerprint: str | None = None

    def __init__(
        self,
        vocabulary_size: int,
        *,
        order: int = 2,
        n_rows: int = 1024,
        scale: float = 2.0,
        max_length: int | None = None,
        seed: int = 0,
    ) -> None:
        self.table = np.random.default_rng(seed).normal(0.0, scale, (n_rows, vocabulary_size)).astype(np.float32)
        self.order = order
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.logits_of: LogitsOf = self._look_up

    @classmethod
    def from_function(cls, logits_of: LogitsOf, vocabulary_size: int, *, max_length: int | None = None) -> TableModel:
        """Compute logits by `logits_of(tokens)`, float32 of shape (vocabulary_size,), from all tokens so far."""
        model = cls(vocabulary_size, n_rows=0, max_length=max_length)
        model.logits_of = logits_of
        return model

    @property
    def traits(self) -> ModelTraits:
        """Properties that the model promises."""
        return ModelTraits(
            rows_are_exact=self.rows_are_exact,
            supports_trees=self.supports_trees,
            weight_bytes=self.weight_bytes,
            fingerprint=self.fingerprint,
        )

    @property
    def weight_bytes(self) -> int:
        """Upper bound of the bytes that a pass reads."""
        return self.table.nbytes

    def context(self) -> TableContext:
        """Open an empty text."""
        return TableContext(self)

    def score_together(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Score the rows of several contexts; see `BatchedModel`."""
        return [request.context.score(request.tokens, request.parents) for request in requests]

    def _look_up(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        row = 0
        for token in tokens[max(len(tokens) - self.order, 0) :]:
            row = (row * 1_000_003 + token + 1) % len(self.table)
        return self.table[row]


class TableContext:
    """The context of a `TableModel`; hidden states are the table rows themselves. See `Context`."""

    def __init__(self, model: TableModel) -> None:
        self._model = model
        self.tokens: list[int] = []
        self._nodes: list[tuple[int, int]] = []  # token and parent

    @property
    def length(self) -> int:
        """Number of kept tokens."""
        return len(self.tokens)

    @property
    def n_reusable(self) -> int:
        """Number of kept tokens: all of them can be reused."""
        return self.length

    def extend(self, tokens: IntegerArray) -> None:
        """Read and keep tokens; drops all nodes."""
        added = [self._known(token) for token in tokens]
        self._check_fits(self.length + len(added))
        self.tokens += added
        self._nodes = []

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> Scores:
        """Read each token after its ancestors and the kept text."""
        rows = []
        for token, parent in zip(tokens, parents, strict=True):
            if not _ROOT <= parent < len(self._nodes):
                raise ValueError(f"parents must be -1 or a node before their own, {len(self._nodes)}; got {parent}")
            self._nodes.append((self._known(token), int(parent)))
            path = self._path(len(self._nodes) - 1)
            self._check_fits(self.length + len(path))
            rows.append(self._model.logits_of(self.tokens + path))
        logits = np.array(rows, np.float32).reshape(len(rows), self._model.vocabulary_size)
        return Scores(logits, hidden_states=logits.copy())

    def keep(self, nodes: IntegerArray) -> None:
        """Keep a path of nodes; drops all others."""
        parent = _ROOT
        for node in nodes:
            if not 0 <= node < len(self._nodes) or self._nodes[node][1] != parent:
                raise ValueError(f"nodes must be a path of scored nodes from -1 down; {node} does not follow {parent}")
            parent = int(node)
        self.tokens += [self._nodes[node][0] for node in nodes]
        self._nodes = []

    def truncate(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length must be from 0 to {self.length}, the tokens kept; got {length}")
        del self.tokens[length:]
        self._nodes = []

    def copy_block(self, start: int, stop: int) -> KeyValueBlock:
        """Copy the state of the kept tokens from `start` to `stop`, which for this model is the tokens themselves."""
        return KeyValueBlock((np.array(self.tokens[start:stop], np.int32),))

    def append_block(self, tokens: IntegerArray, block: KeyValueBlock) -> None:
        """Keep the first tokens of a block; drops all nodes."""
        (copied,) = block.arrays
        if len(copied) < len(tokens):
            raise ValueError(f"block must hold at least {len(tokens)} tokens; got {len(copied)}")
        self._check_fits(self.length + len(tokens))
        self.tokens += copied[: len(tokens)].tolist()
        self._nodes = []

    def _path(self, node: int) -> list[int]:
        path = []
        while node != _ROOT:
            token, node = self._nodes[node]
            path.append(token)
        return path[::-1]

    def _known(self, token: int) -> int:
        if not 0 <= token < self._model.vocabulary_size:
            raise ValueError(f"tokens must be from 0 to {self._model.vocabulary_size - 1}; got {token}")
        return int(token)

    def _check_fits(self, length: int) -> None:
        longest = self._model.max_length
        if longest is not None and length > longest:
            raise ValueError(f"a text of this model holds at most {longest} tokens; got {length}")
