"""Calibration: map a drafter's confidences to observed acceptance rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.sampling import Sampling
from etesian.decode.tree import ROOT, TokenTree

RANKS = 4  # the best sibling, the second, the third, and all others
KNOTS = 17  # knots over the confidence, denser near 0
PRIOR = 4.0  # weight of the drafter's own confidence, in observations
MEMORY = 400.0  # observations after which an old one has a weight of 1/e, because texts change

Places = NDArray[np.int32]


class Calibration:
    """Observed acceptance rates by source, rank among siblings and the drafter's own confidence.

    Parameters
    ----------
    n_sources : int
        Number of sources, such as the stages of a drafter, which are calibrated separately.
    prior : float
        Weight of the drafter's own confidence, in observations.
    memory : float
        Observations after which an old one has a weight of 1/e; each knot forgets separately.
    trust : sequence of float, optional
        Factor of the drafter's own confidence for each source; 1 by default.
    """

    def __init__(
        self,
        n_sources: int = 1,
        *,
        prior: float = PRIOR,
        memory: float = MEMORY,
        trust: Sequence[float] | None = None,
    ) -> None:
        factors = np.ones(n_sources) if trust is None else np.asarray(trust, np.float64)
        expected = np.multiply.outer(factors, np.square(np.linspace(0.0, 1.0, KNOTS)))[:, None, :].repeat(RANKS, 1)
        self.table = expected.astype(np.float32)
        """Acceptance rates at the knots, float32 of shape (n_sources, RANKS, KNOTS), for compiled tree growth."""
        self._tests = np.full(self.table.shape, prior)
        self._taken = prior * expected
        self._keep = float(np.exp(-1.0 / memory))
        self._proposal = TokenTree.empty()
        self._evidence: tuple[Places, Places, NDArray[np.float32]] | None = None

    def chances(self, sources: Places, ranks: Places, confidences: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability that the target accepts each candidate, given that it accepted the parent.

        Parameters
        ----------
        sources, ranks : ndarray of int32, shape (n,)
            Source of each candidate, and its rank among siblings, starting at 0.
        confidences : ndarray of float32, shape (n,)
            The drafter's own estimates, in [0, 1].
        """
        return _chances_of(self.table, sources, ranks, confidences)

    def remember(
        self, proposal: TokenTree, sources: Places, ranks: Places, confidences: NDArray[np.float32]
    ) -> TokenTree:
        """Remember the evidence of a proposal until it is verified, and return the proposal."""
        self._proposal, self._evidence = proposal, (sources, ranks, confidences)
        return proposal

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn from a verified tree, which may hold other nodes than the proposal; see `Drafter.observe`."""
        if self._evidence is None or not len(tree):
            return
        nodes, taken = scored_nodes(self._proposal, tree, accepted)
        if nodes:
            chosen = np.array(nodes)
            sources, ranks, confidences = (each[chosen] for each in self._evidence)
            self.learn(sources, ranks, confidences, np.array(taken))
        self._evidence = None  # a proposal is verified once

    def learn(self, sources: Places, ranks: Places, confidences: NDArray[np.float32], taken: NDArray[np.bool_]) -> None:
        """Record which of the scored candidates were accepted."""
        _count(self.table, self._tests, self._taken, self._keep, sources, ranks, confidences, taken)


class CalibrationByChoice:
    """Separate calibrations for greedy and sampled requests, whose acceptance rates differ.

    Parameters
    ----------
    n_sources, trust
        See `Calibration`.
    """

    def __init__(self, n_sources: int = 1, *, trust: Sequence[float] | None = None) -> None:
        self.greedy, self.sampled = Calibration(n_sources, trust=trust), Calibration(n_sources, trust=trust)

    def of(self, sampling: Sampling) -> Calibration:
        """Return the calibration for requests with these options."""
        return self.greedy if sampling.is_greedy else self.sampled


def scored_nodes(proposal: TokenTree, tree: TokenTree, accepted: Sequence[int]) -> tuple[list[int], list[bool]]:
    """Return the nodes of `proposal` that the pass over `tree` decided on, and whether each was accepted."""
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
    """Return the knot below a confidence, and the relative position before the next one."""
    place = np.sqrt(min(max(confidence, 0.0), 1.0)) * (KNOTS - 1)
    knot = min(int(place), KNOTS - 2)
    return knot, place - knot


@njit(nogil=True, cache=True)
def chance_of(table: Any, source: Any, rank: Any, confidence: Any) -> Any:
    """Return the acceptance rate of one candidate, interpolated between knots."""
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
    """Distribute each observation over the two adjacent knots, with exponential forgetting."""
    for k in range(len(confidences)):
        below, share = _between(confidences[k])
        for knot, weight in ((below, 1.0 - share), (below + 1, share)):
            cell = (sources[k], min(ranks[k], RANKS - 1), knot)
            kept = keep**weight
            tests[cell] = kept * tests[cell] + weight
            taken[cell] = kept * taken[cell] + weight * was_taken[k]
            table[cell] = taken[cell] / tests[cell]
