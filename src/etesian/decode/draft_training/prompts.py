"""Prompts from which the target writes its training texts: templates of six kinds of use, or passages of the user's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from etesian.decode.output_text import ChatTemplate, Tokenizer
from etesian.errors import InputError

TEMPLATES = (
    "What is {}, and why does it matter?",
    "Describe {} in plain words.",
    "I know little about {}. Where should I start?",
    "Write a short story in which {} plays a part.",
    "Give me a list of facts about {}.",
    "What do people often get wrong about {}?",
    "Compare {} with {}.",
    "Write a letter to a neighbor about {}.",
    "Write a Python function that models {}, with type hints and a docstring.",
    "Write a unit test for a class named after {}.",
    "Return a JSON object with the keys name, kind and uses for {}.",
    "Extract all names from this note as JSON: 'Ms. Weber asked Tom about {}.'",
    "Summarize in two sentences what is known about {}.",
    "Translate into Spanish: Yesterday we talked about {} for an hour.",
    "Translate into German: There is a museum of {} in our town.",
    "A shop sells {} for 12 dollars and {} for 7 dollars. What do 3 of the first and 5 of the second cost? Show each step.",
    "Plan a one-hour lesson about {}.",
    "Write a product description that mentions {}.",
    "Write a dialogue between a teacher and a student about {}.",
    "Explain step by step how {} came about.",
)
TOPICS = (
    "bread", "rain", "the harbor", "wind turbines", "paper boats", "soil", "violins", "the tides", "a night train",
    "snow shoes", "lemons", "old maps", "street markets", "prime numbers", "glass blowing", "owls", "mountain huts", "the moon",
    "libraries", "linked lists", "dough", "batteries", "desert plants", "ferries", "chess clubs", "weather forecasts", "canals",
    "wooden bridges", "bicycle repair", "cheese", "sorting algorithms", "savings accounts", "first aid", "stamps", "wild bees",
    "mirrors", "folk songs", "vaccines", "earthworms", "telescopes", "rivers in spring", "ceramics", "tax forms", "volcanoes",
    "public parks", "radio plays", "steam", "neural networks", "tomato plants", "lighthouse keepers", "compilers", "moss",
    "city trams", "hot springs", "sea otters", "spreadsheets", "kites", "rope", "coral", "puppet theaters", "winter jackets",
)  # fmt: skip
PASSAGE_WORDS = 60


def prompt_texts(folder: Path | None, rng: np.random.Generator) -> Iterator[str]:
    """Yield prompts without end: filled templates, or passages of the text files in a folder.

    Raises
    ------
    InputError
        If the folder holds no text.
    """
    passages = None if folder is None else read_passages(folder)
    while True:
        if passages is not None:
            yield passages[rng.integers(len(passages))]
            continue
        template = TEMPLATES[rng.integers(len(TEMPLATES))]
        chosen = rng.choice(len(TOPICS), template.count("{}"), replace=False)
        yield template.format(*(TOPICS[place] for place in chosen))


def read_passages(folder: Path) -> list[str]:
    """Cut all text files of a folder into passages of some words."""
    passages: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".md", ".py", ".rst") or not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error
        lines = text.splitlines(keepends=True)
        piece, n_words = "", 0
        for line in lines:
            piece, n_words = piece + line, n_words + len(line.split())
            if n_words >= PASSAGE_WORDS:
                passages.append(piece.strip())
                piece, n_words = "", 0
        if piece.strip():
            passages.append(piece.strip())
    if not passages:
        raise InputError(f"{folder} must hold text files (.txt, .md, .rst or .py); it has none with text")
    return passages


def prompt_tokens(text: str, tokenizer: Tokenizer, chat: ChatTemplate | None) -> list[int]:
    """Return the tokens of a prompt: a user's message inside the chat template, or the text itself."""
    if chat is None:
        return list(tokenizer.encode(text))
    return chat.encode([{"role": "user", "content": text}])
