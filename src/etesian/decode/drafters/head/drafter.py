"""`HeadDrafter`: a draft head next to another drafter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etesian.decode.drafters.combined import merge
from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork, renewed, work_by_stage
from etesian.decode.drafters.head.model import HeadContext, HeadModel
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.reading import Reading
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

    def is_sure(self, guess: TokenTree, request: DraftRequest) -> bool:
        """Return True if no pass of the head is worth its time."""
        return request.hidden_states is None or self._is_sure(guess, request)

    def _new_reading(self) -> Reading:
        return Reading(self.model, self.n_children, 0, columns=self.model.output_tokens)

    def _drafted(self, reading: Reading, request: DraftRequest) -> TokenTree:
        features, context = request.hidden_states, reading.context
        if features is None or not len(features):
            return TokenTree.empty()
        assert isinstance(context, HeadContext)
        first = len(request.text) - 1 - len(features)
        # Accepted tokens are read again, with the target's states in place of the head's own.
        reading.forget(min(len(reading.text), first + 1))
        context.supply(first, np.asarray(features, np.float32))
        return super()._drafted(reading, request)

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn the acceptance rates of the head."""
        self.calibration.observe(tree, accepted)
