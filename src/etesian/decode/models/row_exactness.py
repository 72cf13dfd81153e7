"""Whether a row of a pass has the bits of a pass of its own, tried on this machine with a model's own shapes."""

from __future__ import annotations

import numpy as np

from etesian.decode.models.language_model import LanguageModel

ROW_COUNTS = (3, 6, 16)
"""Sizes of the trees that are tried; few, since a model may be large and is waited for."""
_DEPTH = 3


def rows_are_exact(model: LanguageModel, *, row_counts: tuple[int, ...] = ROW_COUNTS, seed: int = 0) -> bool:
    """Whether a path in trees of several sizes has, row by row, the bits of its own text read one token at a time.

    A probe, not a proof: it looks at one text and `len(row_counts)` trees.

    Parameters
    ----------
    model
        Of any kind; it reads a few tokens in a context of its own.
    row_counts : tuple of int
        Rows of each tree, at least 3.
    seed : int
        Of the tokens.
    """
    random = np.random.default_rng(seed)
    tokens = random.integers(0, model.vocabulary_size, max(row_counts))
    plain = [_bits(row) for row in _read_plainly(model, tokens[:_DEPTH])]
    return all(_path_in_tree(model, tokens, n_rows) == plain for n_rows in row_counts)


def _read_plainly(model: LanguageModel, tokens: np.ndarray) -> list[np.ndarray]:
    context, rows = model.context(), []
    for token in tokens.tolist():
        rows.append(context.score([token], [-1])[0].copy())
        context.keep([0])
    return rows


def _path_in_tree(model: LanguageModel, tokens: np.ndarray, n_rows: int) -> list[bytes]:
    """The path's rows in a tree where other nodes stand between and around them: its last one is the tree's last."""
    nodes = np.linspace(0, n_rows - 1, _DEPTH).astype(int)
    parents = np.maximum(np.arange(n_rows) - 2, -1)
    parents[nodes] = [-1, *nodes[:-1]]
    others = np.setdiff1d(np.arange(n_rows), nodes)
    arranged = np.empty(n_rows, np.int64)
    arranged[nodes], arranged[others] = tokens[:_DEPTH], tokens[_DEPTH:n_rows]
    logits = model.context().score(arranged, parents)
    return [_bits(logits[node]) for node in nodes]


def _bits(row: np.ndarray) -> bytes:
    return np.ascontiguousarray(row).tobytes()
