"""Our decoders as entries of the race: plain, chain, tree and staged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from decoders.written import Choosing, Written
from etesian.decode import Decoder, FixedPolicy, ModelDrafter, Sampling, Statistics
from etesian.suite.decoding import DecoderKind, make_decoder

DRAFT = "draft"


class PassClock:
    """Measure the seconds inside all passes of a model."""

    def __init__(self, model: Any) -> None:
        self.seconds = 0.0
        self._run = model.run
        model.run = self._timed

    def _timed(self, *arguments: Any) -> None:
        started = time.perf_counter()
        self._run(*arguments)
        self.seconds += time.perf_counter() - started


class Ours:
    """One of our decoders; all share the same weights.

    Parameters
    ----------
    name
        A decoder of `etesian.suite.decoding`, or ``"chain 5"`` for chains of five draft tokens.
    models
        Folder with target, draft and ngram.npz, or ``"bundled"``.
    clocks
        Clocks of the passes of the target and of the draft model.
    """

    def __init__(self, name: str, models: str, clocks: Mapping[str, PassClock]) -> None:
        kind, _, length = name.partition(" ")
        self.name = name
        self._clocks = clocks
        self._decoder = make_decoder(cast(DecoderKind, kind), models)
        if length:
            self._decoder.policy = FixedPolicy(int(length), int(length))

    def write(self, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
        """Continue a prompt."""
        sampling = Sampling(temperature=1.0 if choosing.top_k else None, top_k=choosing.top_k, seed=choosing.seed)
        before = {name: clock.seconds for name, clock in self._clocks.items()}
        out = self._decoder.generate(prompt, sampling, max_tokens=n_tokens)
        passes = {name: clock.seconds - before[name] for name, clock in self._clocks.items()}
        return Written(list(out.token_ids), out.stats.tokens, out.stats.seconds, _details(out.stats, passes[DRAFT]))


def load_ours(names: list[str], models: str) -> tuple[Decoder, list[Ours]]:
    """Return the plain decoder, for its tokenizer and target, and the requested entries."""
    plain = make_decoder("plain", models)
    drafter = make_decoder("tree", models).drafter
    assert isinstance(drafter, ModelDrafter)
    clocks = {DRAFT: PassClock(drafter.model)}
    return plain, [Ours(name, models, clocks) for name in names]


def _details(stats: Statistics, draft_pass_seconds: float) -> dict[str, Any]:
    """Return tokens per pass, weights read, and seconds by part, with draft passes separate from other draft work."""
    stages = {stage.name: stage.seconds or 0.0 for stage in stats.stages}
    seconds = {
        "target": stats.target_seconds,
        "draft passes": draft_pass_seconds if stages else 0.0,
        "draft, else": max(stages.pop(DRAFT, 0.0) - draft_pass_seconds, 0.0),
        "ngram": sum(stages.values()),
        "verification": stats.verify_seconds,
    }
    return {
        "tokens per pass": stats.mean_accepted_length,
        "draft passes": sum(stage.passes or 0 for stage in stats.stages if stage.name == DRAFT),
        "relative weight bytes": stats.relative_weight_bytes,
        "seconds by part": seconds | {"else": stats.seconds - sum(seconds.values())},
    }
