"""How tokens are chosen and where a text ends: the user's options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etesian.decode.checks import check_real, check_whole
from etesian.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen and where the text ends.

    Parameters
    ----------
    temperature
        Logits are divided by it; None or 0 takes the likeliest token (greedy).
    top_k
        Choose among this many likeliest tokens, and those that tie with the last.
    top_p
        Choose among the fewest likeliest tokens that hold this share of the probability.
    min_p
        Choose among tokens at least this share as likely as the likeliest.
    repetition_penalty
        Divides positive and multiplies negative logits of tokens that the text, prompt included, already holds.
    presence_penalty, frequency_penalty
        Taken off the logit of a token that the output holds: once, and once for each time.
    logit_bias
        Added to the logits of these tokens, before anything else.
    banned_tokens
        Never chosen.
    forced_tokens
        Token that stands at an index of the output (0 is the first after the prompt), whatever the model says.
    stop
        The output ends before the first of these strings.
    stop_tokens
        The output ends with the first of these tokens, besides the model's own end of text.
    logprobs
        None for no logarithms of probabilities; else how many of the likeliest tokens are told beside the chosen one. They
        are the model's own: before penalties, temperature and truncation.
    seed
        Seed of the noise; with the same one, the text is the same.

    Raises
    ------
    InputError
        For a value outside its range, naming it.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    banned_tokens: Sequence[int] = ()
    forced_tokens: Mapping[int, int] = field(default_factory=dict)
    stop: Sequence[str] = ()
    stop_tokens: Sequence[int] = ()
    logprobs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_tokens()
        is_list_of_strings = not isinstance(self.stop, str) and all(
            isinstance(text, str) and text for text in self.stop
        )
        if not is_list_of_strings:
            raise InputError(f"stop must be a list of strings, none of them empty; got {self.stop!r}")

    def _check_numbers(self) -> None:
        check_real("temperature", self.temperature, "0 or above, or None for greedy", lambda x: 0 <= x < math.inf)
        check_real("top_p", self.top_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
        check_real("min_p", self.min_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
        check_real("repetition_penalty", self.repetition_penalty, "above 0, and finite", lambda x: 0 < x < math.inf)
        check_real("presence_penalty", self.presence_penalty, "finite", math.isfinite)
        check_real("frequency_penalty", self.frequency_penalty, "finite", math.isfinite)
        for token, bias in self.logit_bias.items():
            check_real(f"logit_bias[{token!r}]", bias, "finite; banned_tokens rule a token out", math.isfinite)
        check_whole("top_k", self.top_k, at_least=1)
        check_whole("logprobs", self.logprobs, at_least=0)
        check_whole("seed", self.seed)
        if self.seed is None:
            raise InputError("seed must be a whole number; got None")

    def _check_tokens(self) -> None:
        for token in (*self.logit_bias, *self.banned_tokens, *self.forced_tokens.values(), *self.stop_tokens):
            check_whole("a token of logit_bias, banned_tokens, forced_tokens and stop_tokens", token, at_least=0)
        for index in self.forced_tokens:
            check_whole("an index of forced_tokens", index, at_least=0)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, without noise."""
        return not self.temperature

    @property
    def is_truncated(self) -> bool:
        """Whether some tokens cannot be drawn, however high their noise; greedy choice needs no such bound."""
        return not (self.is_greedy or self.top_k is self.top_p is self.min_p is None)


GREEDY = Sampling()
"""The likeliest token each time."""
