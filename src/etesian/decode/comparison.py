"""Compare speculative with plain decoding of the same request: speed-up and equality of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from etesian.decode.decoder import Decoder
from etesian.decode.generation import Generation
from etesian.decode.request import Prompt
from etesian.decode.sampling import Sampling
from etesian.errors import InputError

ROUNDS = 5
"""Number of timed rounds, after one warm-up round."""


@dataclass(frozen=True)
class Comparison:
    """Outputs of the same request, decoded alternately with drafts and plainly.

    Parameters
    ----------
    plain, speculative : sequence of Generation
        One output per round.
    """

    plain: Sequence[Generation]
    speculative: Sequence[Generation]

    @property
    def is_identical(self) -> bool:
        """Return True if all outputs have the same tokens and finish reason."""
        outputs = {(each.token_ids, each.finish_reason) for each in (*self.plain, *self.speculative)}
        return len(outputs) == 1

    @property
    def speedups(self) -> list[float]:
        """Ratio of tokens per second to plain decoding in each round, ascending."""
        pairs = zip(self.plain, self.speculative, strict=True)
        return sorted(fast.stats.tokens_per_second / plain.stats.tokens_per_second for plain, fast in pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return the results as plain values for JSON."""
        return {
            "is_identical": self.is_identical,
            "speedup": median(self.speedups),
            "speedups": self.speedups,
            "plain_tokens_per_second": _median_rate(self.plain),
            "tokens_per_second": _median_rate(self.speculative),
        }

    def __str__(self) -> str:
        found, speedups = self.as_dict(), self.speedups
        return (
            f"{found['speedup']:.2f} times as fast as plain decoding ({speedups[0]:.2f} to {speedups[-1]:.2f} in {len(speedups)} "
            f"rounds): {found['tokens_per_second']:.1f} tokens/s, plain {found['plain_tokens_per_second']:.1f}; "
            f"{'the text is identical' if self.is_identical else 'THE TEXTS DIFFER'}"
        )


def compare_with_plain(
    decoder: Decoder, prompt: Prompt, sampling: Sampling, *, max_tokens: int, rounds: int = ROUNDS
) -> Comparison:
    """Decode a request alternately with drafts and plainly.

    Raises
    ------
    InputError
        If the output is empty.
    """

    def decode(speculate: bool) -> Generation:
        return decoder.generate(prompt, sampling, max_tokens=max_tokens, speculate=speculate)

    outputs: dict[bool, list[Generation]] = {True: [], False: []}
    for number in range(rounds + 1):
        for speculate in (True, False) if number % 2 else (False, True):
            outputs[speculate].append(decode(speculate))
    if not outputs[True][0].token_ids:
        raise InputError("a comparison needs at least one output token, but the output of this request is empty")
    return Comparison(plain=outputs[False][1:], speculative=outputs[True][1:])


def _median_rate(outputs: Sequence[Generation]) -> float:
    return median(each.stats.tokens_per_second for each in outputs)
