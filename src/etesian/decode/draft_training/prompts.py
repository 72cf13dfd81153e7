"""Prompts from which the target writes its training texts: templates of six kinds of use, or passages of the user's files."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from string import Formatter
from typing import NamedTuple
from zlib import crc32

import numpy as np

from etesian._shared.documents import read_text
from etesian._shared.limits import UNPACKED_BYTES
from etesian.decode.output_text import ChatTemplate, Tokenizer
from etesian.errors import InputError

TEMPLATES = (
    # chat
    "What is {topic}, and why does it matter?",
    "Describe {topic} in plain words.",
    "I know little about {topic}. Where should I start?",
    "Write a short story in which {topic} plays a part.",
    "Give me {number} facts about {topic}.",
    "What do people often get wrong about {topic}?",
    "Compare {topic} with {other}.",
    "Write a letter to {name} about {topic}.",
    "Plan a lesson about {topic} that takes {number} hours.",
    "Write a product description that mentions {topic}.",
    "Write a dialogue between {name} and {friend} about {topic}.",
    "Explain step by step how {topic} came about.",
    "{name} is interested in {topic}. Suggest three gifts.",
    "How can I learn more about {topic} in {number} weeks?",
    "What are the advantages and disadvantages of {topic}?",
    "Why is {topic} important in {place}?",
    # code
    "Write a Python function for this task, with type hints and a docstring: {task}",
    "Write a Python class that models {topic}, with a method for each important action.",
    "Write unit tests for a function with this docstring: {task}",
    "Explain what this function does:\n\n{code}",
    "Add a docstring and type hints to this code and print all of it:\n\n{code}",
    "Find possible errors in this function, and write a better version:\n\n{code}",
    "Write a JavaScript function for this task: {task}",
    "Write an SQL query that finds all {topic} sold by {name} in {month}.",
    # JSON
    "Return a JSON object with the keys name, kind and uses for {topic}.",
    "Extract all names and places as JSON: '{name} met {friend} in {place} in {month}, and they talked about {topic}.'",
    "Extract the order as JSON with customer, items and total: '{name} bought {number} x {topic} for {price} dollars.'",
    "Convert to a JSON array: {name}, {number} years, {place}; {friend}, {price} years, {place}.",
    "Extract date, place and topic as a JSON object: 'The talk on {topic} takes place on {month} {number} in {place}.'",
    # summaries
    "Summarize the following text in two sentences.\n\n{passage}",
    "What is the main point of this text?\n\n{passage}",
    "List the most important facts of this text.\n\n{passage}",
    # translation
    "Translate into {language}: {sentence}",
    "How do I say this in {language}? {sentence}",
    "Translate into {language} and explain the grammar: {sentence}",
    # mathematics
    "A shop sells {topic} for {price} dollars each. Calculate the price of {number} with {percent} percent off. Show each step.",
    "Solve the equation {number}x + {price} = {percent} and check the result.",
    "{name} walks {price} km in {number} hours. How far does {friend} get in {percent} minutes at the same speed?",
    "{name} has {percent} dollars and spends {number} dollars a day. After how many days are {price} dollars left?",
    "What is {percent} percent of {price}{number}? Explain the calculation.",
    "A rectangle is {price} m long and {number} m wide. Compute its area and its perimeter.",
)
SENTENCES = (
    "{name} has never been to {place}.",
    "We talked about {topic} for {number} hours.",
    "There is a museum of {topic} in our town.",
    "Could you tell me where I can find {topic}?",
    "My sister moved to {place} in {month}.",
    "If it rains tomorrow, {name} and {friend} will stay at home.",
    "{name} forgot the keys and had to wait for {number} hours.",
    "I would like to order a book about {topic}.",
    "The train to {place} leaves in {number} minutes.",
    "Nobody knew that {friend} had sold {topic} in {month}.",
)
TOPICS = (
    "bread", "rain", "the harbor", "wind turbines", "paper boats", "soil", "violins", "the tides", "a night train",
    "snow shoes", "lemons", "old maps", "street markets", "prime numbers", "glass blowing", "owls", "mountain huts", "the moon",
    "libraries", "linked lists", "dough", "batteries", "desert plants", "ferries", "chess clubs", "weather forecasts", "canals",
    "wooden bridges", "bicycle repair", "cheese", "sorting algorithms", "savings accounts", "first aid", "stamps", "wild bees",
    "mirrors", "folk songs", "vaccines", "earthworms", "telescopes", "rivers in spring", "ceramics", "tax forms", "volcanoes",
    "public parks", "radio plays", "steam", "neural networks", "tomato plants", "lighthouse keepers", "compilers", "moss",
    "city trams", "hot springs", "sea otters", "spreadsheets", "kites", "rope", "coral", "puppet theaters", "winter jackets",
    "good sleep", "job interviews", "running shoes", "the water cycle", "inflation", "password managers", "houseplants",
    "electric cars", "headaches", "small talk", "public speaking", "moving to a new city", "apple pie", "gravity", "dinosaurs",
    "the French Revolution", "photosynthesis", "recycling", "budget travel", "camping", "jazz", "poetry", "teamwork",
    "stress at work", "healthy breakfasts", "climate change", "antibiotics", "black holes", "the Roman Empire", "recursion",
    "databases", "version control", "web pages", "machine learning", "noise in cities", "puppies", "cats", "the stock market",
)  # fmt: skip
NAMES = (
    "Anna", "Bruno", "Carla", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karim", "Laura", "Marta", "Nils",
    "Olga", "Pavel", "Rosa", "Simon", "Tara", "Viktor", "Ms. Weber", "Mr. Okafor", "Dr. Silva", "Mrs. Jensen", "Yuki", "Zoe",
)  # fmt: skip
PLACES = (
    "Lisbon", "Oslo", "Kyoto", "Chicago", "Nairobi", "Lima", "Toronto", "Athens", "Krakow", "Bern", "Austin", "Mumbai",
    "Hanoi", "Dublin", "Porto", "Quito", "Seoul", "Vienna", "Ghent", "Boston", "Perth", "Cairo", "Malmo", "Denver",
)  # fmt: skip
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "September",
    "October",
    "November",
    "December",
)
LANGUAGES = ("French", "German", "Spanish", "Italian", "Portuguese")
CODE_MODULES = (
    "argparse", "bisect", "calendar", "collections", "colorsys", "configparser", "csv", "dataclasses", "datetime", "difflib",
    "fractions", "functools", "glob", "gzip", "heapq", "inspect", "ipaddress", "json", "logging", "mailbox", "numbers", "pathlib",
    "pprint", "queue", "random", "shlex", "shutil", "statistics", "string", "tempfile", "textwrap", "threading", "types", "uuid",
    "zipfile",
)  # fmt: skip
"""Modules of the standard library whose functions appear in prompts."""
SHORTEST_CODE, LONGEST_CODE = 3, 24
"""Lines of these functions."""
PASSAGE_WORDS = 60


HELD_OUT_EVERY = 12
"""About one prompt in this many is held out to measure acceptance."""


class Prompt(NamedTuple):
    """A prompt, and whether texts after it are held out, which is the same each time it is drawn."""

    text: str
    is_held_out: bool


def prompts(folder: Path | None, rng: np.random.Generator) -> Iterator[Prompt]:
    """Yield prompts without end: filled templates, or passages of the text files in a folder.

    Raises
    ------
    InputError
        If the folder holds fewer than 2 passages.
    """
    passages = None if folder is None else read_passages(folder)
    while True:
        if passages is None:
            text = _filled(TEMPLATES, rng)
            yield Prompt(text, crc32(text.encode()) % HELD_OUT_EVERY == 0)
        else:
            place = int(rng.integers(len(passages)))
            yield Prompt(passages[place], place % HELD_OUT_EVERY == 0)


def _filled(templates: Sequence[str], rng: np.random.Generator) -> str:
    """Choose a template and words for its fields."""
    template = _chosen(templates, rng)
    fields = {field for _, field, _, _ in Formatter().parse(template) if field}
    return template.format(**{field: _FIELDS[field](rng) for field in sorted(fields)})


def _chosen(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


@cache
def documentation_passages() -> list[str]:
    """Return paragraphs of Python's reference manual, which is part of each installation."""
    from pydoc_data.topics import topics

    passages = []
    for text in topics.values():
        paragraphs = [
            " ".join(part.split()) for part in text.split("\n\n") if not part.lstrip().startswith(("*", ">", "-"))
        ]
        passages += [part for part in paragraphs if PASSAGE_WORDS // 2 <= len(part.split()) <= 2 * PASSAGE_WORDS]
    return passages


@cache
def library_functions() -> tuple[list[str], list[str]]:
    """Return the first lines of the docstrings, and the code, of functions of the standard library."""
    tasks, codes = [], []
    for name in CODE_MODULES:
        spec = find_spec(name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        lines = Path(spec.origin).read_text("utf-8").splitlines(keepends=True)
        for node in ast.walk(ast.parse("".join(lines))):
            if not isinstance(node, ast.FunctionDef):
                continue
            task = (ast.get_docstring(node) or "").partition("\n")[0]
            if len(task.split()) > 4:
                tasks.append(task)
            code = lines[node.lineno - 1 : node.end_lineno]
            if SHORTEST_CODE <= len(code) <= LONGEST_CODE:
                codes.append(textwrap.dedent("".join(code)))
    return tasks, codes


_FIELDS: Mapping[str, Callable[[np.random.Generator], str]] = {
    "topic": partial(_chosen, TOPICS),
    "other": partial(_chosen, TOPICS),
    "name": partial(_chosen, NAMES),
    "friend": partial(_chosen, NAMES),
    "place": partial(_chosen, PLACES),
    "month": partial(_chosen, MONTHS),
    "language": partial(_chosen, LANGUAGES),
    "number": lambda rng: str(rng.integers(2, 13)),
    "price": lambda rng: str(rng.integers(14, 60)),
    "percent": lambda rng: str(5 * rng.integers(13, 40)),
    "sentence": lambda rng: _filled(SENTENCES, rng),
    "passage": lambda rng: _chosen(documentation_passages(), rng),
    "task": lambda rng: _chosen(library_functions()[0], rng),
    "code": lambda rng: _chosen(library_functions()[1], rng),
}


def read_passages(folder: Path) -> list[str]:
    """Cut all text files of a folder into passages of some words."""
    passages: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".md", ".py", ".rst") or not path.is_file():
            continue
        lines = read_text(path, most_bytes=UNPACKED_BYTES).splitlines(keepends=True)
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
    if len(passages) < 2:
        raise InputError(
            f"{folder} must hold at least 2 passages of {PASSAGE_WORDS} words, one of them to measure acceptance; it has 1"
        )
    return passages


def prompt_tokens(text: str, tokenizer: Tokenizer, chat: ChatTemplate | None) -> list[int]:
    """Return the tokens of a prompt: a user's message inside the chat template, or the text itself."""
    if chat is None:
        return list(tokenizer.encode(text))
    return chat.encode([{"role": "user", "content": text}])
