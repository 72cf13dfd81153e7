"""English text from every Python installation: the topics of `pydoc` and the docstrings of the standard library."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

_SENTENCE_END = re.compile(r"\n\s*\n|(?<=[.!?:])\s+")
_WORD = re.compile(r"[a-z]+")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}


def sentences(progress: Callable[[float], object] | None = None) -> Iterator[list[str]]:
    """Return sentences of lower-case words, about 300,000 words in total. `progress` is called with the fraction of files read."""
    for text in topics.values():
        yield from _split(text)
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.rglob("*.py") if not _LEFT_OUT & set(path.relative_to(folder).parts))
    for number, path in enumerate(files):
        for docstring in _docstrings(path):
            yield from _split(docstring)
        if progress is not None:
            progress((number + 1) / len(files))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sources of the standard library may contain invalid escapes
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # templates and other files that are not valid Python
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _split(text: str) -> Iterator[list[str]]:
    for sentence in _SENTENCE_END.split(text.lower()):
        words = _WORD.findall(sentence)
        if len(words) > 1:
            yield words
