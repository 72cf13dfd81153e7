"""The protocol that every model implements: `LanguageModel`, its `Context` and the `Scores` of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntegerArray = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class ModelTraits:
    """Properties of a model that its users may rely on. The defaults promise nothing.

    Parameters
    ----------
    rows_are_exact : bool
        True if the logits, keys and values of a token have the same bits whatever else is in the pass. Without this promise the
        decoder does not speculate, because the text could change.
    supports_trees : bool
        True if several nodes may have the same parent. If False, every node must follow the one before it.
    weight_bytes : int or None
        Bytes of weights that a forward pass reads; None if unknown.
    fingerprint : str or None
        Identifies the architecture, number type and device: models with the same fingerprint have the same pass costs on a machine.
        None if costs must not be cached.
    """

    rows_are_exact: bool = False
    supports_trees: bool = True
    weight_bytes: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Output of a forward pass, valid until the context is used again.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_new, vocabulary_size)
        Logits of the token that follows each node.
    hidden_states : ndarray of float32, shape (n_new, width), or None
        Input of the output layer for each node, or those of the layers that a head reads (`TargetOfHeads.keep_layers`); None if
        the model does not provide it.
    """

    logits: NDArray[np.float32]
    hidden_states: NDArray[np.float32] | None = None


class LanguageModel(Protocol):
    """A causal language model. Each text that it reads has a `Context` of its own."""

    @property
    def vocabulary_size(self) -> int:
        """Number of logits per row, including padding of the vocabulary."""

    @property
    def max_length(self) -> int | None:
        """Length of the longest text that the model can read, in tokens; None if unlimited."""

    @property
    def traits(self) -> ModelTraits:
        """Properties that the model promises."""

    def context(self) -> Context:
        """Open an empty text."""


@runtime_checkable
class TargetOfHeads(LanguageModel, Protocol):
    """A target whose token embeddings and layers a head can read."""

    @property
    def width(self) -> int:
        """Width of the hidden states and of the embeddings."""

    @property
    def n_layers(self) -> int:
        """Number of layers."""

    def keep_layers(self, layers: Sequence[int]) -> None:
        """Let the hidden states of contexts opened from now on be the inputs of these layers, one after another in each row.

        Layer 0 reads the embeddings; `n_layers` stands for the input of the output layer, which is the default.
        """

    def embed(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the embeddings of tokens, float32 of shape (n_tokens, width)."""


class Context(Protocol):
    """The key-value cache of one text: the kept tokens, followed by a tree of scored nodes that are not kept yet.

    `score` may be called several times before `keep`; later nodes may follow earlier ones. Nodes are numbered across these calls,
    starting at 0 after each `keep`, `extend` and `truncate`.
    """

    @property
    def length(self) -> int:
        """Number of kept tokens."""

    @property
    def n_reusable(self) -> int:
        """Number of leading tokens whose keys and values have the bits of a text read anew by `extend`."""

    def extend(self, tokens: IntegerArray) -> NDArray[np.float32] | None:
        """Read and keep tokens without computing logits; drops all nodes.

        Returns
        -------
        ndarray of float32, shape (n, width), or None
            Hidden states (see `Scores`) of the last `n` of these tokens, for draft heads; None if the model does not provide them.
        """

    def score(self, tokens: IntegerArray, parents: IntegerArray) -> Scores:
        """Read each token after its ancestors and the kept text, in one forward pass.

        Parameters
        ----------
        tokens : sequence of int, length n_new
        parents : sequence of int, length n_new
            The node that each token follows, of this call or an earlier one; -1 for tokens that follow the kept text. Parents come
            before their children.

        Returns
        -------
        Scores
            Rows are in the order of `tokens`.
        """

    def keep(self, nodes: IntegerArray) -> None:
        """Keep a path of nodes that starts at the kept text; drops all other nodes."""

    def truncate(self, length: int) -> None:
        """Drop the kept tokens from `length` on, and all nodes."""
