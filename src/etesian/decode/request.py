"""The state of one request while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etesian.decode.drafters.drafter import Drafter
from etesian.decode.generation import Output, Text
from etesian.decode.output_text import Tokenizer
from etesian.decode.sampling import Chooser
from etesian.decode.statistics import Recorder
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError

Prompt = str | Sequence[int]
MOST_HIDDEN_STATES = 512


@dataclass
class Request:
    """Text, output and rules of one request."""

    text: Text
    output: Output
    chooser: Chooser
    recorder: Recorder
    drafter: Drafter | None
    may_draft: bool = True  # if False, tokens that a grammar forces are not drafted either
    n_forced: int = 0  # nodes at the start of the latest tree that a grammar forces
    hidden_states: deque[NDArray[np.float32]] = field(default_factory=deque)  # of the target, since the last proposal
    n_hidden_states: int = 0

    def add_hidden_states(self, rows: NDArray[np.float32] | None) -> None:
        """Add the hidden states of tokens that the target has read; forget the oldest if there are many."""
        if rows is not None:
            self.hidden_states.append(rows)
            self.n_hidden_states += len(rows)
        while self.n_hidden_states > MOST_HIDDEN_STATES and len(self.hidden_states) > 1:
            self.n_hidden_states -= len(self.hidden_states.popleft())

    def take_hidden_states(self) -> NDArray[np.float32] | None:
        """Return and forget all hidden states; None if there are none."""
        taken = np.concatenate(self.hidden_states) if self.hidden_states else None
        self.hidden_states.clear()
        self.n_hidden_states = 0
        return taken

    @property
    def last_token(self) -> int:
        """The only token of the text that the target has not read."""
        return int(self.text.tokens[-1])


def rows_of(request: Request, tree: TokenTree) -> tuple[list[int], list[int]]:
    """Return the rows of a pass, as tokens and parents: the last token of the text, and below it the tree."""
    return [request.last_token, *tree.tokens.tolist()], [ROOT, *(tree.parents + 1).tolist()]


def prompt_tokens(
    prompt: Prompt, tokenizer: Tokenizer | None, vocabulary_size: int, max_length: int | None
) -> list[int]:
    """Return a prompt as tokens.

    Raises
    ------
    InputError
        If the prompt is neither text nor a sequence of whole numbers, is empty or too long, or holds tokens outside the vocabulary.
    """
    if isinstance(prompt, str):
        if tokenizer is None:
            raise InputError("prompt must be a sequence of tokens, because the decoder has no tokenizer; got a string")
        tokens = list(tokenizer.encode(prompt))
    else:
        tokens = _whole_numbers(prompt)
    if not tokens:
        raise InputError("prompt must hold at least one token; got none")
    strange = [token for token in tokens if not 0 <= token < vocabulary_size]
    if strange:
        raise InputError(f"prompt must hold tokens from 0 to {vocabulary_size - 1}; got {strange[0]}")
    if max_length is not None and len(tokens) >= max_length:
        raise InputError(
            f"prompt must be shorter than {max_length} tokens, the longest text that the model reads; got {len(tokens)}"
        )
    return tokens


def _whole_numbers(prompt: Sequence[int]) -> list[int]:
    given = prompt if isinstance(prompt, Sequence) else np.asarray(prompt).tolist()  # an array or a tensor
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray | memoryview):
        raise InputError(f"prompt must be text or a sequence of tokens; got {prompt!r:.60}")
    strange = [token for token in given if isinstance(token, bool) or not isinstance(token, int | np.integer)]
    if strange:
        raise InputError(f"prompt must hold whole numbers, the tokens; got {strange[0]!r:.60}")
    return [int(token) for token in given]
