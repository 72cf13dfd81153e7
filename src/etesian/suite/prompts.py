"""Prompts written for this package: beginnings of Python functions in the style of HumanEval, and requests to an assistant."""

from __future__ import annotations

PROMPTS = (
    '''def running_mean(values, window):
    """Return the mean of each run of `window` neighboring values.

    >>> running_mean([1, 2, 3, 4], 2)
    [1.5, 2.5, 3.5]
    """
''',
    '''def count_words(text):
    """Return a dictionary from each word of a text to how often it occurs, upper and lower case taken as one.

    >>> count_words("The wind, the sea")
    {'the': 2, 'wind': 1, 'sea': 1}
    """
''',
    '''import os


def newest_file(folder, suffix=".txt"):
    """Return the path of the file that was changed last, among those whose names end with `suffix`; None if there is none."""
''',
    '''class Interval:
    """A closed interval of real numbers."""

    def __init__(self, low, high):
        if low > high:
            raise ValueError("low must not be above high")
        self.low = low
        self.high = high

    def __contains__(self, value):
        return self.low <= value <= self.high

    def overlaps(self, other):
''',
    '''import numpy as np


def normalize_rows(matrix, eps=1e-12):
    """Divide each row of a matrix by its Euclidean norm.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
    eps : float
''',
    '''def is_balanced(text):
    """Check whether every bracket of a text is closed by one of its own kind, in the right order.

    >>> is_balanced("f(a[1], {2})")
    True
    >>> is_balanced("(]")
    False
    """
''',
)
"""Beginnings of Python code, for models of code."""

REQUESTS = (
    "Summarize in two sentences: The Etesians are strong, dry north winds of the Aegean Sea. They blow from about mid-May to "
    "mid-September, mostly during the day, and reach their greatest strength in July and August. Sailors of antiquity planned "
    "their voyages around the Etesians, because the winds made travel from Egypt to Greece difficult in summer.",
    "Write a Python class `Stack` with the methods push, pop and is_empty.",
    "Why does the wind blow from the sea during the day and from the land at night?",
    "Write a short story about a sailor who waits for the wind.",
)
"""Requests to an instruction-tuned model."""


def as_chatml(request: str) -> str:
    """Return the prompt for a request in the ChatML format, which SmolLM2 uses."""
    return f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n"
