"""Adaptive policy: trees of the size that maximizes tokens per second, or none where plain decoding is faster.

Gains are counted in plain passes: a step that decides n tokens gains n minus its duration divided by that of a plain pass.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import numpy as np
from numba import njit

from etesian.decode.speculation.costs import PassCosts
from etesian.decode.speculation.policy import NO_DRAFT, DraftBudget
from etesian.decode.tree import TokenTree

PROBING = 0.01  # share of its passes that a request may spend on trying drafts again
SET_ASIDE = 0.01  # share of them that is reserved for the start of later requests
CREDIT = 2.5  # plain passes that a request may lose before any gain, as drafts that gain on the whole do now and then
FREE_CREDIT = 0.5  # credit of drafts without a model once that of all drafts is spent
FREE_PROBING = 0.005  # its growth per token
MOST_CREDIT = 3.0  # upper bound of the credit, in plain passes: what a request may lose of earlier gains
MOST_SET_ASIDE = 4.0  # upper bound of what is reserved for later requests, and of their debt
ASKING = 0.005  # share of the time for drafts without a model, while other drafts are off
TRIED = 4  # minimum number of nodes while drafts of a model lose, so that an improvement is noticed
CHEAP = 0.05  # plain passes that a draft without a model takes at most; it is tried where its own confidence says so
TYPICAL = 7  # nodes of a tree from which the cost of one is taken
USUAL = 9  # number of recent drafts whose median is the usual drafting time
ACCIDENT = 3.0  # times the usual drafting time; longer drafts are due to new prompts or other programs
SOONEST, LATEST = 4, 64  # steps between plain passes that refresh their cost; the latter also between trial drafts
FORGETTING = 0.9  # decay of gains per speculative step: about the last ten count


class Speculation:
    """Choose the tree size that maximizes tokens per second, down to no draft where plain decoding is faster.

    Losses are bounded for any drafter. While recent steps lost on balance, further drafts are paid from a credit: a request starts
    with at most `CREDIT` plain passes, reserved or gained by earlier requests, and earns `PROBING` per token. A draft that takes
    far longer than usual counts as `ACCIDENT` times the usual time or one plain pass, so that a single accident does not turn
    useful drafts off, and the first draft of a request, for which a draft model reads the prompt, as the usual time; the rest is
    charged to later requests. Without credit, drafters that need no model are still tried, from a
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
        self._reads_prompt = False  # in the next draft with a model
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
        self._has_speculated, self._reads_prompt = False, True

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
        node_seconds = (self.costs.seconds(1 + TYPICAL) - plain) / TYPICAL
        return DraftBudget(
            self.max_nodes, self.max_depth, tokens_per_second=max(rate, 1 / plain), node_seconds=node_seconds
        )

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the most probable nodes, as many as maximize tokens per second including the drafting time.

        The expected number of tokens is 1 plus the sum of the path probabilities. While recent steps lost, the credit must cover
        the loss should the target reject the whole tree.
        """
        is_free, plain = self._drafting == "free", self.costs.seconds(1)
        drafting = self._free_seconds if is_free else self._usual_draft()
        if plain <= 0:
            return tree
        may_lose = self._recent_gain <= 0
        limit = plain * (1 + max(self._saved, 0.0) + max(self._free_saved, 0.0)) if may_lose else np.inf
        best = _best_size(tree.path_probabilities, *self.costs.arrays(), drafting, limit)
        is_tried = may_lose and not is_free and drafting > CHEAP * plain
        return tree.likeliest(max(best, TRIED if is_tried else 0))

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Record a step; see `Policy.observe`."""
        self.costs.observe(rows, seconds)
        plain = self.costs.seconds(1)
        if plain == 0:
            return
        self._saved = min(self._saved + PROBING * tokens, MOST_CREDIT)
        self._set_aside = min(self._set_aside + SET_ASIDE * tokens, MOST_SET_ASIDE)
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
        if self._reads_prompt and self._drafts:
            drafting = min(drafting, usual)
        self._reads_prompt = False
        self._saved = min(self._saved + tokens - (drafting + target_seconds) / plain, MOST_CREDIT)
        self._set_aside = max(self._set_aside - (draft_seconds - drafting) / plain, -MOST_SET_ASIDE)
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


@njit(nogil=True, cache=True)
def _best_size(chances: Any, rows: Any, seconds: Any, drafting: Any, limit: Any) -> int:
    """Return the number of nodes with the most tokens per second among those whose pass ends before `limit`.

    The cost of a pass is interpolated between `rows`, and proportional to the rows beyond; see `PassCosts`.
    """
    likeliest_first = np.sort(chances)[::-1]
    tokens, best, highest, place = 1.0, 0, 0.0, 0
    for n_nodes in range(len(chances) + 1):
        if n_nodes > 0:
            tokens += likeliest_first[n_nodes - 1]
        while place + 2 < len(rows) and rows[place + 1] <= n_nodes + 1:
            place += 1
        cost = seconds[place]
        if n_nodes + 1 >= rows[-1]:
            cost = seconds[-1] * (n_nodes + 1) / rows[-1]
        elif n_nodes + 1 > rows[place]:
            share = (n_nodes + 1 - rows[place]) / (rows[place + 1] - rows[place])
            cost += share * (seconds[place + 1] - cost)
        if n_nodes > 0 and drafting + cost > limit:
            break
        if tokens / (drafting + cost) > highest:
            best, highest = n_nodes, tokens / (drafting + cost)
    return best
