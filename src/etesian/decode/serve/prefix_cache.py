"""Prefix caches: contexts for new requests that already hold the prefix shared with earlier requests.

`BlockCache` shares blocks of keys and values among all requests that begin alike; `ContextPool` keeps whole contexts, for models
whose keys and values cannot be copied. Owners are separate: neither time nor text reveals the prompt of another owner.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.batching import CopiesBlocks, KeyValueBlock
from etesian.decode.models.language_model import Context, LanguageModel

BLOCK_TOKENS = 16
"""Tokens of a block. Shorter common beginnings are read again."""
Tokens = NDArray[np.int32]


class PrefixCache(Protocol):
    """Lends contexts to requests."""

    def take(self, owner: str, prompt: Tokens) -> Context:
        """Return a context that holds a beginning of `prompt`, as long as possible and perhaps empty."""

    def store(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Let later requests use the keys and values of `tokens` in this context, which stays in use."""

    def give_back(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Return a context that has read `tokens`; it must not be used afterwards."""


def prefix_cache(model: LanguageModel, *, most_bytes: int, n_contexts: int, may_reuse: bool) -> PrefixCache:
    """Return the best cache for a model.

    Parameters
    ----------
    model : LanguageModel
    most_bytes : int
        Size of all blocks; 0 for no cache.
    n_contexts : int
        Maximum number of idle contexts.
    may_reuse : bool
        False if the keys and values of one request must not serve another.
    """
    if not may_reuse or most_bytes == 0:
        return ContextPool(model, n_contexts=0)
    if isinstance(model.context(), CopiesBlocks):
        return BlockCache(model, most_bytes=most_bytes, n_contexts=n_contexts)
    return ContextPool(model, n_contexts=n_contexts)


class ContextPool:
    """Keep the contexts of finished requests; the least recently used one is dropped first.

    Parameters
    ----------
    model : LanguageModel
    n_contexts : int
        Maximum number of idle contexts; 0 for no cache.
    """

    def __init__(self, model: LanguageModel, *, n_contexts: int) -> None:
        self._model = model
        self._n_contexts = n_contexts
        self._idle: list[tuple[str, Context, Tokens]] = []  # least recently used first

    def take(self, owner: str, prompt: Tokens) -> Context:
        """Return the idle context with the longest common beginning; a new one if there is none."""
        common = [_common_length(prompt, tokens) if one == owner else 0 for one, _, tokens in self._idle]
        best = int(np.argmax(common)) if common else 0
        if not common or common[best] == 0:
            return self._model.context()
        _, context, _ = self._idle.pop(best)
        context.truncate(min(common[best], context.n_reusable))
        return context

    def store(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Do nothing: the context is still in use."""

    def give_back(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Keep the context for a later request."""
        self._idle.append((owner, context, tokens.copy()))
        del self._idle[: max(len(self._idle) - self._n_contexts, 0)]


@dataclass(eq=False)
class _Node:
    """A block, and the blocks that follow it by the bytes of their tokens."""

    parent: _Node | None
    key: bytes
    block: KeyValueBlock | None
    children: dict[bytes, _Node] = field(default_factory=dict)


class BlockCache:
    """A radix tree of blocks of keys and values for each owner, bounded in bytes; the least recently used blocks go first.

    Parameters
    ----------
    model : LanguageModel
        Model whose contexts implement `CopiesBlocks`.
    most_bytes : int
        Maximum size of all blocks.
    n_contexts : int
        Maximum number of idle contexts, which are kept for their memory only.
    """

    def __init__(self, model: LanguageModel, *, most_bytes: int, n_contexts: int) -> None:
        self._model = model
        self._most_bytes = most_bytes
        self._n_contexts = n_contexts
        self._roots: dict[str, _Node] = {}
        self._recency: OrderedDict[_Node, None] = OrderedDict()  # parents are always more recent than their children
        self._idle: list[Context] = []
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._recency)

    def take(self, owner: str, prompt: Tokens) -> Context:
        """Return a context with the blocks of the longest known beginning of `prompt`."""
        context = self._idle.pop() if self._idle else self._model.context()
        context.truncate(0)
        assert isinstance(context, CopiesBlocks)
        path = self._path(owner, prompt)
        for node in path:
            assert node.block is not None
            context.append_block(np.frombuffer(node.key, np.int32), node.block)
        self._touch(path)
        self._append_part(context, path[-1] if path else self._roots.get(owner), prompt[context.length :])
        return context

    def _append_part(self, context: CopiesBlocks, node: _Node | None, rest: Tokens) -> None:
        """Add the beginning that the rest of a prompt shares with one of the blocks after a node."""
        children = list(node.children.values()) if node is not None else []
        common = [_common_length(rest, np.frombuffer(child.key, np.int32)) for child in children]
        best = int(np.argmax(common)) if common else 0
        if common and common[best] > 0:
            block = children[best].block
            assert block is not None
            context.append_block(rest[: common[best]], block)

    def store(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Copy the blocks that are not known yet, and forget the oldest ones if the cache is full."""
        assert isinstance(context, CopiesBlocks)
        path = self._path(owner, tokens)
        node = path[-1] if path else self._roots.setdefault(owner, _Node(None, b"", None))
        last = min(len(tokens), context.n_reusable) // BLOCK_TOKENS
        for number in range(len(path), last):
            start = number * BLOCK_TOKENS
            key = tokens[start : start + BLOCK_TOKENS].astype(np.int32).tobytes()
            node = _Node(node, key, context.copy_block(start, start + BLOCK_TOKENS))
            assert node.parent is not None
            assert node.block is not None
            node.parent.children[key] = node
            self.nbytes += node.block.nbytes
            path.append(node)
        self._touch(path)
        self._shrink()

    def give_back(self, owner: str, context: Context, tokens: Tokens) -> None:
        """Store the keys and values of a context, and keep its memory for another request."""
        self.store(owner, context, tokens)
        if len(self._idle) < self._n_contexts:
            self._idle.append(context)

    def _path(self, owner: str, tokens: Tokens) -> list[_Node]:
        """Return the known blocks of a text, in order."""
        node, path = self._roots.get(owner), []
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            key = tokens[start : start + BLOCK_TOKENS].astype(np.int32).tobytes()
            node = node.children.get(key) if node else None
            if node is None:
                break
            path.append(node)
        return path

    def _touch(self, path: list[_Node]) -> None:
        for node in reversed(path):
            self._recency[node] = None
            self._recency.move_to_end(node)

    def _shrink(self) -> None:
        while self.nbytes > self._most_bytes:
            node, _ = self._recency.popitem(last=False)
            assert node.parent is not None
            assert node.block is not None
            del node.parent.children[node.key]
            self.nbytes -= node.block.nbytes
        for owner in [owner for owner, root in self._roots.items() if not root.children]:
            del self._roots[owner]


def _common_length(tokens: Tokens, others: Tokens) -> int:
    shorter = min(len(tokens), len(others))
    differs = np.flatnonzero(tokens[:shorter] != others[:shorter])
    return int(differs[0]) if len(differs) else shorter
