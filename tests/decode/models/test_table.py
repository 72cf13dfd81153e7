from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.decode import TableModel

MODEL = TableModel(9, order=3, max_length=40)


def read_plainly(tokens):
    context = MODEL.context()
    context.extend(tokens[:-1])
    return context.score(tokens[-1:], [-1]).logits[0]


@given(seed=st.integers(0, 2**20), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(max_examples=60)
def test_b3_rows_and_kept_tokens_equal_the_path_read_alone(seed, sizes):
    rng = np.random.default_rng(seed)
    context, kept, nodes = MODEL.context(), [2, 5], []
    context.extend(kept)
    for size in sizes:  # later nodes may follow those of earlier calls
        parents = [int(rng.integers(-1, len(nodes) + place)) for place in range(size)]
        tokens = rng.integers(0, 9, size).tolist()
        first = len(nodes)
        nodes += [(token, parent) for token, parent in zip(tokens, parents, strict=True)]
        rows = context.score(tokens, parents).logits
        for place, row in enumerate(rows):
            np.testing.assert_array_equal(row, read_plainly(kept + tokens_of(nodes, path_to(nodes, first + place))))
    path = path_to(nodes, int(rng.integers(0, len(nodes))))
    context.keep(path)
    assert context.tokens == kept + tokens_of(nodes, path)
    np.testing.assert_array_equal(context.score([1], [-1]).logits[0], read_plainly([*context.tokens, 1]))
    context.truncate(1)
    assert context.tokens == kept[:1]


def path_to(nodes, node):
    path = []
    while node != -1:
        path.append(node)
        node = nodes[node][1]
    return path[::-1]


def tokens_of(nodes, path):
    return [nodes[node][0] for node in path]


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda context: context.score([1], [0]), "a node before their own, 0; got 0"),
        (lambda context: context.score([1, 1], [-1, 1]), "a node before their own, 1; got 1"),
        (lambda context: context.score([1], [-2]), "got -2"),
        (lambda context: context.score([9], [-1]), "from 0 to 8; got 9"),
        (lambda context: context.extend([-1]), "from 0 to 8; got -1"),
        (lambda context: context.extend([0] * 41), "at most 40 tokens; got 41"),
        (lambda context: context.truncate(1), "from 0 to 0, the tokens kept; got 1"),
        (lambda context: context.keep([0]), "0 does not follow -1"),
        (lambda context: (context.score([1, 2], [-1, -1]), context.keep([0, 1])), "1 does not follow 0"),
    ],
)
def test_misuse_is_refused(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse(MODEL.context())
