"""What confidence is worth: a drafter's own estimates against how often the target took its candidates. Knows no drafter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.sampling import Sampling
from etesian.decode.tree import ROOT, TokenTree

RANKS = 4  # the best of siblings, the second, the third, and all others
KNOTS = 17  # confidences at which chances are kept; spaced by their square roots, so that small ones are told apart
PRIOR = 4.0  # tests that the drafter's own confidence counts for
MEMORY = 400.0  # tests after which an old one counts for a third: what is written changes its manner

Places = NDArray[np.int32]


class Calibration:
    """Observed chances of acceptance, by source, rank among siblings and the drafter's own confidence.

    Parameters
    ----------
    n_sources
        Where candidates come from, such as the stages of a drafter; each is judged apart.
    prior
        How many tests the drafter's own confidence counts for.
    memory
        How many tests it takes for an old one to count a third (exponential forgetting, at each knot by itself).
    """

    def __init__(self, n_sources: int = 1, *, prior: float = PRIOR, memory: float = MEMORY) -> None:
        knots = np.square(np.linspace(0.0, 1.0, KNOTS))
        self.table = np.tile(knots.astype(np.float32), (n_sources, RANKS, 1))
        """Chances at the knots: float32 array of shape (n_sources, RANKS, KNOTS), for compiled growth of trees."""
        self._tests = np.full(self.table.shape, prior)
        self._taken = prior * np.tile(knots, (n_sources, RANKS, 1))
        self._keep = float(np.exp(-1.0 / memory))
        self._proposal = TokenTree.empty()
        self._evidence: tuple[Places, Places, NDArray[np.float32]] | None = None

    def chances(self, sources: Places, ranks: Places, confidences: NDArray[np.float32]) -> NDArray[np.float32]:
        """Chances that the target takes candidates, given that it took their parents.

        Parameters
        ----------
        sources, ranks : ndarrays of int32, shape (n,)
            Number of each one's source; 0 for the best of siblings, 1 for the second and so on.
        confidences : ndarray of float32, shape (n,)
            The drafter's own estimates, in [0, 1].
        """
        return _chances_of(self.table, sources, ranks, confidences)

    def remember(
        self, proposal: TokenTree, sources: Places, ranks: Places, confidences: NDArray[np.float32]
    ) -> TokenTree:
        """Keep what a proposal's nodes were based on until it is judged, and give it back."""
        self._proposal, self._evidence = proposal, (sources, ranks, confidences)
        return proposal

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn from a judged tree, which may hold fewer or more nodes than what was proposed; as `Drafter.observe` has it."""
        if self._evidence is None or not len(tree):
            return
        nodes, taken = scored_nodes(self._proposal, tree, accepted)
        if nodes:
            chosen = np.array(nodes)
            sources, ranks, confidences = (each[chosen] for each in self._evidence)
            self.learn(sources, ranks, confidences, np.array(taken))
        self._evidence = None  # a proposal is judged once

    def learn(self, sources: Places, ranks: Places, confidences: NDArray[np.float32], taken: NDArray[np.bool_]) -> None:
        """Count candidates that were put to the test, and which of them were taken."""
        _count(self.table, self._tests, self._taken, self._keep, sources, ranks, confidences, taken)


class CalibrationByChoice:
    """One `Calibration` for greedy requests and one for sampled ones: where tokens are drawn, a drafter is right less often.

    Parameters
    ----------
    n_sources
        As `Calibration` has it.
    """

    def __init__(self, n_sources: int = 1) -> None:
        self.greedy, self.sampled = Calibration(n_sources), Calibration(n_sources)

    def of(self, sampling: Sampling) -> Calibration:
        """The one that a request's drafts are judged by, and teach."""
        return self.greedy if sampling.is_greedy else self.sampled


def scored_nodes(proposal: TokenTree, tree: TokenTree, accepted: Sequence[int]) -> tuple[list[int], list[bool]]:
    """Nodes of `proposal` that a pass over `tree` put to the test, and whether each was taken."""
    nodes: list[int] = []
    taken: list[bool] = []
    own = ROOT
    walk = [ROOT, *accepted]
    for place, judged in enumerate(walk):
        winner = walk[place + 1] if place + 1 < len(walk) else None
        rivals = proposal.children.get(own, {})
        for token, child in tree.children.get(judged, {}).items():
            if token in rivals:
                nodes.append(rivals[token])
                taken.append(child == winner)
        if winner is None or int(tree.tokens[winner]) not in rivals:
            break
        own = rivals[int(tree.tokens[winner])]
    return nodes, taken


@njit(nogil=True, cache=True)
def _between(confidence: Any) -> tuple[int, float]:
    """Return the knot below a confidence, and how far it is on the way to the next."""
    place = np.sqrt(min(max(confidence, 0.0), 1.0)) * (KNOTS - 1)
    knot = min(int(place), KNOTS - 2)
    return knot, place - knot


@njit(nogil=True, cache=True)
def chance_of(table: Any, source: Any, rank: Any, confidence: Any) -> Any:
    """Chance of one candidate: interpolated between the two knots next to its confidence."""
    knot, share = _between(confidence)
    knots = table[source, min(rank, RANKS - 1)]
    return (1.0 - share) * knots[knot] + share * knots[knot + 1]


@njit(nogil=True, cache=True)
def _chances_of(table: Any, sources: Any, ranks: Any, confidences: Any) -> NDArray[np.float32]:
    chances = np.empty(len(confidences), np.float32)
    for k in range(len(confidences)):
        chances[k] = chance_of(table, sources[k], ranks[k], confidences[k])
    return chances


@njit(nogil=True, cache=True)
def _count(
    table: Any, tests: Any, taken: Any, keep: Any, sources: Any, ranks: Any, confidences: Any, was_taken: Any
) -> None:
    """Share each test out between the two knots next to it; what a knot gets makes it forget as much of the old."""
    for k in range(len(confidences)):
        below, share = _between(confidences[k])
        for knot, weight in ((below, 1.0 - share), (below + 1, share)):
            cell = (sources[k], min(ranks[k], RANKS - 1), knot)
            kept = keep**weight
            tests[cell] = kept * tests[cell] + weight
            taken[cell] = kept * taken[cell] + weight * was_taken[k]
            table[cell] = taken[cell] / tests[cell]
