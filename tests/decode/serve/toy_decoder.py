"""Toy decoders whose tokens are bytes, and a client of the engine that waits for results."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence

import numpy as np
from tiny_bundle import byte_tokenizer

from etesian.decode import Decoder, LookupDrafter, Sampling, TableModel, TokenTree
from etesian.decode.drafters.combined import CombinedDrafter
from etesian.decode.models.loading.text_tokenizer import TextTokenizer
from etesian.decode.serve import Engine, Failed, Finished
from etesian.decode.tree import ROOT

VOCABULARY = 257
END = 0
LETTERS = "abcdefghij \n"


def english_like(seed: int = 0, *, max_length: int | None = None) -> TableModel:
    """A table whose likely tokens are a few letters, so that texts are readable and repeat themselves."""
    model = TableModel(VOCABULARY, order=2, n_rows=64, scale=2.0, max_length=max_length, seed=seed)
    likely = [token for letter in LETTERS for token in byte_tokens(letter)]
    model.table[:, likely] += 6
    model.table[:, END] -= 2
    return model


def remembering(seed: int = 0) -> TableModel:
    """A model whose next token depends on every token of the text, so that a wrong key or value anywhere shows."""
    near = english_like(seed)

    def logits_of(tokens: Sequence[int]) -> np.ndarray:
        return near.logits_of(tokens) + near.table[sum(tokens) % len(near.table)]

    return TableModel.from_function(logits_of, VOCABULARY)


_TOKENIZER = TextTokenizer(byte_tokenizer())


def byte_tokens(text: str) -> list[int]:
    return _TOKENIZER.encode(text)


class PlainChat:
    """Each message on a line of its own."""

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        lines = [f"{message['role']}: {message['content']}\n" for message in messages]
        return byte_tokens("".join(lines) + "assistant: ")


class Shuffled:
    """Proposes trees at random, many of them wrong; some nodes are the target's own."""

    stages = ("shuffled",)

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def propose(self, request) -> TokenTree:
        n_nodes = int(self.rng.integers(0, request.max_nodes + 1))
        tokens, parents, seen, depths = [], [], set(), []
        for _ in range(n_nodes):
            parent = int(self.rng.integers(-1, len(tokens)))
            depth = 1 if parent == ROOT else depths[parent] + 1
            token = byte_tokens(LETTERS[self.rng.integers(len(LETTERS))])[0]
            if (parent, token) not in seen and depth <= request.max_depth:
                seen.add((parent, token))
                tokens.append(token)
                parents.append(parent)
                depths.append(depth)
        chances = self.rng.random(len(tokens)).astype(np.float32)
        return TokenTree(np.array(tokens, np.int32), np.array(parents, np.int32), chances, self.stages * len(tokens))

    def observe(self, tree, accepted) -> None:
        pass

    def fresh(self):
        return Shuffled(int(self.rng.integers(2**30)))


def make_decoder(model=None, *, drafter="both") -> Decoder:
    both = CombinedDrafter([Shuffled(), LookupDrafter()])
    chosen = {"both": both, "shuffled": Shuffled(), "none": None}[drafter]
    return Decoder(model or english_like(), chosen, _TOKENIZER, end_tokens=[END], chat_template=PlainChat())


class Caller:
    """Submits a request and waits for its events."""

    def __init__(self, engine: Engine, prompt, sampling=None, *, max_tokens=24, speculate=True, **options) -> None:
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        request = engine.open(prompt, sampling or Sampling(), max_tokens=max_tokens, speculate=speculate)
        self.task = engine.submit(request, self.events.put, **options)

    def result(self):
        """Return the generation or the failure."""
        while True:
            event = self.events.get(timeout=30)
            if isinstance(event, Finished):
                return event.generation
            if isinstance(event, Failed):
                return event
