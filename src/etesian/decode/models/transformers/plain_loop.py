"""transformers' own decoding loop, for models whose passes gain nothing from drafts. Samples use the noise of `Sampling`."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from etesian.decode.sampling.noise import best_of_all

TRIED_TOKENS, TRIALS = 8, 3
LONGEST_TRIED = 64
"""Tokens of a prompt that the trials read."""


class SeededChoice(LogitsProcessor):
    """Rule out all tokens but argmax(scores + Gumbel(seed, position)), as `Chooser` chooses.

    Parameters
    ----------
    seeds : sequence of int
        Seed of each row.
    n_padding : sequence of int
        Padding tokens at the beginning of each row, which do not count as positions.
    """

    def __init__(self, seeds: Sequence[int], n_padding: Sequence[int]) -> None:
        self._seeds = [np.uint64(seed % 2**64) for seed in seeds]
        self._n_padding = n_padding

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of 0 for the chosen tokens and -inf for all others."""
        rows = scores.float().cpu().numpy()
        length = input_ids.shape[1]
        chosen = [
            best_of_all(row, 1.0, seed, length - n)
            for row, seed, n in zip(rows, self._seeds, self._n_padding, strict=True)
        ]
        only = torch.full_like(scores, -torch.inf)
        only[torch.arange(len(chosen)), torch.tensor(chosen)] = 0.0
        return only


def continue_plainly(
    model: Any, input_ids: Any, processors: Any, criteria: Any, config: Any, seeds: Sequence[int], model_inputs: Any
) -> Any:
    """Continue all rows of `input_ids` by transformers' loop, with one seed per row if `config` samples.

    Returns
    -------
    tensor of int64, shape (n_rows, length)
        Prompts and outputs, padded at the end.
    """
    if config.do_sample:
        mask = model_inputs.get("attention_mask")
        n_padding = [0] * len(seeds) if mask is None else (mask == 0).sum(1).tolist()
        processors = LogitsProcessorList([*processors, SeededChoice(seeds, n_padding)])
        config = copy.copy(config)
        config.do_sample = False
    return model._sample(  # the method that `generate` calls
        input_ids, logits_processor=processors, stopping_criteria=criteria, generation_config=config, **model_inputs
    )


def seconds_over_plain(model: Any, prompt: torch.Tensor, decode_plainly: Callable[[list[int], int], object]) -> float:
    """Measure how long plain decoding of our own takes, relative to transformers' `generate`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    prompt : tensor of int64, shape (n_tokens,)
    decode_plainly : callable
        Continues prompt tokens by a number of tokens.

    Returns
    -------
    float
        Median ratio of interleaved trials of a few tokens.
    """
    prompt = prompt[-LONGEST_TRIED:]
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    n_tokens = TRIED_TOKENS if longest is None else min(TRIED_TOKENS, longest - len(prompt))
    tokens = prompt.tolist()

    def theirs() -> None:
        ids = prompt[None]
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=n_tokens,
            min_new_tokens=n_tokens,
            do_sample=False,
            pad_token_id=0,
        )

    def ours() -> None:
        decode_plainly(tokens, n_tokens)

    if n_tokens < 1:
        return 1.0
    for call in (theirs, ours):  # first calls allocate and compile
        call()
    return median(_seconds(ours) / _seconds(theirs) for _ in range(TRIALS))


def _seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
