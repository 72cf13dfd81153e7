"""`HeadDrafter`: a draft head next to another drafter."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.combined import merge
from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork, renewed, stages_above, work_by_stage
from etesian.decode.drafters.growth import TOKEN
from etesian.decode.drafters.head.drafting import N_GROWN, N_PASSES, STOP, ChoiceRule, DraftLimits
from etesian.decode.drafters.head.model import MOST_ROWS, HeadContext, HeadModel
from etesian.decode.drafters.model import BEST_CASE, ModelDrafter
from etesian.decode.drafters.reading import Reading
from etesian.decode.sampling import Chooser
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import TokenTree

MOST_STATES = 128
"""Hidden states that are kept until the head reads them: of a long prompt, it reads the end only."""
USUALLY_READ = 32
"""Hidden states per draft up to which its time is typical."""
MOST_DECLINED = 64
"""Steps without a draft after which the head drafts once more, as at the start of each text, because acceptance changes."""
MOST_LATE = 16
"""Hidden states that the head then reads of all that it has missed."""
REMEMBERED, REMEMBERED_SECONDS = 6, 16
"""Drafts whose expected tokens, and whose time, count."""


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
        self.model = model
        self.inner = inner
        self.stages = stages_above(inner, name)
        self._head = _HeadStage(model, name=name, costs=costs, n_children=n_children, max_rows=max_rows)

    def propose(self, request: DraftRequest) -> TokenTree:
        """Ask the inner drafter, then grow the head's own tree unless no pass is worth its time; return the most probable nodes."""
        self._head.receive(request)
        guess = TokenTree.empty() if self.inner is None else self.inner.propose(request)
        if self._head.declines(guess, request):
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
    _chooser: Chooser | None = None  # of the current request
    _n_declined = 0  # proposals since the last draft

    def __init__(self, model: HeadModel, **options: Any) -> None:
        super().__init__(model, **options)
        self._worths = {each: _Worth() for each in (self._calibrations.greedy, self._calibrations.sampled)}

    def receive(self, request: DraftRequest) -> None:
        """Keep the hidden states of a request until the head reads them; those of the steps before may be waiting as well."""
        if request.hidden_states is None or not len(request.hidden_states):
            return
        rows = np.asarray(request.hidden_states, np.float32)
        new, old = _States(request.chooser, len(request.text) - 1 - len(rows), rows), self._states
        if self._n_declined and new.chooser is not self._chooser:
            self._n_declined = MOST_DECLINED  # another text
        self._chooser = new.chooser
        if old is not None and old.chooser is new.chooser and old.stop == new.first:
            rows = np.concatenate([old.rows, rows])
        rows = rows[-(MOST_LATE if self._n_declined else MOST_STATES) :]
        self._states = _States(new.chooser, new.stop - len(rows), rows)

    def declines(self, guess: TokenTree, request: DraftRequest) -> bool:
        """Return True if a draft is not worth its time.

        A draft gains what drafts usually gain, but only where the guess of the other drafter fails within as many tokens.
        """
        if self._states is None or not request.allows_passes:
            return True
        usual = self._worths[self._calibrations.of(request.chooser.sampling)]
        if not usual.is_known or self._n_declined >= MOST_DECLINED:
            return self._is_sure(guess, request)
        reaching = guess.path_probabilities[guess.depths >= min(request.max_depth, 1 + round(usual.tokens))]
        fails = 1.0 - float(reaching.max(initial=0.0))
        declines = fails * usual.tokens < request.required_rate * usual.seconds
        self._n_declined = self._n_declined + 1 if declines else 0
        return declines

    def propose(self, request: DraftRequest) -> TokenTree:
        """Draft, and learn what that takes and is expected to gain."""
        seconds, n_read = self._seconds, 0 if self._states is None else len(self._states.rows)
        tree = super().propose(request)
        if 0 < n_read <= USUALLY_READ:
            gains = np.maximum(tree.path_probabilities - request.node_cost, 0.0)
            self._worths[self.calibration].add(float(gains.sum()), self._seconds - seconds)
        return tree

    def _new_reading(self) -> Reading:
        return Reading(self.model, self.n_children, 0, columns=self.model.output_tokens)

    def _drafted(self, reading: Reading, request: DraftRequest) -> TokenTree:
        states, context = self._states, reading.context
        if states is None or states.stop != len(request.text) - 1:
            return TokenTree.empty()
        assert isinstance(context, HeadContext)
        self._states, self._n_declined = None, 0
        # Accepted tokens are read again, with the target's states in place of the head's own; those before were read with them.
        reading.follow(request.text, request.chooser)
        reading.forget(min(len(reading.text), states.first + 1))
        is_plain, n_missing = request.chooser.is_plain, len(request.text) - len(reading.text)
        if not is_plain or n_missing != len(states.rows) or n_missing > MOST_ROWS:
            context.supply(states.first, states.rows)
            reading.extend(request.text[len(reading.text) : states.first + 1])  # without states: the context skips them
        if not is_plain:
            return super()._drafted(reading, request)
        reading.extend(request.text[len(reading.text) : max(len(request.text) - MOST_ROWS, 0)])
        return self._drafted_at_once(reading, context, request, states.rows)

    def _drafted_at_once(
        self, reading: Reading, context: HeadContext, request: DraftRequest, features: NDArray[np.float32]
    ) -> TokenTree:
        """Draft in one compiled call, as `ModelDrafter` does step by step."""
        missing = request.text[len(reading.text) :]
        longest, n_rows = self.model.max_length, np.arange(self.max_rows + 1)
        limits = DraftLimits(
            n_missing=0,
            n_kept=0,
            max_nodes=request.max_nodes,
            max_depth=request.max_depth if longest is None else min(request.max_depth, longest - len(request.text)),
            best_case=BEST_CASE,
            trust=self._trust,
            required_rate=request.required_rate,
            node_cost=request.node_cost,
            pass_seconds=self.costs.curve(n_rows) * (n_rows > 0),
        )
        if not len(missing) or request.max_nodes < 1 or limits.max_depth < 1:
            return TokenTree.empty()
        started = time.perf_counter()
        rule = ChoiceRule.of(request.chooser.sampling, request.chooser.vocabulary_size)
        features = np.ascontiguousarray(features[-len(missing) :])
        draft = context.draft(missing, features, limits, rule, self.calibration.table, self.n_children)
        reading.keep_read(missing)
        self._learn_costs(draft.rows_of_passes[: draft.counts[N_PASSES]].tolist(), time.perf_counter() - started)
        ranked = slice(len(missing) - 1, draft.counts[STOP])
        self._learn_from(draft.confidences[ranked, 0], draft.sources[ranked, 0], int(draft.counts[N_PASSES]))
        numbers, shares = draft.numbers[: draft.counts[N_GROWN]], draft.shares[: draft.counts[N_GROWN]]
        numbers[:, TOKEN] = self.model.output_tokens[numbers[:, TOKEN]]
        return self._proposal(numbers, shares)

    def _learn_costs(self, rows: list[int], seconds: float) -> None:
        """Divide the time of a draft among its passes as their costs suggest."""
        self._passes += len(rows)
        expected = [self.costs.seconds(n) or 1.0 for n in rows]
        for n, share in zip(rows, expected, strict=True):
            self.costs.observe(n, seconds * share / sum(expected))

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn the acceptance rates of the head."""
        self.calibration.observe(tree, accepted)


class _Worth:
    """The time that recent drafts took, and the tokens that they were expected to add beyond the cost of their nodes."""

    def __init__(self) -> None:
        self._tokens, self._seconds = deque[float](maxlen=REMEMBERED), deque[float](maxlen=REMEMBERED_SECONDS)

    def add(self, tokens: float, seconds: float) -> None:
        """Remember a draft."""
        self._tokens.append(tokens)
        self._seconds.append(seconds)

    @property
    def is_known(self) -> bool:
        """True after three drafts. The first ones may have taken longer, because code was compiled."""
        return len(self._seconds) > 2

    @property
    def tokens(self) -> float:
        """The mean over recent drafts, or the number for the latest one if it is higher: one good draft is followed by another."""
        return max(sum(self._tokens) / len(self._tokens), self._tokens[-1])

    @property
    def seconds(self) -> float:
        """Median time of recent drafts."""
        return median_low(self._seconds)


class _States(NamedTuple):
    """The target's hidden states of some tokens of a request, in order."""

    chooser: Chooser
    first: int
    rows: NDArray[np.float32]

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.first + len(self.rows)
