"""Sample text from a model, from which an N-gram can be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from etesian.decode.checks import check_whole
from etesian.decode.drafters.katz import Tokens
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.tree import ROOT
from etesian.errors import InputError

MOST_TOGETHER = 16  # texts sampled in one pass


def sample_texts(
    model: LanguageModel,
    *,
    n_tokens: int,
    starts: Sequence[Tokens],
    temperature: float,
    length: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> Iterator[NDArray[np.int32]]:
    """Sample texts from a model, several at once as branches of one tree; see `build_ngram` for the parameters."""
    if not starts or any(not len(start) for start in starts):
        raise InputError("starts must hold at least one beginning, each of one token or more")
    if n_tokens < 1 or length < 1 or temperature <= 0:
        raise InputError(
            f"n_tokens and length must be at least 1 and temperature above 0; got {n_tokens}, {length} and {temperature}"
        )
    check_whole("seed", seed, at_least=0)
    rng = np.random.default_rng(seed)
    sampled = turn = 0
    while sampled < n_tokens:
        start = np.asarray(starts[turn % len(starts)], np.int32)
        n_together = min(MOST_TOGETHER, -(-(n_tokens - sampled) // length))
        yield from _branches(model, start, n_together, min(length, n_tokens - sampled), temperature, rng)
        turn, sampled = turn + 1, sampled + n_together * length
        if progress is not None:
            progress(min(sampled, n_tokens))


def _branches(
    model: LanguageModel,
    start: NDArray[np.int32],
    count: int,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return texts with the same beginning, shape (count, len(start) + length)."""
    context = model.context()
    context.extend(start[:-1])
    texts = np.empty((count, len(start) + length), np.int32)
    texts[:, : len(start)] = start
    parents = np.full(count, ROOT)
    for place in range(len(start), texts.shape[1]):
        single = place == len(start)  # the last token of the beginning is read once for all texts
        n_rows = 1 if single else count
        logits = context.score(texts[:n_rows, place - 1], parents[:n_rows]).logits
        scores = np.asarray(logits[:, : model.vocabulary_size], np.float64) / temperature
        texts[:, place] = np.argmax(scores + rng.gumbel(size=(count, scores.shape[1])), axis=1)
        parents = np.zeros(count, int) if single else np.arange(count) + (parents[-1] + 1)
    return texts
