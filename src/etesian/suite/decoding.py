"""Four decoders that generate the same text: plain, draft chain, draft tree, and a draft tree with an N-gram.

As in the inference track of DAWNBench (Coleman et al. 2019, section 2), the metric is the time per prediction, here per
token. `etesian bench analyze --price` converts it to a cost.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from etesian.bench import Suite, Target
from etesian.errors import InputError
from etesian.suite.prompts import PROMPTS

if TYPE_CHECKING:
    from etesian.decode import Decoder, Generation, Sampling

DecoderKind = Literal["plain", "chain", "tree", "staged"]
Choosing = Literal["greedy", "sampled"]
BUNDLED = "bundled"
N_TOKENS = 64
CHAIN_LENGTH = 4
"""Length of a draft chain. Leviathan et al. (2023, section 3.5) find drafts of this quality profitable up to about this length."""


def greedy(models: str | os.PathLike[str] = BUNDLED, *, n_tokens: int = N_TOKENS) -> Suite:
    """Compare the decoders with greedy decoding.

    Parameters
    ----------
    models
        ``"bundled"``, or a folder with ``target``, ``draft`` and optionally ``ngram.npz``.
    n_tokens
        Tokens of each output.
    """
    return _suite("decoding", "greedy", models, n_tokens)


def sampled(models: str | os.PathLike[str] = BUNDLED, *, n_tokens: int = N_TOKENS) -> Suite:
    """Compare the decoders with sampling at temperature 0.8 and top-p 0.95; otherwise like `greedy`."""
    return _suite("decoding-sampled", "sampled", models, n_tokens)


def _suite(name: str, choosing: Choosing, models: str | os.PathLike[str], n_tokens: int) -> Suite:
    workloads = [Decoding(kind, choosing, os.fspath(models), n_tokens=n_tokens) for kind in get_args(DecoderKind)]
    return Suite(name, workloads, Target("tokens", len(PROMPTS) * n_tokens), budget_seconds=120)


class Decoding:
    """Continue each of `prompts` by the same number of tokens, one prompt per slice.

    Metrics are `tokens`, those written so far; `tokens_per_pass` of the target; and `fingerprint`, a number made from
    all tokens: two runs with equal fingerprints wrote the same.

    Parameters
    ----------
    kind
        Decoder, and name of the workload.
    choosing
        ``"greedy"`` or ``"sampled"``. The seed of sampling is that of the run.
    models
        ``"bundled"``, or a folder with the same layout.
    n_tokens
        Tokens of each output.
    prompts
    """

    def __init__(
        self,
        kind: DecoderKind,
        choosing: Choosing = "greedy",
        models: str = BUNDLED,
        *,
        n_tokens: int = N_TOKENS,
        prompts: Sequence[str] = PROMPTS,
    ) -> None:
        self.name: str = kind
        self.kind = kind
        self.choosing = choosing
        self.models = models
        self.n_tokens = n_tokens
        self.prompts = tuple(prompts)
        self.units = {"tokens": float(n_tokens)}

    def prepare(self, seed: int) -> None:
        """Load the models, and decode an untimed text that compiles everything and measures costs."""
        self._sampling = sampling_of(self.choosing, seed)
        self._decoder = make_decoder(self.kind, self.models)
        self._generate(f"# {self.prompts[0]}")
        self._outputs: list[Generation] = []

    def advance(self) -> bool:
        """Continue the next prompt."""
        if len(self._outputs) == len(self.prompts):
            return False
        self._outputs.append(self._generate(self.prompts[len(self._outputs)]))
        return True

    def measure(self) -> Mapping[str, float]:
        """Return the number of tokens and passes so far, and the fingerprint of the text."""
        written = [token for output in self._outputs for token in output.token_ids]
        passes = sum(output.stats.passes for output in self._outputs)
        digest = hashlib.sha256(np.array(written, np.int32).tobytes()).digest()
        return {
            "tokens": float(len(written)),
            "tokens_per_pass": len(written) / passes if passes else 0.0,
            "fingerprint": float(int.from_bytes(digest[:6], "big")),  # 48 bits: exact in a float
        }

    def _generate(self, prompt: str) -> Generation:
        is_speculative = self.kind != "plain"
        return self._decoder.generate(prompt, self._sampling, max_tokens=self.n_tokens, speculate=is_speculative)


def sampling_of(choosing: Choosing, seed: int) -> Sampling:
    """Return the sampling parameters of a run."""
    from etesian.decode import GREEDY, Sampling

    return GREEDY if choosing == "greedy" else Sampling(temperature=0.8, top_p=0.95, seed=seed)


def make_decoder(kind: DecoderKind, models: str = BUNDLED) -> Decoder:
    """Return a decoder without end tokens. Weights are loaded once per process; calibration is per decoder.

    Raises
    ------
    InputError
        If the folder lacks a draft, or its N-gram.
    """
    from etesian.decode import Decoder, FixedPolicy
    from etesian.decode.drafters import ModelDrafter
    from etesian.decode.speculation import Speculation, cached_pass_costs

    loaded = _loaded(models)
    if kind == "plain":
        return Decoder(loaded.target, None, loaded.tokenizer)
    staged = loaded.drafter
    if not (isinstance(staged, ModelDrafter) and "ngram" in staged.stages):
        raise InputError(f"models must be a folder with target, draft and ngram.npz; some are missing in {models!r}")
    inner = staged.fresh().inner if kind == "staged" else None
    costs = cached_pass_costs(staged.model)
    if kind == "chain":
        drafter = ModelDrafter(staged.model, costs=costs, n_children=1)
        return Decoder(loaded.target, drafter, loaded.tokenizer, policy=FixedPolicy(CHAIN_LENGTH, CHAIN_LENGTH))
    drafter = ModelDrafter(staged.model, inner, costs=costs)
    return Decoder(loaded.target, drafter, loaded.tokenizer, policy=Speculation(cached_pass_costs(loaded.target)))


@cache
def _loaded(models: str) -> Decoder:
    from etesian.decode import Decoder

    return Decoder.load(models)
