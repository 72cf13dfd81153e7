"""Sampling options and the target's seeded choice of the next token."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
from etesian.decode.sampling.chooser import Choice, Chooser
from etesian.decode.sampling.grammar import Grammar
from etesian.decode.sampling.options import GREEDY, Sampling

__all__ = ["GREEDY", "Choice", "Chooser", "Grammar", "Sampling"]
