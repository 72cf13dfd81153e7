"""What a request cost and where its tokens came from. Reads no clock but the one that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from etesian._shared.stopwatch import Stopwatch
from etesian.decode.drafters.drafter import Drafter, StageWork
from etesian.decode.tree import TokenTree
from etesian.decode.verify import Walk

TARGET = "target"
"""The origin of tokens that no drafter proposed."""


@dataclass(frozen=True)
class StageStatistics:
    """One stage's part in a request.

    Parameters
    ----------
    name
        As `Drafter.stages` has it.
    proposed, accepted
        Tokens of its own that the target scored, and that it took.
    passes, seconds
        Passes of its model and the time in this stage alone; None where the drafter does not tell.
    """

    name: str
    proposed: int
    accepted: int
    passes: int | None
    seconds: float | None


@dataclass(frozen=True)
class Statistics:
    """What a request cost.

    Parameters
    ----------
    tokens, prompt_tokens, reused_tokens
        Tokens of the output, of the prompt, and of the prompt that the model had read for the request before.
    passes
        Passes of the target after the prompt was read.
    rechecked
        Passes of one row that a close decision asked for.
    stages
        The drafter's, the innermost first.
    prompt_seconds, seconds
        Reading the prompt; everything after it.
    target_seconds, draft_seconds, verify_seconds
        Of `seconds`: passes of the target, the drafter with all its stages, the target's decisions.
    weight_bytes, plain_weight_bytes
        Bytes of weights read by all passes, and by as many passes of the target as there are tokens; None where not told.
    """

    tokens: int
    prompt_tokens: int
    reused_tokens: int
    passes: int
    rechecked: int
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
        """Tokens of the output by the seconds after the prompt was read."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def mean_accepted_length(self) -> float:
        """Tokens for each pass of the target; 1 for plain decoding."""
        return self.tokens / self.passes if self.passes else 0.0

    @property
    def other_seconds(self) -> float:
        """Seconds in no model, drafter or decision."""
        return max(0.0, self.seconds - self.target_seconds - self.draft_seconds - self.verify_seconds)

    @property
    def relative_weight_bytes(self) -> float | None:
        """Bytes of weights read, as a share of plain decoding's."""
        if self.weight_bytes is None or not self.plain_weight_bytes:
            return None
        return self.weight_bytes / self.plain_weight_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return everything, what is derived included, as plain values for JSON."""
        derived = ("tokens_per_second", "mean_accepted_length", "other_seconds", "relative_weight_bytes")
        return asdict(self) | {name: getattr(self, name) for name in derived}


class Recorder:
    """Collects the statistics of one request while it runs."""

    def __init__(self, drafter: Drafter | None, weight_bytes: int | None, *, prompt_tokens: int) -> None:
        self._drafter, self._target_bytes = drafter, weight_bytes
        # Objects of their own, for they are entered in every pass: a generator as context manager takes three times as long.
        self.prompt, self.all, self.target, self.draft, self.verify = (Stopwatch() for _ in range(5))
        self._proposed: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._work_before = _work_of(drafter)
        self._prompt_tokens = prompt_tokens
        self.reused_tokens = self.passes = self._rechecked = 0

    def count(self, tree: TokenTree, taken: Walk) -> None:
        """Count a pass of the target."""
        self.passes += 1
        self._rechecked += taken.is_unsure
        if not len(tree):
            return
        self._proposed.update(tree.origins)
        self._accepted.update(tree.origins[node] for node in taken.accepted)

    def statistics(self, tokens: int) -> Statistics:
        """Return what was collected, for so many tokens of output."""
        work = {name: _difference(work, self._work_before.get(name)) for name, work in _work_of(self._drafter).items()}
        known = self._target_bytes is not None
        plain_bytes = (self._target_bytes or 0) * tokens
        read_bytes = (self._target_bytes or 0) * self.passes + sum(stage.weight_bytes for stage in work.values())
        return Statistics(
            tokens=tokens,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self.reused_tokens,
            passes=self.passes,
            rechecked=self._rechecked,
            stages=tuple(self._stage(name, work.get(name)) for name in (self._drafter.stages if self._drafter else ())),
            prompt_seconds=self.prompt.seconds,
            seconds=self.all.seconds,
            target_seconds=self.target.seconds,
            draft_seconds=self.draft.seconds,
            verify_seconds=self.verify.seconds,
            weight_bytes=read_bytes if known else None,
            plain_weight_bytes=plain_bytes if known else None,
        )

    def _stage(self, name: str, work: StageWork | None) -> StageStatistics:
        passes, seconds = (work.passes, work.seconds) if work else (None, None)
        return StageStatistics(name, self._proposed[name], self._accepted[name], passes, seconds)


def _work_of(drafter: Drafter | None) -> Mapping[str, StageWork]:
    tell = getattr(drafter, "stage_statistics", dict)
    work: Mapping[str, StageWork] = tell()
    return dict(work)


def _difference(now: StageWork, before: StageWork | None) -> StageWork:
    if before is None:
        return now
    return StageWork(now.passes - before.passes, now.seconds - before.seconds, now.weight_bytes - before.weight_bytes)
