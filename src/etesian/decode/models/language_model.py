"""What the decoder asks of a model: `LanguageModel` and `Context`. Knows no sampling and no drafter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IntegerArray = Sequence[int] | NDArray[np.integer]


class LanguageModel(Protocol):
    """Weights and shape of a causal language model; every text it reads gets a `Context` of its own.

    It may also tell `weight_bytes`, the bytes of weights that a pass reads; `rows_are_exact`, False where a token's logits may
    differ in their last bits by what else is in the pass (the decoder then checks close decisions again); and
    `supports_trees`, False where nodes may only follow one another.
    """

    @property
    def vocabulary_size(self) -> int:
        """Entries of a row of logits; a padded vocabulary counts in full."""

    @property
    def max_length(self) -> int | None:
        """The longest text it can read, in tokens; None where there is no limit."""

    def context(self) -> Context:
        """Open an empty text."""


class Context(Protocol):
    """One text as a model has read it: kept tokens, and a tree of scored ones that are not kept yet.

    `score` may be called again before `keep`: later nodes may follow earlier ones, whose keys and values stay. Nodes are
    numbered through all these calls, from 0 after each `keep`, `extend` and `truncate`.
    """

    @property
    def length(self) -> int:
        """Tokens kept so far."""

    def extend(self, tokens: IntegerArray) -> None:
        """Keep these tokens, one after another, without asking for logits; drops all nodes."""

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> NDArray[np.float32]:
        """Read each token after its ancestors and the kept text, in one pass.

        Parameters
        ----------
        tokens : sequence of int, length n_new
        parents : sequence of int, length n_new
            The node that each token follows; -1 follows the kept text. Any node before it will do, of this call or an earlier.

        Returns
        -------
        ndarray of float32, shape (n_new, vocabulary_size)
            Logits of the token that comes next after each; valid until the next call.
        """

    def keep(self, nodes: IntegerArray) -> None:
        """Keep these nodes, each the child of the one before and the first of the kept text; drops all others."""

    def truncate(self, length: int) -> None:
        """Forget every kept token from `length` on, and all nodes."""
