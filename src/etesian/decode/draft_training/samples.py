"""Texts that the target writes, with its hidden states and most probable next tokens, in shards on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etesian._shared.files import atomic_write
from etesian.decode.models.language_model import LanguageModel
from etesian.errors import InputError

N_TOP = 16
"""Most probable next tokens to keep per position."""
OPENING, OPENING_TEMPERATURE = 4, 1.0
"""First tokens of each text, which are drawn at a higher temperature so that texts after one prompt differ."""


@dataclass(frozen=True)
class Samples:
    """Texts one after another.

    Parameters
    ----------
    tokens : ndarray of int32, shape (n_tokens,)
    lengths, prompt_lengths : ndarray of int64, shape (n_texts,)
    hidden_states : ndarray of float16, shape (n_tokens, width)
        State of the target after each token; 0 after the last token of each text, which the target has not read.
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
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(arrays[field.name] for field in fields(cls)))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is damaged: {error}; delete it, and it is sampled again") from error


def sample_texts(
    model: LanguageModel,
    prompt: Sequence[int],
    *,
    n_texts: int,
    n_tokens: int,
    temperature: float,
    end_tokens: Sequence[int],
    rng: np.random.Generator,
) -> Samples:
    """Let the target continue a prompt several times, as branches of one tree, and keep what a head learns from.

    Parameters
    ----------
    model : LanguageModel
        Must provide hidden states.
    n_texts, n_tokens : int
        Number of texts, and the maximum number of tokens of each beyond the prompt.
    temperature : float
        Sampling temperature of all tokens except the first few; 0 selects the most probable tokens.
    """
    context = model.context()
    before = context.extend(prompt[:-1])
    scores = context.score(prompt[-1:], [-1])
    if before is None or scores.hidden_states is None:
        raise InputError(
            "the target provides no hidden states, which draft heads read; use one that the CPU engine runs"
        )
    texts = [_Text(list(prompt)) for _ in range(n_texts)]
    running, rows, parents, n_nodes = texts, [0] * n_texts, [0] * n_texts, 1
    for step in range(n_tokens):
        heat = max(temperature, OPENING_TEMPERATURE) if step < OPENING else temperature
        for text, row in zip(running, rows, strict=True):
            text.add(scores.logits[row], scores.hidden_states[row], heat, rng)
        goes_on = [text.tokens[-1] not in end_tokens for text in running]
        running = [text for text, each in zip(running, goes_on, strict=True) if each]
        parents = [node for node, each in zip(parents, goes_on, strict=True) if each]
        if not running or step == n_tokens - 1:
            break
        scores = context.score([text.tokens[-1] for text in running], parents)
        assert scores.hidden_states is not None
        rows, parents = list(range(len(running))), list(range(n_nodes, n_nodes + len(running)))
        n_nodes += len(running)
    return Samples.joined([text.samples(before) for text in texts])


class _Text:
    """One text while it grows."""

    def __init__(self, prompt: list[int]) -> None:
        self.tokens, self.n_prompt = prompt, len(prompt)
        self.hidden_states: list[NDArray[np.float16]] = []
        self.top: list[tuple[NDArray[np.int32], NDArray[np.float16]]] = []

    def add(
        self,
        logits: NDArray[np.float32],
        hidden_state: NDArray[np.float32],
        temperature: float,
        rng: np.random.Generator,
    ) -> None:
        """Record what the target knows after the last token, and draw the next one."""
        n_top = min(N_TOP, len(logits))
        top = np.argpartition(-logits, n_top - 1)[:n_top]
        top = top[np.argsort(-logits[top], kind="stable")]
        highest = logits[top[0]]
        logprobs = logits[top] - highest - np.log(np.exp(logits - highest).sum(dtype=np.float64))
        self.top.append((top.astype(np.int32), logprobs.astype(np.float16)))
        self.hidden_states.append(hidden_state.astype(np.float16))
        if temperature == 0:
            self.tokens.append(int(top[0]))
        else:
            self.tokens.append(int(np.argmax(logits / np.float32(temperature) + rng.gumbel(size=len(logits)))))

    def samples(self, before: NDArray[np.float32]) -> Samples:
        """Return the text; `before` holds the hidden states of the prompt but its last token, or of the end of it."""
        n, first = len(self.tokens), self.n_prompt - 1
        hidden_states = np.zeros((n, before.shape[1]), np.float16)
        hidden_states[first - len(before) : first] = before
        top_tokens = np.zeros((n, len(self.top[0][0])), np.int32)
        top_logprobs = np.full(top_tokens.shape, -np.inf, np.float16)
        for place, ((tokens, logprobs), state) in enumerate(
            zip(self.top, self.hidden_states, strict=True), start=first
        ):
            hidden_states[place], top_tokens[place], top_logprobs[place] = state, tokens, logprobs
        lengths, prompts = np.array([n]), np.array([self.n_prompt])
        return Samples(np.array(self.tokens, np.int32), lengths, prompts, hidden_states, top_tokens, top_logprobs)
