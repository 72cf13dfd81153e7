"""Compare the logits of trees with the model's own plain passes over each path, so that wrong masks or positions are detected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etesian.decode.models.transformers.context import HuggingFaceContext
from etesian.decode.models.transformers.model_limits import ModelLimits
from etesian.decode.models.transformers.passes import EagerPasses
from etesian.errors import InputError

# Errors are root mean squares relative to the spread of a row's logits. A chain may differ from plain passes by at most the first
# number, which allows for rounding; a tree by at most four times the chain's error, or the second number if that is larger.
_TOLERANCES = {torch.float32: (1e-4, 1e-5), torch.float16: (0.02, 0.002), torch.bfloat16: (0.1, 0.01)}
_CHAINS = 4.0
# Scored in two calls: nodes whose index is not their depth, and cousins that must not see each other.
_TREE = ([-1, -1, 0, 1, 0], [3, 2, 2, 4])
_CHAIN = ([-1, 0, 1], [2, 3])
_TEXT_LENGTH, _SMALL_WINDOW = 9, 5
_FORWARD_ERRORS = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError)


def check_scores(
    make_passes: Callable[[Any, ModelLimits], EagerPasses], model: Any, limits: ModelLimits
) -> EagerPasses:
    """Return passes of a model whose logits agree with its own plain passes, for trees or at least for chains.

    If sliding windows do not agree, texts are limited to the length of the window.

    Raises
    ------
    InputError
        If neither trees nor chains agree, or the model does not run.
    """
    try:
        passes = make_passes(model, limits)
        chain_error = _error(passes, _CHAIN)
    except torch.OutOfMemoryError:
        raise
    except _FORWARD_ERRORS as error:
        raise InputError(
            f"{_named(model)} cannot be run with a key-value cache ({type(error).__name__}: {error})"
        ) from error
    tolerance, floor = _TOLERANCES.get(passes.dtype, _TOLERANCES[torch.bfloat16])
    if not chain_error <= tolerance:  # also if it is NaN
        raise InputError(
            f"{_named(model)} scores drafted tokens differently from its own plain passes; use a model of another type, such as "
            "GPT-2, Llama, Mistral, Qwen, Gemma, Phi-3, OPT or GPT-NeoX"
        )
    tree_tolerance = max(floor, _CHAINS * chain_error)
    passes.takes_trees = passes.takes_positions and _tree_error(passes) <= tree_tolerance
    if limits.window is not None and not (passes.takes_trees and _windowed_error(passes) <= tree_tolerance):
        passes.limits = limits.without_window()
    return passes


def _error(passes: EagerPasses, calls: tuple[list[int], ...]) -> float:
    """Return the error of all rows of a tree, and of rows after its last path was kept, relative to plain passes."""
    parents = [parent for call in calls for parent in call]
    tokens = _tokens(_TEXT_LENGTH + len(parents) + 2, passes.n_embeddings)
    text, new, last = np.split(tokens, [_TEXT_LENGTH, _TEXT_LENGTH + len(parents)])
    context = HuggingFaceContext(passes)
    context.extend(text)
    rows = _score_in_calls(context, new, calls)
    pairs = []
    for leaf in sorted(set(range(len(parents))) - set(parents)):
        nodes = _path_to(leaf, parents)
        pairs.append((rows[nodes], _plain_rows(passes, [*text, *new[nodes]], len(nodes))))
    path = _path_to(len(parents) - 1, parents)
    context.keep(path)
    pairs.append((context.score(last, [-1, 0]).logits, _plain_rows(passes, [*text, *new[path], *last], 2)))
    return _mean_error(pairs)


def _tree_error(passes: EagerPasses) -> float:
    """Return the error of a tree; infinite if the model does not take trees."""
    try:
        return _error(passes, _TREE)
    except torch.OutOfMemoryError:
        raise
    except _FORWARD_ERRORS:
        return math.inf


def _windowed_error(passes: EagerPasses) -> float:
    """Return the error of a tree under a temporarily small window that hides part of the text."""
    with _small_window(passes):
        return _tree_error(passes)


@contextmanager
def _small_window(passes: EagerPasses) -> Iterator[None]:
    config, limits = passes.model.config.get_text_config(), passes.limits
    before, config.sliding_window = config.sliding_window, _SMALL_WINDOW
    passes.limits = replace(limits, window=_SMALL_WINDOW)
    try:
        yield
    finally:
        config.sliding_window, passes.limits = before, limits


def _score_in_calls(
    context: HuggingFaceContext, tokens: NDArray[np.int64], calls: tuple[list[int], ...]
) -> NDArray[np.float32]:
    rows, start = [], 0
    for parents in calls:
        rows.append(context.score(tokens[start : start + len(parents)], parents).logits.copy())
        start += len(parents)
    return np.concatenate(rows)


@torch.no_grad()
def _plain_rows(passes: EagerPasses, tokens: list[int], n_last: int) -> NDArray[np.float32]:
    input_ids = torch.tensor([tokens], device=passes.device)
    return passes.logits(input_ids, None, {})[-n_last:].cpu().numpy()


def _path_to(node: int, parents: list[int]) -> list[int]:
    return [] if node == -1 else [*_path_to(parents[node], parents), node]


def _mean_error(pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    scored, plain = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    spread = np.maximum(plain.std(axis=1), np.finfo(np.float32).tiny)
    return float((np.sqrt(((scored - plain) ** 2).mean(axis=1)) / spread).mean())


def _tokens(count: int, n_embeddings: int) -> NDArray[np.int64]:
    """Return distinct tokens spread over the vocabulary."""
    return (11 + np.arange(count) * max(n_embeddings // (count + 1), 1)) % n_embeddings


def _named(model: Any) -> str:
    return f"{type(model).__name__} (model type {model.config.model_type!r})"
