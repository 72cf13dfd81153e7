"""Sampling options: how tokens are chosen and where the output ends."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from etesian.decode.checks import check_real, check_text, check_whole
from etesian.decode.sampling.grammar import Grammar
from etesian.errors import InputError

_LARGEST = 1e38  # logits are 32-bit numbers
_FINITE = "between -1e38 and 1e38"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling options of a request.

    Parameters
    ----------
    temperature : float or None
        Divides the logits; None or 0 for greedy decoding.
    top_k : int or None
        Sample from the k most probable tokens and those that tie with the last of them.
    top_p : float or None
        Sample from the smallest set of most probable tokens whose probabilities add up to at least top_p.
    min_p : float or None
        Sample from tokens whose probability is at least min_p times that of the most probable token.
    repetition_penalty : float or None
        Divides positive and multiplies negative logits of tokens in the prompt or output.
    presence_penalty : float or None
        Subtracted from the logit of each token in the output.
    frequency_penalty : float or None
        Subtracted from the logit of each token once per occurrence in the output.
    logit_bias : mapping of int to float
        Added to the logits of these tokens, before all other options.
    banned_tokens : sequence of int
        Tokens that are never chosen.
    forced_tokens : mapping of int to int
        Tokens that are chosen at these indices of the output, regardless of the model; index 0 follows the prompt.
    stop : sequence of str
        The output ends before the first of these strings.
    stop_tokens : sequence of int
        The output ends with the first of these tokens, in addition to the model's end-of-text tokens.
    ignore_eos : bool
        Continue after the model's end-of-text tokens, as benchmarks of servers do for outputs of equal length. Not with a
        grammar, which ends with one of them.
    logprobs : int or None
        Number of most probable tokens to return with log-probabilities in addition to the chosen token; None for no
        log-probabilities. They are those of the model, before penalties, temperature and truncation.
    grammar : Grammar or None
        The output conforms to this grammar, such as a JSON schema, and ends where the grammar ends. Forced tokens take precedence.
    seed : int
        Seed of the noise; the same seed gives the same text.

    Raises
    ------
    InputError
        If a value is outside its range; the message names it.
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
    ignore_eos: bool = False
    logprobs: int | None = None
    grammar: Grammar | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_numbers()
        self._check_tokens()
        if self.ignore_eos and self.grammar is not None:
            raise InputError("ignore_eos and grammar cannot be combined: a grammar ends with an end-of-text token")

    def _check_kinds(self) -> None:
        for name in ("logit_bias", "forced_tokens"):
            if not isinstance(vars(self)[name], Mapping):
                raise InputError(f"{name} must be a mapping; got {vars(self)[name]!r:.60}")
        for name in ("banned_tokens", "stop_tokens"):
            if not isinstance(vars(self)[name], Collection):
                raise InputError(f"{name} must be a list of tokens; got {vars(self)[name]!r:.60}")
        is_list_of_strings = (
            isinstance(self.stop, Collection)
            and not isinstance(self.stop, str)
            and all(isinstance(text, str) and text for text in self.stop)
        )
        if not is_list_of_strings:
            raise InputError(f"stop must be a list of strings, none of them empty; got {self.stop!r}")
        for text in self.stop:
            check_text("stop", text)
        if not isinstance(self.grammar, Grammar | None):
            raise InputError(f"grammar must be a Grammar or None; got {self.grammar!r:.60}")

    def _check_numbers(self) -> None:
        for name, allowed, is_allowed in (
            ("temperature", "0 or above, or None for greedy", lambda x: 0 <= x < math.inf),
            ("top_p", "above 0 and at most 1", _is_share),
            ("min_p", "above 0 and at most 1", _is_share),
            ("repetition_penalty", "between 1e-38 and 1e38", lambda x: 1 / _LARGEST <= x <= _LARGEST),
            ("presence_penalty", _FINITE, _is_finite),
            ("frequency_penalty", _FINITE, _is_finite),
        ):
            check_real(name, vars(self)[name], allowed, is_allowed, is_optional=True)
        for token, bias in self.logit_bias.items():
            check_real(f"logit_bias[{token!r}]", bias, f"{_FINITE}; banned_tokens rule a token out", _is_finite)
        check_whole("top_k", self.top_k, at_least=1, is_optional=True)
        check_whole("logprobs", self.logprobs, at_least=0, is_optional=True)
        check_whole("seed", self.seed)

    def _check_tokens(self) -> None:
        for token in (*self.logit_bias, *self.banned_tokens, *self.forced_tokens.values(), *self.stop_tokens):
            check_whole("a token of logit_bias, banned_tokens, forced_tokens and stop_tokens", token, at_least=0)
        for index in self.forced_tokens:
            check_whole("an index of forced_tokens", index, at_least=0)

    @property
    def is_greedy(self) -> bool:
        """Return True if decoding is greedy."""
        return not self.temperature

    @property
    def is_truncated(self) -> bool:
        """Return True if top-k, top-p or min-p restricts the tokens to sample from."""
        return not (self.is_greedy or self.top_k is self.top_p is self.min_p is None)


def _is_finite(value: float) -> bool:
    return abs(value) <= _LARGEST


def _is_share(value: float) -> bool:
    return 0 < value <= 1


GREEDY = Sampling()
"""Greedy decoding."""
