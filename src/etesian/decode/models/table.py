"""An exact toy: the next token's logits are looked up by the last few tokens. Strict about misuse; knows no sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.language_model import IntegerArray

LogitsOf = Callable[[Sequence[int]], NDArray[np.float32]]
_ROOT = -1


class TableModel:
    """A language model whose logits are exact, whatever else a pass holds: what tests and first drafters want.

    Parameters
    ----------
    vocabulary_size
    order
        How many of the last tokens the next one depends on.
    n_rows
        Rows of the table; each sequence of `order` tokens is hashed to one.
    scale
        Standard deviation of the logits: near 0 every token is as likely as any, far above 1 one of them takes it all.
    max_length
        The longest text it reads; None for no limit.
    seed
        Seed of the table.
    """

    rows_are_exact = True

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
        """Ask `logits_of(tokens)` instead of a table: float32 of shape (vocabulary_size,), from all tokens so far."""
        model = cls(vocabulary_size, n_rows=0, max_length=max_length)
        model.logits_of = logits_of
        return model

    @property
    def weight_bytes(self) -> int:
        """Bytes that a pass reads at most."""
        return self.table.nbytes

    def context(self) -> TableContext:
        """Open an empty text."""
        return TableContext(self)

    def _look_up(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        row = 0
        for token in tokens[max(len(tokens) - self.order, 0) :]:
            row = (row * 1_000_003 + token + 1) % len(self.table)
        return self.table[row]


class TableContext:
    """One text as a `TableModel` has read it; see `Context`."""

    def __init__(self, model: TableModel) -> None:
        self._model = model
        self.tokens: list[int] = []
        self._nodes: list[tuple[int, int]] = []  # token and parent

    @property
    def length(self) -> int:
        """Tokens kept so far."""
        return len(self.tokens)

    def extend(self, tokens: IntegerArray) -> None:
        """Keep these tokens; drops all nodes."""
        added = [self._known(token) for token in tokens]
        self._check_fits(self.length + len(added))
        self.tokens += added
        self._nodes = []

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> NDArray[np.float32]:
        """Logits after each of these nodes, of shape (n_new, vocabulary_size)."""
        rows = []
        for token, parent in zip(tokens, parents, strict=True):
            if not _ROOT <= parent < len(self._nodes):
                raise ValueError(f"parents must be -1 or a node before their own, {len(self._nodes)}; got {parent}")
            self._nodes.append((self._known(token), int(parent)))
            path = self._path(len(self._nodes) - 1)
            self._check_fits(self.length + len(path))
            rows.append(self._model.logits_of(self.tokens + path))
        return np.array(rows, np.float32).reshape(len(rows), self._model.vocabulary_size)

    def keep(self, nodes: IntegerArray) -> None:
        """Keep this path, drop all other nodes."""
        parent = _ROOT
        for node in nodes:
            if not 0 <= node < len(self._nodes) or self._nodes[node][1] != parent:
                raise ValueError(f"nodes must be a path of scored nodes from -1 down; {node} does not follow {parent}")
            parent = int(node)
        self.tokens += [self._nodes[node][0] for node in nodes]
        self._nodes = []

    def truncate(self, length: int) -> None:
        """Forget every kept token from `length` on, and all nodes."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length must be from 0 to {self.length}, the tokens kept; got {length}")
        del self.tokens[length:]
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
