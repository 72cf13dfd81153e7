"""Prompts that begin Python functions: those of HumanEval, read from a file, and our own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path

from etesian.suite.prompts import PROMPTS

HUMAN_EVAL = Path("prompts/HumanEval.jsonl")

Prompts = dict[str, str]
"""Texts by name."""


def read_human_eval(data: Path) -> Prompts:
    """Read the 164 prompts of HumanEval (Chen et al. 2021) from a data folder."""
    tasks = (json.loads(line) for line in (data / HUMAN_EVAL).read_text().splitlines())
    return {task["task_id"]: task["prompt"] for task in tasks}


def own_prompts() -> Prompts:
    """Return the prompts that are part of the package."""
    return {f"own/{number}": text for number, text in enumerate(PROMPTS)}


def mixed_prompts(data: Path | None, count: int) -> Prompts:
    """Alternate prompts spread over HumanEval with our own; without the file, return only our own."""
    own = list(own_prompts().items())
    if data is None or not (data / HUMAN_EVAL).is_file():
        return dict(own[:count])
    theirs = list(read_human_eval(data).items())
    spread = theirs[:: max(len(theirs) // max(count // 2, 1), 1)]
    return dict(_present(chain.from_iterable(zip_longest(spread, own)))[:count])


def _present(pairs: Iterable[tuple[str, str] | None]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if pair is not None]
