"""N-gram drafter: trees from a trigram table, in microseconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from etesian.decode.drafters.drafter import DraftRequest, StageWork
from etesian.decode.drafters.growth import CHANCE, CONFIDENCE, DEPTH, PARENT, PATH, RANK, TOKEN, make_place
from etesian.decode.drafters.katz import KatzTrigram, Tokens
from etesian.decode.drafters.ngram_table import MOST_SUCCESSORS, NgramTable, row_of
from etesian.decode.drafters.samples import sample_texts
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.sampling.noise import gumbel
from etesian.decode.speculation.calibration import CalibrationByChoice, chance_of
from etesian.decode.tree import ROOT, TokenTree

SAMPLING_TEMPERATURE = 1.5  # of sampled text; Spector and Re (2023) found that it drafts better than 1
NOTHING = -1  # placeholder for a token before the text


class NgramDrafter:
    """Propose probable continuations under a trigram, at almost no cost (Spector and Re 2023, section 3.2).

    Parameters
    ----------
    table : NgramTable
        See `NgramDrafter.count` and `NgramDrafter.load`.
    name : str
        Origin of the nodes.
    """

    def __init__(self, table: NgramTable, *, name: str = "ngram") -> None:
        self.table = table
        self.stages = (name,)
        self._calibrations = CalibrationByChoice()
        self.calibration = self._calibrations.greedy  # of the current request
        self._calls, self._seconds = 0, 0.0

    @classmethod
    def count(
        cls,
        sequences: Iterable[Tokens],
        vocabulary_size: int,
        *,
        temperature: float = 1.0,
        max_contexts: int = 100_000,
        max_successors: int = 6,
        min_probability: float = 0.02,
        name: str = "ngram",
    ) -> NgramDrafter:
        """Count the trigrams of token sequences, which are read once.

        Parameters
        ----------
        sequences : iterable of sequences of int
            Texts; trigrams do not extend across them.
        vocabulary_size : int
        temperature : float
            Temperature at which a model sampled the texts; 1 for human text.
        max_contexts, max_successors, min_probability
            Size of the table; see `NgramTable.reduce`.
        name : str
            Origin of the nodes.

        Returns
        -------
        NgramDrafter

        Raises
        ------
        InputError
            If a token is outside the vocabulary, or no text has three tokens.
        """
        table = NgramTable.reduce(
            KatzTrigram.count(sequences, vocabulary_size),
            temperature=temperature,
            max_contexts=max_contexts,
            max_successors=max_successors,
            min_probability=min_probability,
        )
        return cls(table, name=name)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, name: str = "ngram") -> NgramDrafter:
        """Load a file written by `save`; raises `InputError` for any other file."""
        return cls(NgramTable.load(path), name=name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to an npz file atomically; calibrations are not saved."""
        self.table.save(path)

    def propose(self, request: DraftRequest) -> TokenTree:
        """Propose the most probable paths; with sampling, under the target's own noise."""
        if request.max_nodes < 1 or request.max_depth < 1:
            return TokenTree.empty()
        started = time.perf_counter()
        self.calibration = self._calibrations.of(request.chooser.sampling)
        tree = self._grown(request)
        self._calls, self._seconds = self._calls + 1, self._seconds + time.perf_counter() - started
        return tree

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Learn how often the target accepts the trigram's candidates."""
        self.calibration.observe(tree, accepted)

    def fresh(self) -> NgramDrafter:
        """Return a drafter with the same table that has learned nothing."""
        return NgramDrafter(self.table, name=self.stages[0])

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Return the number of calls and their seconds."""
        return {self.stages[0]: StageWork(self._calls, self._seconds)}

    def _grown(self, request: DraftRequest) -> TokenTree:
        text, sampling = request.text, request.chooser.sampling
        numbers, shares = _grow(
            self.table.lookup,
            self.calibration.table,
            (int(text[-2]) if len(text) > 1 else NOTHING, int(text[-1]) if len(text) else NOTHING),
            len(text),
            0.0 if sampling.is_greedy else self.table.temperature / float(sampling.temperature or 1.0),
            np.uint64(int(sampling.seed) % 2**64),
            request.max_depth,
            request.max_nodes,
        )
        tokens, parents, ranks, _ = numbers.T.copy()
        _, chances, confidences = shares.T.copy()
        tree = TokenTree(tokens, parents, chances, self.stages * len(tokens))
        return self.calibration.remember(tree, np.zeros_like(ranks), ranks, confidences)


def build_ngram(
    model: LanguageModel,
    *,
    n_tokens: int,
    starts: Sequence[Tokens],
    temperature: float = SAMPLING_TEMPERATURE,
    length: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    name: str = "ngram",
) -> NgramDrafter:
    """Build an N-gram drafter from text that a model samples, so that it imitates the model.

    Parameters
    ----------
    model : LanguageModel
        Usually the draft model that the N-gram drafts for.
    n_tokens : int
        Number of tokens to sample; at least 20 per entry of the vocabulary are recommended.
    starts : sequence of sequences of int
        Beginnings of texts, used in turn, with at least one token each.
    temperature : float
        Sampling temperature; Spector and Re (2023) use 1.5.
    length : int
        Tokens sampled per text.
    seed : int
        Seed of the samples.
    progress : callable, optional
        Called with the number of tokens sampled so far.
    name : str
        Origin of the nodes.

    Returns
    -------
    NgramDrafter
    """
    texts = sample_texts(
        model, n_tokens=n_tokens, starts=starts, temperature=temperature, length=length, seed=seed, progress=progress
    )
    return NgramDrafter.count(texts, model.vocabulary_size, temperature=temperature, name=name)


@njit(nogil=True, cache=True)
def _grow(
    table: Any, calibration: Any, ending: Any, length: Any, sharpness: Any, seed: Any, max_depth: Any, room: Any
) -> Any:
    """Grow the tree of the `room` most probable nodes, best first.

    Rows of the result are nodes: first the expanded ones, which never move, then the leaves, most probable first. Nodes are
    expanded in the order of their path probabilities, and their children are inserted in order.
    """
    numbers, shares = np.empty((room, 4), np.int32), np.empty((room, 3), np.float32)
    scores, confidences = np.empty(MOST_SUCCESSORS), np.empty(MOST_SUCCESSORS, np.float32)
    first, second = ending
    node, filled, depth, path = ROOT, 0, 0, 1.0
    while True:
        row = row_of(table, first, second)
        start, stop = table.starts[row], table.starts[row + 1]
        _score_successors(table, start, stop, length + depth, sharpness, seed, scores, confidences)
        for k in range(stop - start):
            rank = 0
            for other in range(stop - start):
                rank += scores[other] > scores[k]
            chance = chance_of(calibration, 0, rank, confidences[k])
            if filled == room and path * chance <= shares[room - 1, PATH]:
                continue
            place = make_place(numbers, shares, node, filled, path * chance)
            filled = min(filled + 1, room)
            numbers[place, TOKEN], numbers[place, PARENT] = table.tokens[start + k], node
            numbers[place, RANK], numbers[place, DEPTH] = rank, depth + 1
            shares[place, PATH], shares[place, CHANCE] = path * chance, chance
            shares[place, CONFIDENCE] = confidences[k]
        node += 1
        while node < filled and numbers[node, DEPTH] >= max_depth:
            node += 1
        if node == filled or (filled == room and shares[node, PATH] <= shares[room - 1, PATH]):
            return numbers[:filled], shares[:filled]
        depth, path, second = numbers[node, DEPTH], shares[node, PATH], numbers[node, TOKEN]
        first = ending[1] if numbers[node, PARENT] == ROOT else numbers[numbers[node, PARENT], TOKEN]


@njit(nogil=True, cache=True)
def _score_successors(
    table: Any, start: Any, stop: Any, position: Any, sharpness: Any, seed: Any, scores: Any, confidences: Any
) -> None:
    """Score the successors of one row, with the target's noise unless `sharpness` is 0, which means greedy."""
    if sharpness == 0.0:
        for k in range(stop - start):
            scores[k] = table.logarithms[start + k]
            confidences[k] = table.probabilities[start + k]
        return
    noise = gumbel(seed, position, table.tokens[start:stop])
    rest, highest = 1.0, -np.inf
    for k in range(stop - start):
        rest -= table.probabilities[start + k]
        scores[k] = sharpness * table.logarithms[start + k] + noise[k]
        highest = max(highest, scores[k])
    # Tokens outside the table count as if each were as probable as the last one in it, without noise.
    total = max(rest, 0.0) * np.exp((sharpness - 1.0) * table.logarithms[stop - 1] - highest)
    for k in range(stop - start):
        confidences[k] = np.exp(scores[k] - highest)
        total += confidences[k]
    for k in range(stop - start):
        confidences[k] /= total
