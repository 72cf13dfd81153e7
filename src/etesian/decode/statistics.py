"""Statistics of a request: tokens, passes, time and acceptance per stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from etesian._shared.stopwatch import Stopwatch
from etesian.decode.drafters.drafter import Drafter, StageWork, work_by_stage
from etesian.decode.tree import TokenTree
from etesian.decode.verify import Verification

TARGET = "target"
"""The origin of tokens that no drafter proposed."""


@dataclass(frozen=True)
class StageStatistics:
    """Statistics of one drafting stage in a request.

    Parameters
    ----------
    name : str
        One of `Drafter.stages`.
    proposed, accepted : int
        Tokens of this stage that the target scored, and that it accepted.
    passes : int or None
        Forward passes of its model; None if the drafter does not count them.
    seconds : float or None
        Time spent in this stage alone; None if the drafter does not measure it.
    """

    name: str
    proposed: int
    accepted: int
    passes: int | None
    seconds: float | None


@dataclass(frozen=True)
class Statistics:
    """Statistics of a request.

    Parameters
    ----------
    tokens, prompt_tokens : int
        Tokens of the output and of the prompt.
    reused_tokens : int
        Prompt tokens that the previous request had read already.
    passes : int
        Forward passes of the target after the prompt was read.
    stages : tuple of StageStatistics
        The drafting stages, innermost first.
    prompt_seconds, seconds : float
        Time to read the prompt, and time after it.
    target_seconds, draft_seconds, verify_seconds : float
        Parts of `seconds`: passes of the target, drafting, and the target's decisions.
    weight_bytes, plain_weight_bytes : int or None
        Bytes of weights read by all passes, and by plain decoding of the same output; None if unknown.
    """

    tokens: int
    prompt_tokens: int
    reused_tokens: int
    passes: int
    stages: tuple[StageStatistics, ...]
    prompt_seconds: float
    seconds: float
    target_seconds: float
    draft_seconds: float
    verify_seconds: float
    weight_bytes: int | None
    plain_weight_bytes: int | None

    @property
    def tokens_per_second(self) -> float:
        """Output tokens per second, excluding the prompt."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def mean_accepted_length(self) -> float:
        """Output tokens per pass of the target; 1 for plain decoding."""
        return self.tokens / self.passes if self.passes else 0.0

    @property
    def other_seconds(self) -> float:
        """Time outside target, drafter and decisions, in seconds."""
        return max(0.0, self.seconds - self.target_seconds - self.draft_seconds - self.verify_seconds)

    @property
    def relative_weight_bytes(self) -> float | None:
        """Bytes of weights read, relative to plain decoding; None if unknown."""
        if self.weight_bytes is None or not self.plain_weight_bytes:
            return None
        return self.weight_bytes / self.plain_weight_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and derived properties as plain values for JSON."""
        derived = ("tokens_per_second", "mean_accepted_length", "other_seconds", "relative_weight_bytes")
        return asdict(self) | {name: getattr(self, name) for name in derived}


class Recorder:
    """Collects the statistics of one request while it runs."""

    def __init__(self, drafter: Drafter | None, weight_bytes: int | None, *, prompt_tokens: int) -> None:
        self._drafter, self._target_bytes = drafter, weight_bytes
        # Stopwatches are entered in every pass; generators as context managers take three times as long.
        self.prompt, self.all, self.target, self.draft, self.verify = (Stopwatch() for _ in range(5))
        self._proposed: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._work_before = work_by_stage(drafter)
        self._prompt_tokens = prompt_tokens
        self.reused_tokens = self.passes = 0

    def count(self, tree: TokenTree, verified: Verification) -> None:
        """Count a pass of the target."""
        self.passes += 1
        if not len(tree):
            return
        self._proposed.update(tree.origins)
        self._accepted.update(tree.origins[node] for node in verified.accepted)

    def statistics(self, tokens: int) -> Statistics:
        """Return the statistics of an output of `tokens` tokens."""
        work = {
            name: _difference(work, self._work_before.get(name)) for name, work in work_by_stage(self._drafter).items()
        }
        known = self._target_bytes is not None
        plain_bytes = (self._target_bytes or 0) * tokens
        read_bytes = (self._target_bytes or 0) * self.passes + sum(stage.weight_bytes for stage in work.values())
        return Statistics(
            tokens=tokens,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self.reused_tokens,
            passes=self.passes,
            stages=tuple(self._stage(name, work.get(name)) for name in self._stages),
            prompt_seconds=self.prompt.seconds,
            seconds=self.all.seconds,
            target_seconds=self.target.seconds,
            draft_seconds=self.draft.seconds,
            verify_seconds=self.verify.seconds,
            weight_bytes=read_bytes if known else None,
            plain_weight_bytes=plain_bytes if known else None,
        )

    @property
    def _stages(self) -> tuple[str, ...]:
        """The drafter's stages, and others that proposed tokens, such as a grammar."""
        known = self._drafter.stages if self._drafter else ()
        return (*known, *sorted(self._proposed.keys() - set(known)))

    def _stage(self, name: str, work: StageWork | None) -> StageStatistics:
        passes, seconds = (work.passes, work.seconds) if work else (None, None)
        return StageStatistics(name, self._proposed[name], self._accepted[name], passes, seconds)


def _difference(now: StageWork, before: StageWork | None) -> StageWork:
    if before is None:
        return now
    return StageWork(now.passes - before.passes, now.seconds - before.seconds, now.weight_bytes - before.weight_bytes)
