"""The drafter protocol: `Drafter`, its input `DraftRequest`, and optional protocols for its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from etesian.decode.sampling import Chooser
from etesian.decode.tree import TokenTree
from etesian.errors import InputError


@dataclass(frozen=True, slots=True)
class DraftRequest:
    """The text to continue and the limits of the draft.

    Parameters
    ----------
    text : ndarray of int32, shape (n_tokens,)
        Prompt and output so far; valid during the call only.
    max_nodes, max_depth : int
        Limits of the tree.
    chooser : Chooser
        The target's seeded choice. Applied to a drafter's own logits, with the same noise, it makes the two agree more often.
    tokens_per_second : float or None
        Decoding rate that each forward pass of a draft model must beat with the accepted tokens it is expected to add; None for no
        limit on draft passes.
    allows_passes : bool
        True if draft models may run.
    hidden_states : ndarray of float32, shape (n_read, width), or None
        The target's hidden states for the last `n_read` tokens before the last token of `text`, in order: those that it has read
        since the previous proposal, prompt included. None if the target does not provide them.
    n_drafted : int
        Number of tokens at the end of `text` that are drafted themselves and may be rejected: a draft model asks its inner drafter
        to continue its own tree. 0 for the text of the target.
    node_seconds : float
        Time that each node adds to the target's pass; 0 if it is not known.
    """

    text: NDArray[np.int32]
    max_nodes: int
    max_depth: int
    chooser: Chooser
    tokens_per_second: float | None = None
    allows_passes: bool = True
    hidden_states: NDArray[np.float32] | None = field(default=None, compare=False)
    n_drafted: int = 0
    node_seconds: float = 0.0

    @property
    def required_rate(self) -> float:
        """The rate that a draft pass must beat, in tokens per second; 0 without a limit."""
        return self.tokens_per_second or 0.0

    @property
    def node_cost(self) -> float:
        """The number of tokens that a node must be expected to add to be worth its time in the target's pass."""
        return self.required_rate * self.node_seconds


@dataclass(frozen=True, slots=True)
class StageWork:
    """Work of one stage since its drafter was created.

    Parameters
    ----------
    passes : int
        Forward passes of its model, or calls of a stage without a model.
    seconds : float
        Time spent in this stage, excluding its inner stages.
    weight_bytes : int
        Bytes of weights read by its passes.
    """

    passes: int = 0
    seconds: float = 0.0
    weight_bytes: int = 0


class Drafter(Protocol):
    """Proposes candidate tokens. A bad drafter makes decoding slower, never different.

    A drafter that also implements `ReportsWork` appears with passes and seconds in the statistics of a request; one that
    implements `Renewable` is used by `Decoder.warm_up`.
    """

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of its stages, which are the `origins` of its nodes, innermost stage first."""

    def propose(self, request: DraftRequest) -> TokenTree:
        """Propose a tree of continuations; an empty tree if there is nothing to propose."""

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn from a verified tree.

        Parameters
        ----------
        tree : TokenTree
            The tree as the target scored it.
        accepted : sequence of int
            Accepted nodes, in order. Only children of accepted nodes, and nodes that follow the text, were decided on.
        """


@runtime_checkable
class ReportsWork(Protocol):
    """A drafter that counts its work."""

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the work of its stages, by name."""


@runtime_checkable
class Renewable(Protocol):
    """A drafter that can be created anew."""

    def fresh(self) -> Drafter | None:
        """Return a drafter with the same options that has learned nothing and shares no state; None if that is impossible."""


def work_by_stage(drafter: Drafter | None) -> dict[str, StageWork]:
    """Return the work of a drafter's stages; empty for a drafter that does not count it."""
    return dict(drafter.stage_statistics()) if isinstance(drafter, ReportsWork) else {}


def renewed(drafter: Drafter | None) -> Drafter | None:
    """Return a fresh drafter like this one; None if there is none."""
    return drafter.fresh() if isinstance(drafter, Renewable) else None


def stages_above(inner: Drafter | None, name: str) -> tuple[str, ...]:
    """Return the stages of a drafter called `name` with an inner drafter.

    Raises
    ------
    InputError
        If an inner stage has the same name.
    """
    below = inner.stages if inner is not None else ()
    if name in below:
        raise InputError(
            f"name must differ from those of the inner stages, {', '.join(below)}; got {name!r}; use the stage once"
        )
    return (*below, name)
