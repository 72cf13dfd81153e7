"""One request while it runs: its text, its output, the target's rule of choice. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etesian.decode.drafters.drafter import Drafter
from etesian.decode.generation import Output, Text
from etesian.decode.output_text import Tokenizer
from etesian.decode.sampling import Chooser
from etesian.decode.statistics import Recorder
from etesian.errors import InputError

Prompt = str | Sequence[int]


@dataclass
class Request:
    """What belongs to one request and changes as it goes on."""

    text: Text
    output: Output
    chooser: Chooser
    recorder: Recorder
    drafter: Drafter | None
    wants_one_row: bool = False

    @property
    def last_token(self) -> int:
        """The one token of the text that the target has not read."""
        return int(self.text.tokens[-1])


def prompt_tokens(
    prompt: Prompt, tokenizer: Tokenizer | None, vocabulary_size: int, max_length: int | None
) -> list[int]:
    """Return a prompt as tokens; raises InputError for one that is empty, too long, or not of the vocabulary."""
    if isinstance(prompt, str):
        if tokenizer is None:
            raise InputError("prompt must be a sequence of tokens, for there is no tokenizer; got a string")
        tokens = list(tokenizer.encode(prompt))
    else:
        tokens = [int(token) for token in prompt]
    if not tokens:
        raise InputError("prompt must hold at least one token; got none")
    strange = [token for token in tokens if not 0 <= token < vocabulary_size]
    if strange:
        raise InputError(f"prompt must hold tokens from 0 to {vocabulary_size - 1}; got {strange[0]}")
    if max_length is not None and len(tokens) >= max_length:
        raise InputError(
            f"prompt must be shorter than the {max_length} tokens that the model reads at most; got {len(tokens)}"
        )
    return tokens
