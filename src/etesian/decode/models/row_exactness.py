"""Row exactness: probe whether a row of a forward pass has the same bits whatever else is in the pass.

Speculation, prefix caches and batches cannot change a text if, and only if, this holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.language_model import IntegerArray, LanguageModel

_LENGTHS = (9, 23)
_ROW_COUNTS = (2, 6, 16, 32)
_DEPTH = 4


def probe_rows(
    model: LanguageModel,
    *,
    text: IntegerArray | None = None,
    lengths: Sequence[int] = _LENGTHS,
    row_counts: Sequence[int] = _ROW_COUNTS,
    supports_trees: bool | None = None,
    seed: int = 0,
) -> bool:
    """Probe whether rows of large passes have the bits of one-row passes on this machine.

    For each prompt length and each tree size, a path through a tree is compared with the same tokens read one at a time: its
    logits, and those of the token after it, which depend on the keys and values that the large pass wrote. This is a probe, not a
    proof.

    Parameters
    ----------
    model : LanguageModel
        Reads a few hundred tokens in contexts of its own.
    text : sequence of int, optional
        Realistic tokens; by default a text that the model samples itself.
    lengths : sequence of int
        Prompt lengths, in tokens; shortened where the model reads less.
    row_counts : sequence of int
        Tree sizes.
    supports_trees : bool, optional
        If False, try chains only. Defaults to the traits of the model.
    seed : int
        Seed of the text and of the trees.

    Returns
    -------
    bool
        True if all bits are equal.
    """
    random = np.random.default_rng(seed)
    if supports_trees is None:
        supports_trees = model.traits.supports_trees
    room = max(lengths) + _DEPTH + 1 if model.max_length is None else model.max_length - 1
    depth = min(_DEPTH, room - 1)
    if depth < 1:
        return False
    lengths = sorted({max(min(length, room - depth - 1), 0) for length in lengths})
    tokens = sampled_text(model, lengths[-1] + depth + 1, random) if text is None else np.asarray(text, np.int64)
    return all(
        _is_exact_after(model, tokens[: length + depth + 1], depth, row_counts, random if supports_trees else None)
        for length in lengths
    )


def sampled_text(model: LanguageModel, length: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Sample a text from the model at temperature 1, starting with a random token."""
    context, text = model.context(), [int(random.integers(model.vocabulary_size))]
    while len(text) < length:
        logits = context.score(text[-1:], [-1]).logits[0].astype(np.float64)
        text.append(int(np.argmax(logits + random.gumbel(size=len(logits)))))
        context.keep([0])
    return np.array(text, np.int64)


def _is_exact_after(
    model: LanguageModel,
    tokens: NDArray[np.int64],
    depth: int,
    row_counts: Sequence[int],
    random: np.random.Generator | None,
) -> bool:
    """Compare passes that follow all but the last `depth` + 1 tokens; chains are tried if `random` is None."""
    prompt, path = tokens[: -depth - 1], tokens[-depth - 1 :]
    context, plain = model.context(), []
    context.extend(prompt)
    for token in path.tolist():
        plain.append(_bits(context.score([token], [-1]).logits[0]))
        context.keep([0])
    return all(_in_one_pass(model, prompt, path, n_rows, random) == plain for n_rows in row_counts)


def _in_one_pass(
    model: LanguageModel,
    prompt: NDArray[np.int64],
    path: NDArray[np.int64],
    n_rows: int,
    random: np.random.Generator | None,
) -> list[bytes]:
    """Read all but the last token of `path` in one pass of `n_rows` rows, then the last in a pass of its own."""
    depth = min(len(path) - 1, n_rows)
    if random is None:
        nodes, parents = np.arange(depth), np.arange(-1, n_rows - 1)
        others = np.resize(path, n_rows)
    else:
        nodes = np.linspace(0, n_rows - 1, depth).astype(int)
        parents = np.array([random.integers(-1, max(node, 0)) for node in range(n_rows)])
        parents[nodes] = [-1, *nodes[:-1]]
        others = random.integers(0, model.vocabulary_size, n_rows)
    others[nodes] = path[:depth]
    if model.max_length is not None:
        parents = _within(parents, nodes, model.max_length - len(prompt))
    context = model.context()
    context.extend(prompt)
    logits = context.score(others, parents).logits
    rows = [_bits(logits[node]) for node in nodes]
    context.keep(nodes)
    for token in path[depth:].tolist():
        rows.append(_bits(context.score([token], [-1]).logits[0]))
        context.keep([0])
    return rows


def _within(parents: NDArray[np.int64], path: NDArray[np.int64], max_depth: int) -> NDArray[np.int64]:
    """Attach nodes that would be too deep to the prompt itself."""
    depths = np.ones(len(parents), np.int64)
    for node, parent in enumerate(parents.tolist()):
        depths[node] = 1 if parent < 0 else depths[parent] + 1
        if depths[node] > max_depth and node not in path:
            parents[node], depths[node] = -1, 1
    return parents


def _bits(row: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(row).tobytes()
