"""Limits of an engine, and counters of its work."""

from __future__ import annotations

from dataclasses import dataclass

from etesian.decode.checks import check_whole


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Limits of an engine.

    Parameters
    ----------
    slots : int
        Requests that run at the same time.
    queue : int
        Requests that may wait for a slot.
    chunk : int
        Prompt tokens that are read between two passes.
    cache_bytes : int
        Size of the prefix cache in bytes; 0 turns it off.
    context : int or None
        Maximum length of prompt and output, in tokens; None for the longest text that the model can read.
    """

    slots: int = 8
    queue: int = 64
    chunk: int = 128
    cache_bytes: int = 256 << 20
    context: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("slots", 1), ("queue", 0), ("chunk", 1), ("cache_bytes", 0)):
            check_whole(name, vars(self)[name], at_least=least)
        check_whole("context", self.context, at_least=2, is_optional=True)


@dataclass
class Counters:
    """Work of an engine since its start."""

    passes: int = 0
    rows: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
