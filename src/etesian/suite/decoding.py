"""Four decoders that generate the same text: plain, draft chain, draft tree, and a staged draft tree.

The default target is SmolLM2-135M-Instruct with weights in bfloat16. Its draft model has the same weights in 4 bits, as in the GGUF
file. In the staged decoder, lookup drafts for this copy.

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
from etesian.suite.prompts import PROMPTS, REQUESTS, as_chatml

if TYPE_CHECKING:
    from etesian.decode import Decoder, Generation, Sampling

DecoderKind = Literal["plain", "chain", "tree", "staged"]
Choosing = Literal["greedy", "sampled"]
SMOLLM2 = "smollm2"
N_TOKENS = 64
CHAIN_LENGTH = 4
"""Length of a draft chain. Leviathan et al. (2023, section 3.5) find drafts of this quality profitable up to about this length."""


def greedy(models: str | os.PathLike[str] = SMOLLM2, *, n_tokens: int = N_TOKENS) -> Suite:
    """Compare the decoders with greedy decoding.

    Parameters
    ----------
    models
        ``"smollm2"``, ``"bundled"``, or a folder with ``target``, ``draft`` and optionally ``ngram.npz``.
    n_tokens
        Tokens of each output.
    """
    return _suite("decoding", "greedy", models, n_tokens)


def sampled(models: str | os.PathLike[str] = SMOLLM2, *, n_tokens: int = N_TOKENS) -> Suite:
    """Compare the decoders with sampling at temperature 0.8 and top-p 0.95; otherwise like `greedy`."""
    return _suite("decoding-sampled", "sampled", models, n_tokens)


def _suite(name: str, choosing: Choosing, models: str | os.PathLike[str], n_tokens: int) -> Suite:
    workloads = [Decoding(kind, choosing, os.fspath(models), n_tokens=n_tokens) for kind in get_args(DecoderKind)]
    n_prompts = len(prompts_for(os.fspath(models)))
    return Suite(name, workloads, Target("tokens", n_prompts * n_tokens), budget_seconds=120)


def prompts_for(models: str) -> tuple[str, ...]:
    """Return requests in chat format for SmolLM2, and beginnings of code for other models."""
    return tuple(map(as_chatml, REQUESTS)) if models == SMOLLM2 else PROMPTS


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
        See `greedy`.
    n_tokens
        Tokens of each output.
    prompts
        Default: `prompts_for` the models.
    """

    def __init__(
        self,
        kind: DecoderKind,
        choosing: Choosing = "greedy",
        models: str = SMOLLM2,
        *,
        n_tokens: int = N_TOKENS,
        prompts: Sequence[str] | None = None,
    ) -> None:
        self.name: str = kind
        self.kind = kind
        self.choosing = choosing
        self.models = models
        self.n_tokens = n_tokens
        self.prompts = tuple(prompts_for(models) if prompts is None else prompts)
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


def make_decoder(kind: DecoderKind, models: str = SMOLLM2) -> Decoder:
    """Return a decoder without end tokens. Weights are loaded once per process; calibration is per decoder.

    Raises
    ------
    InputError
        If a model is missing, or a folder has no draft model.
    """
    from etesian.decode import Decoder, FixedPolicy
    from etesian.decode.drafters import ModelDrafter
    from etesian.decode.speculation import Speculation, cached_pass_costs

    loaded = load_models(models)
    if kind == "plain":
        return Decoder(loaded.target, None, loaded.tokenizer)
    staged = loaded.drafter
    if not isinstance(staged, ModelDrafter) or staged.inner is None:
        raise InputError(f"models must be 'smollm2', 'bundled' or a folder with target and draft; got {models!r}")
    inner = staged.fresh().inner if kind == "staged" else None
    costs = cached_pass_costs(staged.model)
    if kind == "chain":
        drafter = ModelDrafter(staged.model, costs=costs, n_children=1)
        return Decoder(loaded.target, drafter, loaded.tokenizer, policy=FixedPolicy(CHAIN_LENGTH, CHAIN_LENGTH))
    drafter = ModelDrafter(staged.model, inner, costs=costs)
    return Decoder(loaded.target, drafter, loaded.tokenizer, policy=Speculation(cached_pass_costs(loaded.target)))


@cache
def load_models(models: str) -> Decoder:
    """Load target, draft model and the drafters of the draft model, once per process."""
    from etesian.decode import Decoder

    return _load_smollm2() if models == SMOLLM2 else Decoder.load(models)


def _load_smollm2() -> Decoder:
    """Load SmolLM2 in bfloat16, drafted for by its 4-bit file, for which lookup drafts in turn."""
    from etesian.decode import Decoder, LoadOptions, LookupDrafter, ModelDrafter
    from etesian.decode.speculation import cached_pass_costs

    target = Decoder.load(SMOLLM2, draft=None, ngram=None, options=LoadOptions(dtype="bf16"))
    copy = Decoder.load(SMOLLM2, draft=None, ngram=None).target
    target.drafter = ModelDrafter(copy, LookupDrafter(), costs=cached_pass_costs(copy))
    return target
