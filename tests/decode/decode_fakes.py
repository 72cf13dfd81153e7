"""Drafters good, bad and unruly, tokenizers of letters and of bytes, and hypothesis strategies for requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from etesian.decode import DraftRequest, Sampling, TableModel, TokenTree

VOCABULARY = 20


class Fake:
    """Remembers what it was told."""

    def __init__(self, name: str = "fake") -> None:
        self.stages = (name,)
        self.observed: list[tuple[TokenTree, tuple[int, ...]]] = []

    def propose(self, request: DraftRequest) -> TokenTree:
        return TokenTree.empty()

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        self.observed.append((tree, tuple(accepted)))


class Equal(Fake):
    """Proposes the best tokens of a table by the target's own rule: with the target's table, a draft equal to the target."""

    def __init__(self, model: TableModel, *, place: int = 0) -> None:
        super().__init__("equal")
        self.model, self.place = model, place

    def propose(self, request: DraftRequest) -> TokenTree:
        text, n = request.text.tolist(), len(request.text)
        for _ in range(request.max_depth):
            ranked, _ = request.chooser.rank(self.model.logits_of(text)[None], np.array([len(text)]), self.place + 1)
            text.append(int(ranked[0, self.place]))
        return TokenTree.chain(text[n:], [0.9] * (len(text) - n), "equal")


class RandomTrees(Fake):
    """Any tree at all; `unruly` ones stand deeper than allowed and hold tokens that nobody knows."""

    def __init__(self, seed: int, *, unruly: bool = False) -> None:
        super().__init__("random")
        self.rng, self.unruly = np.random.default_rng(seed), unruly

    def propose(self, request: DraftRequest) -> TokenTree:
        n_nodes = request.max_nodes + (9 if self.unruly else 0)
        max_depth = request.max_depth + (9 if self.unruly else 0)
        known = (-3, VOCABULARY + 3) if self.unruly else (0, VOCABULARY)
        return random_tree(self.rng, int(self.rng.integers(0, n_nodes + 1)), max_depth, known)


def random_tree(rng: np.random.Generator, n_nodes: int, max_depth: int, known: tuple[int, int]) -> TokenTree:
    tokens, parents, depths = [], [], []
    taken = set()
    for _ in range(n_nodes):
        parent = int(rng.integers(-1, len(tokens)))
        depth = depths[parent] + 1 if parent >= 0 else 1
        token = int(rng.integers(*known))
        if depth > max_depth or (parent, token) in taken:
            continue
        taken.add((parent, token))
        tokens.append(token)
        parents.append(parent)
        depths.append(depth)
    chances = rng.random(len(tokens)).astype(np.float32)
    return TokenTree(np.array(tokens, np.int32), np.array(parents, np.int32), chances, ("random",) * len(tokens))


class Letters:
    """Token 0 is "a", and so on."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)


class Bytes:
    """A token is a byte of UTF-8."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")


def drafters(model: TableModel) -> st.SearchStrategy[Fake]:
    seeds = st.integers(0, 2**20)
    return st.one_of(
        st.just(None).map(lambda _: Fake("silent")),
        st.just(None).map(lambda _: Equal(model)),
        st.just(None).map(lambda _: Equal(model, place=VOCABULARY - 1)),  # hopeless: what the target likes least
        seeds.map(lambda seed: Equal(TableModel(VOCABULARY, seed=seed))),
        seeds.map(RandomTrees),
        seeds.map(lambda seed: RandomTrees(seed, unruly=True)),
    )


def optional(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


_token = st.integers(0, VOCABULARY - 1)
samplings = st.builds(
    Sampling,
    temperature=optional(st.sampled_from([0.0, 0.3, 1.0, 2.0])),
    top_k=optional(st.integers(1, VOCABULARY + 5)),
    top_p=optional(st.sampled_from([0.1, 0.5, 0.9, 1.0])),
    min_p=optional(st.sampled_from([0.05, 0.5])),
    repetition_penalty=optional(st.sampled_from([0.8, 1.3, 3.0])),
    presence_penalty=optional(st.sampled_from([-0.5, 1.0])),
    frequency_penalty=optional(st.sampled_from([-0.2, 0.7])),
    logit_bias=st.dictionaries(_token, st.floats(-5, 5), max_size=3),
    banned_tokens=st.lists(_token, max_size=4),
    forced_tokens=st.dictionaries(st.integers(0, 12), _token, max_size=2),
    stop=st.lists(st.text("abcdefghijklmnopqrst", min_size=1, max_size=2), max_size=2),
    stop_tokens=st.lists(_token, max_size=1),
    ignore_eos=st.booleans(),
    logprobs=optional(st.integers(0, 3)),
    seed=st.integers(-(2**65), 2**65),
)
