"""Drafts from a callable: tokens that a grammar, a template or another program knows in advance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.combined import CombinedDrafter
from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork
from etesian.decode.drafters.registry import DrafterFactory
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.speculation.calibration import CalibrationByChoice
from etesian.decode.tree import TokenTree

NextTokens = Callable[[NDArray[np.int32]], Sequence[int]]
"""Called with all tokens so far, int32 of shape (n_tokens,); returns the tokens that follow, none if it knows none."""


class CallableDrafter:
    """Propose the tokens that a callable predicts, as one chain.

    The target verifies every token, so a wrong prediction costs time and never changes the text. The acceptance rate is learned.

    Parameters
    ----------
    next_tokens : callable
        Called with all tokens so far, int32 of shape (n_tokens,), which must not be modified; returns the tokens that follow, in
        order; an empty sequence if it knows none.
    name : str
        Origin of the nodes.

    Examples
    --------
    >>> closing = CallableDrafter(lambda tokens: [7, 8] if tokens[-1] == 6 else [])
    >>> closing.stages
    ('forced',)
    """

    def __init__(self, next_tokens: NextTokens, *, name: str = "forced") -> None:
        if not callable(next_tokens):
            raise TypeError(f"next_tokens must be callable; got {next_tokens!r}")
        self.next_tokens = next_tokens
        self.stages = (name,)
        self._calibrations = CalibrationByChoice()
        self.calibration = self._calibrations.greedy  # of the current request
        self._calls, self._seconds = 0, 0.0

    @classmethod
    def factory(cls, next_tokens: NextTokens, *, name: str = "forced") -> DrafterFactory:
        """Return a factory for the entry point group ``etesian.drafters``: the callable next to the inner drafter, if any."""

        def make(target: LanguageModel, inner: Drafter | None) -> Drafter:
            forced = cls(next_tokens, name=name)
            return forced if inner is None else CombinedDrafter([forced, inner])

        return make

    def propose(self, request: DraftRequest) -> TokenTree:
        """Propose the predicted tokens, as many as the limits allow."""
        started = time.perf_counter()
        self.calibration = self._calibrations.of(request.chooser.sampling)
        room = max(min(request.max_nodes, request.max_depth), 0)
        tokens = [int(token) for token in self.next_tokens(request.text)][:room] if room else []
        confidences, zeros = np.ones(len(tokens), np.float32), np.zeros(len(tokens), np.int32)
        chances = self.calibration.chances(zeros, zeros, confidences)
        tree = TokenTree.chain(tokens, chances.tolist(), self.stages[0])
        self._calls, self._seconds = self._calls + 1, self._seconds + time.perf_counter() - started
        return self.calibration.remember(tree, zeros, zeros, confidences)

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn how often the predictions are right."""
        self.calibration.observe(tree, accepted)

    def fresh(self) -> CallableDrafter:
        """Return a drafter with the same callable that has learned nothing."""
        return CallableDrafter(self.next_tokens, name=self.stages[0])

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the number of calls and their seconds."""
        return {self.stages[0]: StageWork(self._calls, self._seconds)}
