"""`HeadDrafter`: a draft head next to another drafter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.combined import merge
from etesian.decode.drafters.drafter import (
    MOST_HIDDEN_STATES,
    Drafter,
    DraftRequest,
    StageWork,
    renewed,
    work_by_stage,
)
from etesian.decode.drafters.head.model import HeadContext, HeadModel
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.reading import Reading
from etesian.decode.sampling import Chooser
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import TokenTree


class HeadDrafter:
    """Propose the most probable continuations under a draft head, merged with the proposals of another drafter.

    The head reads the hidden states of the target (`DraftRequest.hidden_states`), so it needs a target that provides them, and
    cannot draft for a draft model. It adds the target's own noise to its logits when sampling. No pass of the head is needed
    where the other drafter is confident enough.

    Parameters
    ----------
    model : HeadModel
    inner : Drafter or None
        Another drafter, usually a `LookupDrafter`; None for the head alone.
    name : str
        Origin of the head's nodes.
    costs : PassCosts or None
        Costs of the head's passes; None to learn them.
    n_children : int
        Number of candidates per node.
    max_rows : int
        Maximum number of nodes that one pass expands.
    """

    def __init__(
        self,
        model: HeadModel,
        inner: Drafter | None = None,
        *,
        name: str = "head",
        costs: PassCosts | None = None,
        n_children: int = 4,
        max_rows: int = 8,
    ) -> None:
        inner_stages = inner.stages if inner is not None else ()
        if name in inner_stages:
            raise ValueError(
                f"name must differ from those of the inner stages, {', '.join(inner_stages)}; got {name!r}"
            )
        self.model = model
        self.inner = inner
        self.stages = (*inner_stages, name)
        self._head = _HeadStage(model, name=name, costs=costs, n_children=n_children, max_rows=max_rows)

    def propose(self, request: DraftRequest) -> TokenTree:
        """Ask the inner drafter, then grow the head's own tree unless no pass is worth its time; return the most probable nodes."""
        self._head.receive(request)
        guess = TokenTree.empty() if self.inner is None else self.inner.propose(request)
        if self._head.is_sure(guess, request):
            return guess.likeliest(request.max_nodes)
        own = self._head.propose(request)
        trees = [tree for tree in (guess, own) if len(tree)]
        return merge(trees).likeliest(request.max_nodes) if len(trees) > 1 else (trees or [own])[0]

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Let both drafters learn from their own nodes."""
        self._head.observe(tree, accepted)
        if self.inner is not None:
            self.inner.observe(tree, accepted)

    def fresh(self) -> HeadDrafter:
        """Return a drafter with the same model and options that has learned nothing, and a fresh inner drafter if possible."""
        head = self._head
        return HeadDrafter(
            self.model, renewed(self.inner), name=self.stages[-1], n_children=head.n_children, max_rows=head.max_rows
        )

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the work of each stage, by name."""
        return {**work_by_stage(self.inner), **self._head.stage_statistics()}


class _HeadStage(ModelDrafter):
    """A `ModelDrafter` that gives the target's hidden states to its context before each proposal."""

    model: HeadModel
    _states: _States | None = None

    def receive(self, request: DraftRequest) -> None:
        """Keep the hidden states of a request until the head reads them; those of the steps before may be waiting as well."""
        if request.hidden_states is None or not len(request.hidden_states):
            return
        rows = np.asarray(request.hidden_states, np.float32)
        new, old = _States(request.chooser, len(request.text) - 1 - len(rows), rows), self._states
        if old is not None and old.chooser is new.chooser and old.stop == new.first:
            rows = np.concatenate([old.rows, rows])[-MOST_HIDDEN_STATES:]
            new = _States(new.chooser, new.stop - len(rows), rows)
        self._states = new

    def is_sure(self, guess: TokenTree, request: DraftRequest) -> bool:
        """Return True if no pass of the head is worth its time."""
        return self._states is None or self._is_sure(guess, request)

    def _new_reading(self) -> Reading:
        return Reading(self.model, self.n_children, 0, columns=self.model.output_tokens)

    def _drafted(self, reading: Reading, request: DraftRequest) -> TokenTree:
        states, context = self._states, reading.context
        if states is None or states.stop != len(request.text) - 1:
            return TokenTree.empty()
        assert isinstance(context, HeadContext)
        self._states = None
        # Accepted tokens are read again, with the target's states in place of the head's own; those before were read with them.
        reading.follow(request.text, request.chooser)
        reading.forget(min(len(reading.text), states.first + 1))
        reading.extend(
            request.text[len(reading.text) : states.first + 1]
        )  # tokens without states, which the context skips
        context.supply(states.first, states.rows)
        return super()._drafted(reading, request)

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn the acceptance rates of the head."""
        self.calibration.observe(tree, accepted)


class _States(NamedTuple):
    """The target's hidden states of some tokens of a request, in order."""

    chooser: Chooser
    first: int
    rows: NDArray[np.float32]

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.first + len(self.rows)
