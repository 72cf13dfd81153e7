"""Adaptive policy: trees of the size that maximizes tokens per second, or none where plain decoding is faster.

Gains are counted in plain passes: a step that decides n tokens gains n minus its duration divided by that of a plain pass.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etesian.decode.speculation.costs import PassCosts
from etesian.decode.speculation.policy import NO_DRAFT, DraftBudget
from etesian.decode.tree import TokenTree

PROBING = 0.01  # share of its passes that a request may spend on trying drafts again
SET_ASIDE = 0.01  # share of them that is reserved for the start of later requests
CREDIT = 1.0  # plain passes that a request may lose before any gain: 1 + 0.01 * 64 is 2.6% of 64
FREE_CREDIT, FREE_PROBING = (
    0.5,
    0.005,
)  # credit of drafts without a model once that of all drafts is spent, and its growth per token
MOST_CREDIT = 5.0  # upper bound of credit and debt, in plain passes
ASKING = 0.005  # share of the time for drafts without a model, while other drafts are off
TRIED = 4  # minimum number of nodes while drafts of a model lose, so that an improvement is noticed
CHEAP = 0.05  # plain passes that a draft without a model takes at most; it is tried where its own confidence says so
USUAL = 9  # number of recent drafts whose median is the usual drafting time
ACCIDENT = 3.0  # times the usual drafting time; longer drafts are due to new prompts or other programs
SOONEST, LATEST = 4, 64  # steps between plain passes that refresh their cost; the latter also between trial drafts
FORGETTING = 0.9  # decay of gains per speculative step: about the last ten count


class Speculation:
    """Choose the tree size that maximizes tokens per second, down to no draft where plain decoding is faster.

    Losses are bounded for any drafter. While recent steps lost on balance, further drafts are paid from a credit: a request starts
    with at most `CREDIT` plain passes, reserved or gained by earlier requests, and earns `PROBING` per token. A draft that takes
    far longer than usual counts as `ACCIDENT` times the usual time or one plain pass, so that a single accident does not turn
    useful drafts off; the rest is charged to later requests. Without credit, drafters that need no model are still tried, from a
    credit of their own, so that a text that starts to repeat itself is noticed and a draft model that loses does not silence them.

    Parameters
    ----------
    costs : PassCosts
        Costs of the target's passes, updated by every pass.
    max_nodes, max_depth : int
        Limits of a tree.
    """

    def __init__(self, costs: PassCosts, *, max_nodes: int = 31, max_depth: int = 31) -> None:
        if max_nodes < 1 or max_depth < 1:
            raise ValueError(f"max_nodes and max_depth must be at least 1; got {max_nodes} and {max_depth}")
        self.costs = costs
        self.max_nodes = max_nodes
        self.max_depth = max_depth
        self._recent_gain = 0.0  # plain passes
        self._saved, self._set_aside = CREDIT, 0.0  # for this request, and for later ones
        self._drafting: Literal["off", "free", "full"] = "off"  # in this step; "free" uses no draft model
        self._has_speculated = False  # with a model, in the previous step
        self._free_gain, self._free_seconds, self._since_free, self._free_saved = 0.0, 0.0, 0, FREE_CREDIT
        self._drafts: deque[float] = deque(maxlen=USUAL)  # recent drafting times in seconds
        self._since_plain, self._patience = 0, SOONEST
        self._tokens = self._seconds = 0.0  # of recent speculative steps

    def begin(self) -> None:
        """Start a request: refill its credit, and forget the gains and losses of the previous text."""
        lacking = max(CREDIT - self._saved, 0.0)
        given = min(lacking, self._set_aside)
        self._saved += given
        self._set_aside -= given
        self._recent_gain = self._free_gain = self._tokens = self._seconds = 0.0
        self._has_speculated = False

    def budget(self) -> DraftBudget:
        """Return the limits of the next draft and the decoding rate that draft passes must beat."""
        plain = self.costs.seconds(1)
        if plain == 0:  # the first pass shows what a pass costs
            return NO_DRAFT
        self._drafting = self._chosen(plain)
        if self._drafting == "off":
            return NO_DRAFT
        if self._drafting == "free":
            return DraftBudget(self.max_nodes, self.max_depth, allows_passes=False)
        self._since_plain += 1
        rate = self._tokens / self._seconds if self._seconds > 0 else 0.0
        return DraftBudget(self.max_nodes, self.max_depth, tokens_per_second=max(rate, 1 / plain))

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the most probable nodes, as many as maximize tokens per second including the drafting time.

        The expected number of tokens is 1 plus the sum of the path probabilities.
        """
        likeliest_first = np.sort(tree.path_probabilities.astype(np.float64))[::-1]
        tokens = 1 + np.concatenate([[0.0], np.cumsum(likeliest_first)])
        is_free, plain = self._drafting == "free", self.costs.seconds(1)
        drafting = self._free_seconds if is_free else self._usual_draft()
        seconds = drafting + self.costs.curve(np.arange(1, len(tree) + 2))
        if plain <= 0:
            return tree
        best, least = int(np.argmax(tokens / seconds)), 0
        if self._recent_gain <= 0:
            best = min(best, self._affordable(seconds, plain))
            least = TRIED if not is_free and drafting > CHEAP * plain else 0
        return tree.likeliest(max(best, least))

    def _affordable(self, seconds: NDArray[np.float64], plain: float) -> int:
        """Return the largest tree whose loss, should the target reject it all, the credit covers."""
        limit = plain * (1 + max(self._saved, 0.0) + max(self._free_saved, 0.0))
        return max(int(np.searchsorted(seconds, limit, side="right")) - 1, 0)

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Record a step; see `Policy.observe`."""
        self.costs.observe(rows, seconds)
        plain = self.costs.seconds(1)
        if plain == 0:
            return
        self._saved = min(self._saved + PROBING * tokens, MOST_CREDIT)
        self._set_aside = min(self._set_aside + SET_ASIDE * tokens, MOST_CREDIT)
        self._free_saved = min(self._free_saved + FREE_PROBING * tokens, FREE_CREDIT)
        if self._drafting == "full":
            self._count(tokens, draft_seconds, self.costs.seconds(rows), plain)
        elif self._drafting == "free":
            self._count_free(tokens, draft_seconds, self.costs.seconds(rows), plain)
        elif self._since_plain >= self._patience:
            self._since_plain, self._patience = 0, min(2 * self._patience, LATEST)
        self._has_speculated, self._drafting = self._drafting == "full", "off"

    def _chosen(self, plain: float) -> Literal["off", "free", "full"]:
        if self._recent_gain > 0 or self._saved > 0:
            return "full" if self._since_plain < self._patience else "off"
        self._since_free += 1
        is_due = self._since_free >= LATEST or ASKING * self._since_free * plain > self._free_seconds
        return "free" if self._free_gain > 0 or (is_due and self._free_saved > 0) else "off"

    def _usual_draft(self) -> float:
        """Return the lower median of recent drafting times in seconds; 0 before any."""
        return sorted(self._drafts)[(len(self._drafts) - 1) // 2] if self._drafts else 0.0

    def _count(self, tokens: int, draft_seconds: float, target_seconds: float, plain: float) -> None:
        """Account for a step whose draft could use a model."""
        usual = self._usual_draft()
        drafting = min(draft_seconds, max(ACCIDENT * usual, plain))
        self._saved = min(self._saved + tokens - (drafting + target_seconds) / plain, MOST_CREDIT)
        self._set_aside = max(self._set_aside - (draft_seconds - drafting) / plain, -MOST_CREDIT)
        # After plain steps a draft model reads the tokens it missed, which takes longer than usual.
        if self._has_speculated or not self._drafts:
            self._drafts.append(drafting)
        else:
            drafting = min(drafting, usual)
        spent = drafting + target_seconds
        self._recent_gain = FORGETTING * self._recent_gain + tokens - spent / plain
        self._tokens = FORGETTING * self._tokens + tokens
        self._seconds = FORGETTING * self._seconds + spent

    def _count_free(self, tokens: int, draft_seconds: float, target_seconds: float, plain: float) -> None:
        """Account for a step whose draft used no model."""
        gain = tokens - (draft_seconds + target_seconds) / plain
        self._free_saved += gain
        self._saved = min(self._saved + max(gain, 0.0), MOST_CREDIT)
        self._free_gain = FORGETTING * self._free_gain + gain
        longest = ACCIDENT * self._free_seconds or plain
        self._free_seconds += (min(draft_seconds, longest) - self._free_seconds) / (USUAL if self._free_seconds else 1)
        self._since_free = 0
