"""Texts that the target writes, with its hidden states and most probable next tokens, in shards on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.arrays import ArrayFileError, read_arrays
from etesian._shared.files import atomic_write
from etesian.decode.models.batching import ScoreRequest
from etesian.decode.models.cpu.instructions import exponential
from etesian.decode.models.cpu.model import CpuModel
from etesian.errors import InputError

N_TOP = 16
"""Most probable next tokens to keep per position."""
N_TOGETHER = 48
"""Texts that the target continues in one pass."""
_CHUNK = 1024  # partial sums of float32


@dataclass(frozen=True)
class Samples:
    """Texts one after another.

    Parameters
    ----------
    tokens : ndarray of int32, shape (n_tokens,)
    lengths, prompt_lengths : ndarray of int64, shape (n_texts,)
    hidden_states : ndarray of float16, shape (n_tokens, n_features * width)
        States of the target's kept layers after each token; 0 after the last token of each text, which the target has not read.
    top_tokens : ndarray of int32, shape (n_tokens, n_top)
        Most probable tokens after each token, best first; only from the last token of the prompt on.
    top_logprobs : ndarray of float16, shape (n_tokens, n_top)
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]
    prompt_lengths: NDArray[np.int64]
    hidden_states: NDArray[np.float16]
    top_tokens: NDArray[np.int32]
    top_logprobs: NDArray[np.float16]

    @property
    def n_output(self) -> int:
        """Number of tokens that the target wrote."""
        return int((self.lengths - self.prompt_lengths).sum())

    def _check_shapes(self) -> None:
        n_texts, n_tokens = len(self.lengths), len(self.tokens)
        shapes = self.tokens.shape, self.prompt_lengths.shape, self.hidden_states.shape[:1], self.top_tokens.shape[:1]
        if shapes != ((n_tokens,), (n_texts,), (n_tokens,), (n_tokens,)) or self.lengths.sum() != n_tokens:
            raise ArrayFileError("its arrays do not fit together")
        if self.top_tokens.shape != self.top_logprobs.shape or (self.prompt_lengths > self.lengths).any():
            raise ArrayFileError("its arrays do not fit together")

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return the texts of all parts."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def save(self, path: Path) -> None:
        """Write a shard; it appears whole or not at all."""
        with atomic_write(path, make_parents=True) as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read a shard."""
        try:
            with path.open("rb") as file:
                arrays = read_arrays(file)
            found = cls(*(arrays[field.name] for field in fields(cls)))
            found._check_shapes()
            return found
        except (OSError, ArrayFileError, KeyError) as error:
            raise InputError(f"{path} is damaged: {error}; delete it, and it is sampled again") from error


def sample_texts(
    model: CpuModel,
    prompts: Sequence[Sequence[int]],
    *,
    n_tokens: int,
    temperatures: Sequence[float],
    end_tokens: Sequence[int],
    rng: np.random.Generator,
) -> list[Samples]:
    """Let the target continue prompts, many in each pass, and keep what a head learns from.

    Parameters
    ----------
    model : CpuModel
    prompts : sequence of sequences of int
    n_tokens : int
        Maximum number of tokens of each text beyond the prompt.
    temperatures : sequence of float, one per prompt
        Sampling temperatures; 0 selects the most probable tokens.
    """
    waiting = [
        _Text(model, list(prompt), temperature, uniforms)
        for prompt, temperature, uniforms in zip(
            prompts, temperatures, rng.random((len(prompts), n_tokens)), strict=True
        )
    ]
    texts, running = list(waiting), list[_Text]()
    waiting.reverse()
    scratch = np.empty(model.vocabulary_size, np.float32)
    while waiting or running:
        while waiting and len(running) < N_TOGETHER:
            running.append(waiting.pop())
            running[-1].open()
        requests = [ScoreRequest(text.context, text.tokens[-1:], [-1]) for text in running]
        for text, scores in zip(running, model.score_together(requests), strict=True):
            assert scores.hidden_states is not None
            text.add(scores.logits[0], scores.hidden_states[0], scratch)
        running = [text for text in running if not text.is_finished(end_tokens)]
    return [text.samples() for text in texts]


class _Text:
    """One text while it grows."""

    def __init__(self, model: CpuModel, prompt: list[int], temperature: float, uniforms: NDArray[np.float64]) -> None:
        self.tokens, self.n_prompt = prompt, len(prompt)
        self.temperature, self.uniforms = temperature, uniforms
        self._model, self._before = model, np.empty((0, model.width), np.float32)
        self.hidden_states: list[NDArray[np.float16]] = []
        self.top: list[tuple[NDArray[np.int32], NDArray[np.float16]]] = []

    def open(self) -> None:
        """Read the prompt but its last token."""
        self.context = self._model.context()
        self._before = self.context.extend(self.tokens[:-1])

    def add(self, logits: NDArray[np.float32], hidden_state: NDArray[np.float32], scratch: NDArray[np.float32]) -> None:
        """Record what the target knows after the last token, and draw the next one."""
        n_top, place = min(N_TOP, len(logits)), len(self.top)
        tokens, logprobs = np.zeros(n_top, np.int32), np.zeros(n_top, np.float32)
        chosen = _draw(logits, self.temperature, self.uniforms[place], scratch, tokens, logprobs)
        self.top.append((tokens, logprobs.astype(np.float16)))
        self.hidden_states.append(_halved(hidden_state))
        self.context.keep([0])
        self.tokens.append(int(chosen))

    def is_finished(self, end_tokens: Sequence[int]) -> bool:
        """Return True, and drop the keys and values, if the text has ended or has its maximum length."""
        is_finished = self.tokens[-1] in end_tokens or len(self.top) == len(self.uniforms)
        if is_finished:
            del self.context
        return is_finished

    def samples(self) -> Samples:
        """Return the text as `Samples`. For long prompts, only the last hidden states are known; the others are zero."""
        n, first, before = len(self.tokens), self.n_prompt - 1, self._before
        hidden_states = np.zeros((n, before.shape[1]), np.float16)
        hidden_states[first - len(before) : first] = _halved(before)
        top_tokens = np.zeros((n, len(self.top[0][0])), np.int32)
        top_logprobs = np.full(top_tokens.shape, -np.inf, np.float16)
        for place, ((tokens, logprobs), state) in enumerate(
            zip(self.top, self.hidden_states, strict=True), start=first
        ):
            hidden_states[place], top_tokens[place], top_logprobs[place] = state, tokens, logprobs
        lengths, prompts = np.array([n]), np.array([self.n_prompt])
        return Samples(np.array(self.tokens, np.int32), lengths, prompts, hidden_states, top_tokens, top_logprobs)


def _halved(states: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to half precision; single numbers of inner layers can be beyond its range."""
    largest = np.finfo(np.float16).max
    return np.clip(states, -largest, largest).astype(np.float16)


@njit(nogil=True, cache=True, error_model="numpy")
def _draw(logits: Any, temperature: Any, uniform: Any, scratch: Any, top: Any, logprobs: Any) -> Any:
    """Fill `top` and `logprobs` with the most probable tokens, best first, and return a drawn token."""
    _rank(logits, top, logprobs)
    total, highest = _weights(logits, logprobs[0], np.float32(1), scratch), logprobs[0]
    for place in range(len(top)):
        logprobs[place] = logprobs[place] - highest - np.float32(np.log(total))
    if temperature == 0:
        return top[0]
    rest = uniform * _weights(logits, highest, np.float32(1 / temperature), scratch)
    for token in range(len(scratch)):
        rest -= scratch[token]
        if rest < 0:
            return token
    return top[0]


@njit(nogil=True, cache=True, error_model="numpy")
def _rank(logits: Any, top: Any, values: Any) -> None:
    """Fill `top` and `values` with the highest logits, in descending order; of equal ones the first token comes first."""
    n_found = 0
    for token in range(len(logits)):
        value = logits[token]
        if n_found == len(top) and value <= values[n_found - 1]:
            continue
        n_found = min(n_found + 1, len(top))
        place = n_found - 1
        while place > 0 and values[place - 1] < value:
            top[place], values[place] = top[place - 1], values[place - 1]
            place -= 1
        top[place], values[place] = token, value


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _weights(logits: Any, highest: Any, scale: Any, weights: Any) -> Any:
    """Fill `weights` with exp(scale * (logit - highest)), and return their sum."""
    total: Any = 0.0
    for start in range(0, len(logits), _CHUNK):
        part: Any = np.float32(0)
        for token in range(start, min(start + _CHUNK, len(logits))):
            weights[token] = exponential((logits[token] - highest) * scale)
            part += weights[token]
        total += part
    return total
