"""Optional abilities of models that serve several texts: passes over several contexts, and copies of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from etesian.decode.models.language_model import Context, IntegerArray, Scores


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Rows that one context adds to a common pass.

    Parameters
    ----------
    context : Context
        Context of the model that runs the pass. Each context may occur in one request only.
    tokens, parents : sequence of int
        Arguments of `Context.score`.
    """

    context: Context
    tokens: IntegerArray
    parents: IntegerArray


@runtime_checkable
class BatchedModel(Protocol):
    """A model that reads the rows of several contexts in one forward pass."""

    def score_together(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Score the rows of each context, as `Context.score` does, in common passes.

        Each row has the bits that it has in a pass of its own.
        """


@dataclass(frozen=True, slots=True)
class KeyValueBlock:
    """A copy of the keys and values of consecutive tokens.

    Parameters
    ----------
    arrays : tuple of ndarray
        Private to the model.
    """

    arrays: tuple[NDArray[Any], ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(array.nbytes for array in self.arrays)


@runtime_checkable
class CopiesBlocks(Protocol):
    """A context whose keys and values can be copied into other contexts of the same model, bit for bit."""

    def copy_block(self, start: int, stop: int) -> KeyValueBlock:
        """Copy the keys and values of the kept tokens from `start` to `stop`."""

    def append_block(self, tokens: IntegerArray, block: KeyValueBlock) -> None:
        """Keep tokens whose keys and values were copied from a text with the same beginning; drops all nodes.

        The block may hold more tokens, which are not kept.
        """
