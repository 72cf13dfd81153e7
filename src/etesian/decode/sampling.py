"""What to choose and how: `Sampling` is the user's wish, `Chooser` the target's rule for one text. Knows no model and no tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from etesian.decode import noise
from etesian.errors import InputError

Rule = Callable[[float], bool]


def _check_real(name: str, value: float | None, allowed: str, is_allowed: Rule) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value) or not is_allowed(float(value)):
        raise InputError(f"{name} must be {allowed}; got {value!r}")


def _check_whole(name: str, value: object, *, at_least: int | None = None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or (at_least is not None and int(value) < at_least):
        allowed = "a whole number" if at_least is None else f"a whole number, at least {at_least}"
        raise InputError(f"{name} must be {allowed}; got {value!r}")


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
        _check_real("temperature", self.temperature, "0 or above, or None for greedy", lambda x: x >= 0)
        _check_real("top_p", self.top_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
        _check_real("min_p", self.min_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
        _check_real("repetition_penalty", self.repetition_penalty, "above 0", lambda x: x > 0)
        _check_real("presence_penalty", self.presence_penalty, "finite", math.isfinite)
        _check_real("frequency_penalty", self.frequency_penalty, "finite", math.isfinite)
        for token, bias in self.logit_bias.items():
            _check_real(f"logit_bias[{token!r}]", bias, "finite; banned_tokens rule a token out", math.isfinite)
        _check_whole("top_k", self.top_k, at_least=1)
        _check_whole("logprobs", self.logprobs, at_least=0)
        _check_whole("seed", self.seed)

    def _check_tokens(self) -> None:
        for token in (*self.logit_bias, *self.banned_tokens, *self.forced_tokens.values(), *self.stop_tokens):
            _check_whole("a token of logit_bias, banned_tokens, forced_tokens and stop_tokens", token, at_least=0)
        for index in self.forced_tokens:
            _check_whole("an index of forced_tokens", index, at_least=0)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, without noise."""
        return not self.temperature


GREEDY = Sampling()
"""The likeliest token each time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the target chose at one position.

    Parameters
    ----------
    token
    margin
        By how much its score, noise included, exceeds the runner-up's; infinite where there is none.
    logprob
        The logarithm of its probability; None unless `Sampling.logprobs` asks for it.
    alternatives
        The likeliest tokens with their logarithms, best first.
    """

    token: int
    margin: float
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


class Chooser:
    """The target's rule for one request: which token comes next, given its logits and the text.

    A token at absolute position t is argmax(processed logits / temperature + Gumbel(seed, t)), so the choice depends on the
    logits, the text and the seed alone (the Gumbel-max trick: the chosen token has the distribution of the softmax). Ties go
    to the lower token.

    Parameters
    ----------
    sampling
    vocabulary_size
        Entries of a row of the target's logits.
    prompt_length
        Tokens of the prompt; output is counted from here.

    Raises
    ------
    InputError
        For tokens outside the vocabulary.
    """

    def __init__(self, sampling: Sampling, vocabulary_size: int, prompt_length: int) -> None:
        self.sampling = sampling
        self.vocabulary_size = vocabulary_size
        self.prompt_length = prompt_length
        self._seed = np.uint64(sampling.seed % 2**64)

    def choose(self, logits: NDArray[np.float32], text: NDArray[np.int32]) -> Choice:
        """Decide the token that follows `text`, from the logits after its last token, of shape (vocabulary_size,)."""
        if self.sampling.is_greedy:
            return Choice(int(np.argmax(logits)), 0.0)
        temperature = float(self.sampling.temperature or 1.0)
        winner, best, second = noise.best_of_all(logits, temperature, self._seed, len(text))
        return Choice(winner, best - second)

    def rank(
        self, logits: NDArray[np.float32], positions: NDArray[np.integer], count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Estimate what will be chosen, from a drafter's logits.

        Parameters
        ----------
        logits : ndarray of float32, shape (n_rows, any vocabulary size)
            A padded vocabulary may be longer or shorter than the target's.
        positions : ndarray of int, shape (n_rows,)
            Absolute position of the token to be chosen from each row; `len(text)` for the first after the text.
        count
            How many tokens are wanted for each row, at most the vocabulary.

        Returns
        -------
        tokens : ndarray of int32, shape (n_rows, count)
            The likeliest to be chosen, best first.
        confidences : ndarray of float32, shape (n_rows, count)
            Their softmax over the row of logits / temperature + the target's own noise; of the logits if greedy.
        """
        logits = logits[:, : self.vocabulary_size]
        count = min(count, logits.shape[1])
        scores = np.asarray(logits, np.float64) / (self.sampling.temperature or 1.0)
        if not self.sampling.is_greedy:
            every = np.arange(logits.shape[1])
            scores += np.stack([noise.gumbel(self._seed, int(position), every) for position in positions])
        tokens = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = np.take_along_axis(weights, tokens, axis=1) / weights.sum(axis=1, keepdims=True)
        return tokens.astype(np.int32), shares.astype(np.float32)
