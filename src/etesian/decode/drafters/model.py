"""Draft model, for which another drafter drafts in turn: staged speculative decoding, to any depth.

The model reads the inner drafter's tree and the tokens missing from its context in one pass, and then extends the best leaves in
further passes as long as the expected gain exceeds their cost (Spector and Re 2023, section 3).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork, renewed, stages_above, work_by_stage
from etesian.decode.drafters.growth import (
    CHANCE,
    CONFIDENCE,
    DEPTH,
    PARENT,
    PATH,
    RANK,
    SLOT,
    SOURCE,
    TOKEN,
    UNSCORED,
    grow_ranked,
)
from etesian.decode.drafters.reading import NOTHING, Reading
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.speculation.calibration import CalibrationByChoice
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import ROOT, TokenTree

FIRST_TRUST = 0.6  # acceptance rate of the model's first choices, before any observation
FORGETTING = 0.95  # decay of that rate per pass
BEST_CASE = 4.0  # tokens that a pass can add below a leaf if the inner drafter is right
FAR = 8  # depth at which an inner drafter must be confident for its tree to be used without a pass


class ModelDrafter:
    """Propose probable continuations under a draft model, in as many passes as are worth their time.

    No pass is needed where the inner drafter is confident enough.

    Parameters
    ----------
    model : LanguageModel
        The draft model, with the target's tokens; 15 to 20 times smaller than the target works well.
    inner : Drafter or None
        Drafts for the model: usually an `NgramDrafter` or another `ModelDrafter`; None for the model alone.
    name : str
        Origin of nodes found by the model itself; nodes of the inner drafter keep their origin.
    costs : PassCosts or None
        Costs of the model's passes; None to learn them.
    n_children : int
        Number of candidates per node.
    max_rows : int
        Maximum number of tokens that one pass reads to grow the tree.
    excluded_tokens : sequence of int
        Tokens that the model must not propose, because they mean something else to the target.
    """

    def __init__(
        self,
        model: LanguageModel,
        inner: Drafter | None = None,
        *,
        name: str = "draft",
        costs: PassCosts | None = None,
        n_children: int = 4,
        max_rows: int = 16,
        excluded_tokens: Sequence[int] = (),
    ) -> None:
        if n_children < 1 or max_rows < 1:
            raise ValueError(f"n_children and max_rows must be at least 1; got {n_children} and {max_rows}")
        self.model = model
        self._traits = model.traits
        self.inner = inner
        self.stages = stages_above(inner, name)
        self.costs = costs or PassCosts.unmeasured()
        self._calibrations = CalibrationByChoice(len(self.stages))
        self.calibration = self._calibrations.greedy  # of the current request
        self.n_children = n_children
        self.max_rows = max_rows
        self.excluded_tokens = tuple(excluded_tokens)
        self._reading: Reading | None = None
        self._is_unread = False  # whether the last proposal is the inner drafter's own
        self._trusts = {self._calibrations.greedy: FIRST_TRUST, self._calibrations.sampled: FIRST_TRUST}
        self._passes = 0
        self._seconds = self._inner_seconds = 0.0

    def propose(self, request: DraftRequest) -> TokenTree:
        """Read missing tokens and the inner drafter's tree, then extend leaves while a pass is worth its time."""
        started = time.perf_counter()
        self.calibration = self._calibrations.of(request.chooser.sampling)
        reading, self._reading = self._reading or self._new_reading(), None
        tree = self._drafted(reading, request)
        self._reading = reading  # after an interrupted pass there is none, so the next text is read anew
        self._seconds += time.perf_counter() - started
        return tree

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn the acceptance rates of the model; the inner drafter learns from the model, or from the target if no pass ran."""
        if self._is_unread and self.inner is not None:
            self.inner.observe(tree, accepted)
        else:
            self.calibration.observe(tree, accepted)

    def fresh(self) -> ModelDrafter:
        """Return a drafter with the same model and options that has learned nothing, and a fresh inner drafter if possible."""
        inner = renewed(self.inner)
        return ModelDrafter(
            self.model,
            inner,
            name=self.stages[-1],
            n_children=self.n_children,
            max_rows=self.max_rows,
            excluded_tokens=self.excluded_tokens,
        )

    def stage_statistics(self) -> dict[str, StageWork]:
        """Return the work of each stage, by name."""
        inner = work_by_stage(self.inner)
        weight_bytes = self._passes * (self._traits.weight_bytes or 0)
        return {**inner, self.stages[-1]: StageWork(self._passes, self._seconds - self._inner_seconds, weight_bytes)}

    def _new_reading(self) -> Reading:
        return Reading(self.model, self.n_children, len(self.stages) - 1, self.excluded_tokens)

    def _drafted(self, reading: Reading, request: DraftRequest) -> TokenTree:
        longest = self.model.max_length
        if longest is not None:
            request = replace(request, max_depth=min(request.max_depth, longest - len(request.text)))
        if request.max_nodes < 1 or request.max_depth < 1 or not len(request.text):
            return TokenTree.empty()
        guess = self._ask_inner(request, (), max(request.max_nodes, self.max_rows), request.max_depth)
        self._is_unread = self._is_sure(guess, request)
        if self._is_unread:
            return guess.likeliest(request.max_nodes)
        missing = reading.follow(request.text, request.chooser)
        if len(missing) and missing.max() >= self.model.vocabulary_size:
            return TokenTree.empty()  # a token of the target that is outside the model's vocabulary
        if reading.catch_up(missing):
            self._passes += 1
            missing = missing[-1:]
        end = self._read_end(reading, request, missing, guess)
        grown = self._grown(reading, request, end)
        while self._read_leaves(reading, request, grown):
            grown = self._grown(reading, request, end)
        return self._proposal(grown.numbers, grown.shares)

    def _grown(self, reading: Reading, request: DraftRequest, end: int) -> _Grown:
        """Return the tree of the most probable nodes below the text's last token, which is in slot `end`."""
        rankings = reading.ranked, reading.confidences, reading.sources, reading.children
        return _Grown(end, *grow_ranked(*rankings, self.calibration.table, end, request.max_nodes, request.max_depth))

    def _proposal(self, numbers: NDArray[np.int32], shares: NDArray[np.float32]) -> TokenTree:
        numbers, shares = numbers.T.copy(), shares.T.copy()
        origins = tuple(self.stages[source] for source in numbers[SOURCE].tolist())
        tree = TokenTree(numbers[TOKEN], numbers[PARENT], shares[CHANCE], origins)
        return self.calibration.remember(tree, numbers[SOURCE], numbers[RANK], shares[CONFIDENCE])

    def _is_sure(self, guess: TokenTree, request: DraftRequest) -> bool:
        """Return whether a pass is not worth its time even in the best case."""
        if not request.allows_passes:
            return True
        depth = min(request.max_depth, FAR)
        reaching = guess.path_probabilities[guess.depths >= depth]
        if not len(reaching):
            return False
        best_case = min(BEST_CASE, depth) * (1.0 - float(reaching.max()))
        return best_case < request.required_rate * self.costs.seconds(1)

    def _read_end(self, reading: Reading, request: DraftRequest, missing: NDArray[np.int32], guess: TokenTree) -> int:
        """Score missing tokens and the useful part of the inner drafter's tree in one pass; return the slot of the text's end."""
        guess = self._readable(guess, request.max_depth)
        gains = np.sort(self._worth(guess))[::-1]
        guess = guess.likeliest(self._n_profitable_rows(gains, request, n_before=len(missing)))
        chain = np.arange(ROOT, len(missing) + ROOT, dtype=np.int32)
        self._score(reading, missing, chain, guess, below=len(missing) - 1, n_unranked=len(missing) - 1)
        return len(missing)

    def _read_leaves(self, reading: Reading, request: DraftRequest, grown: _Grown) -> bool:
        """Score the best leaves, and the inner drafter's tree below the best one, if that is worth a pass."""
        leaves = grown.leaves(request.max_depth)[: self.max_rows]
        if not self._supports_trees:
            leaves = np.array([leaf for leaf in leaves[:1] if grown.slot_above(leaf) == reading.n_slots - 1], np.int64)
        if not len(leaves):
            return False
        # If the tree is full, a new node replaces the least probable one.
        is_full = len(grown.shares) == request.max_nodes
        replaced = max(request.node_cost, float(grown.shares[-1, PATH]) if is_full else 0.0)
        paths = grown.shares[leaves, PATH]
        best_case = BEST_CASE * (paths[0] * self._trust - replaced)
        if best_case <= request.required_rate * self.costs.seconds(1):
            return False
        max_depth = request.max_depth - int(grown.numbers[leaves[0], DEPTH])
        guess = TokenTree.empty()
        if max_depth > 1:
            guess = self._ask_inner(request, grown.path_to(leaves[0]), self.max_rows, max_depth - 1)
        guess = self._readable(guess, max_depth)
        gains = np.concatenate([paths * self._trust, paths[0] * self._worth(guess)]) - replaced
        order = np.argsort(-gains, kind="stable")
        chosen = order[: self._n_profitable_rows(gains[order], request)]
        read = np.sort(leaves[chosen[chosen < len(leaves)]])
        if not len(read):
            return False
        guess = guess.likeliest(len(chosen) - len(read))
        above = np.array([grown.slot_above(leaf) for leaf in read], np.int32)
        self._score(reading, grown.numbers[read, TOKEN], above - 1, guess, below=reading.n_slots - 1)
        return True

    def _worth(self, guess: TokenTree) -> NDArray[np.float64]:
        """Return the expected accepted tokens from reading each node: its whole path and one more must be accepted."""
        return guess.path_probabilities * self._trust ** (guess.depths + 1.0)

    def _n_profitable_rows(self, gains: NDArray[np.floating], request: DraftRequest, n_before: int = 0) -> int:
        """Return how many of the best rows to read in addition to `n_before` for the largest net gain."""
        n_rows = np.arange(n_before, n_before + min(len(gains), self.max_rows) + 1)
        seconds = self.costs.curve(n_rows) * (n_rows > 0)
        net = np.concatenate([[0.0], np.cumsum(gains[: self.max_rows])]) - request.required_rate * seconds
        return int(np.argmax(net))

    def _ask_inner(self, request: DraftRequest, path: Sequence[int], max_nodes: int, max_depth: int) -> TokenTree:
        """Ask the inner drafter to continue a path below the text; each correct token saves a pass of this model."""
        if self.inner is None:
            return TokenTree.empty()
        started = time.perf_counter()
        plain = self.costs.seconds(1)
        rate = 1 / plain if plain > 0 and request.allows_passes else request.tokens_per_second
        text = np.append(request.text, np.array(path, np.int32)) if path else request.text
        n_drafted = request.n_drafted + len(path)
        guess = self.inner.propose(
            DraftRequest(text, max_nodes, max_depth, request.chooser, rate, request.allows_passes, n_drafted=n_drafted)
        )
        self._inner_seconds += time.perf_counter() - started
        return guess.within(max_depth, request.chooser.vocabulary_size)

    def _readable(self, guess: TokenTree, max_depth: int) -> TokenTree:
        """Return the part of a guess that is useful to read: nothing follows nodes at the maximum depth."""
        guess = guess.within(max_depth - 1, self.model.vocabulary_size)
        return guess if self._supports_trees else guess.likeliest_path()

    def _score(
        self, reading: Reading, tokens: NDArray[np.int32], parents: NDArray[np.int32], guess: TokenTree, *, below: int,
        n_unranked: int = 0,
    ) -> None:  # fmt: skip
        """Read tokens, and the inner drafter's guess below node `below`, in one pass; report the result to that drafter."""
        if not len(tokens) + len(guess):
            return
        first = reading.n_slots
        start = first + len(tokens)  # slot of the first node of the guess
        under = np.where(guess.parents == ROOT, below, guess.parents + start - 1).astype(np.int32)
        sources = np.full(len(tokens) + len(guess), NOTHING, np.int32)
        sources[len(tokens) :] = [self.stages.index(origin) for origin in guess.origins]
        started = time.perf_counter()
        reading.score(
            np.append(tokens, guess.tokens), np.append(parents, under), sources, n_unranked=max(n_unranked, 0)
        )
        self.costs.observe(len(sources), time.perf_counter() - started)
        self._passes += 1
        ranked = slice(first + max(n_unranked, 0), reading.n_slots)
        self._learn_trust(reading, ranked)
        if self.inner is not None and len(guess):
            self.inner.observe(guess, _agreed(guess, reading.ranked[:, 0], below + 1, start))

    def _learn_trust(self, reading: Reading, ranked: slice) -> None:
        self._learn_from(reading.confidences[ranked, 0], reading.sources[ranked, 0])

    def _learn_from(self, confidences: NDArray[np.float32], sources: NDArray[np.int32], n_passes: int = 1) -> None:
        """Learn the acceptance rate from the first choices of some passes."""
        chances, kept = self.calibration.chances(sources, np.zeros_like(sources), confidences), FORGETTING**n_passes
        self._trusts[self.calibration] = kept * self._trust + (1 - kept) * float(chances.mean())

    @property
    def _trust(self) -> float:
        """Acceptance rate of the model's first choices in requests like this one."""
        return self._trusts[self.calibration]

    @property
    def _supports_trees(self) -> bool:
        return self._traits.supports_trees


class _Grown(NamedTuple):
    """A tree from `grow_ranked`: integer and float columns of each node."""

    end: int
    numbers: NDArray[np.int32]
    shares: NDArray[np.float32]

    def leaves(self, max_depth: int) -> NDArray[np.int64]:
        """Return nodes that the model has not read and that may have children, most probable first."""
        (leaves,) = np.nonzero((self.numbers[:, SLOT] == UNSCORED) & (self.numbers[:, DEPTH] < max_depth))
        return leaves

    def slot_above(self, node: int) -> int:
        """Return the slot of a node's parent, or of the text's last token."""
        parent = self.numbers[node, PARENT]
        return self.end if parent == ROOT else int(self.numbers[parent, SLOT])

    def path_to(self, node: int) -> list[int]:
        """Return the tokens from the first one after the text to a node."""
        path = []
        while node != ROOT:
            path.append(int(self.numbers[node, TOKEN]))
            node = int(self.numbers[node, PARENT])
        return path[::-1]


def _agreed(guess: TokenTree, likeliest: NDArray[np.int32], end: int, start: int) -> list[int]:
    """Return the nodes of a guess that the model chooses itself; the guess follows slot `end` and starts at slot `start`."""
    agreed: list[int] = []
    node, slot = ROOT, end
    while (child := guess.children.get(node, {}).get(int(likeliest[slot]))) is not None:
        agreed.append(child)
        node, slot = child, start + child
    return agreed
