"""How much speculation pays at this moment: how large a tree, and whether any. Knows no model; costs come from `costs.py`.

Gains are counted in plain passes: a step that decides n tokens gains n, less what it took over what a plain pass takes.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from etesian.decode.speculation.costs import PassCosts
from etesian.decode.speculation.policy import NO_DRAFT, DraftBudget
from etesian.decode.tree import TokenTree

PROBING = 0.01  # share of its passes that a request may lose in trying whether drafts pay by now
SET_ASIDE = 0.01  # share of them that is kept for the beginnings of requests after it
CREDIT = 1.0  # plain passes that a request may lose before anything was gained: 1 + 0.01 * 64 are 2.6% of 64
OVERDRAFT = 0.5  # plain passes that may be owed while drafts are asked for that take no pass of a model
MOST_CREDIT = 5.0  # plain passes that are saved up for trying; and the most that is owed
ASKING = 0.005  # share of the time for drafts that take no pass of a model, while others do not pay
TRIED = 4  # nodes that are scored while drafts did not pay, or it would never be seen that they do by now
USUAL = 9  # drafts whose median is what drafting usually takes
ACCIDENT = 3.0  # times what drafting usually takes: what is longer was a new prompt or another program
SOONEST, LATEST = 4, 64  # steps until a plain pass is measured among others, the latter also until drafts are asked for
FORGETTING = 0.9  # of gains, in each step that speculates: about the last ten count


class Speculation:
    """As many rows as bring the most tokens per second, down to none where plain decoding is faster.

    Losing is bounded, whatever the drafter proposes: while recent steps lost on the whole, further ones are tried only from what
    is saved up for it. A request begins with at most `CREDIT` passes, however the last one ended, and may lose `PROBING` of its
    own; what it begins with was set aside by the requests before it, or won by them. A draft that takes far longer than usual
    counts as `ACCIDENT` times the usual, or a plain pass, so that it does not switch off what pays as a rule; the rest of its
    time is taken from what later requests may begin with. While nothing is left to try with, drafts that take no pass of a draft
    model are still asked for: a text that begins to repeat itself is seen soon.

    Parameters
    ----------
    costs
        Of the target's passes; learns from every one.
    max_nodes, max_depth
        Limits of a tree, beyond which it is not worth looking.
    """

    def __init__(self, costs: PassCosts, *, max_nodes: int = 31, max_depth: int = 31) -> None:
        if max_nodes < 1 or max_depth < 1:
            raise ValueError(f"max_nodes and max_depth must be at least 1; got {max_nodes} and {max_depth}")
        self.costs = costs
        self.max_nodes = max_nodes
        self.max_depth = max_depth
        self._recent_gain = 0.0  # plain passes
        self._saved, self._set_aside = CREDIT, 0.0  # for this request, and for those after it
        self._drafting: Literal["off", "free", "full"] = "off"  # in this step; "free" takes no pass of a draft model
        self._has_speculated = False  # in full, in the step before
        self._free_gain, self._free_seconds, self._since_free = 0.0, 0.0, 0
        self._drafts: deque[float] = deque(maxlen=USUAL)  # seconds of the latest
        self._since_plain, self._patience = 0, SOONEST
        self._tokens = self._seconds = 0.0  # of recent steps that speculated

    def begin(self) -> None:
        """Start a request: give it credit, and forget what another text lost."""
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
        """Keep as many of the likeliest nodes as bring the most tokens per second, drafting included.

        The expected number of tokens is 1, the target's own, and the sum of the path probabilities.
        """
        likeliest_first = np.sort(tree.path_probabilities.astype(np.float64))[::-1]
        tokens = 1 + np.concatenate([[0.0], np.cumsum(likeliest_first)])
        is_free = self._drafting == "free"
        drafting = self._free_seconds if is_free else self._usual_draft()
        seconds = drafting + self.costs.curve(np.arange(1, len(tree) + 2))
        if seconds[0] <= 0:
            return tree
        return tree.likeliest(max(int(np.argmax(tokens / seconds)), 0 if is_free or self._recent_gain > 0 else TRIED))

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Learn from a step.

        Parameters
        ----------
        rows
            Of the target's pass: 1 and the nodes of the tree.
        seconds
            Of that pass.
        tokens
            Decided by it; 0 where a close decision has to be made again.
        draft_seconds
            Spent before it on the draft.
        """
        self.costs.observe(rows, seconds)
        plain = self.costs.seconds(1)
        if plain == 0:
            return
        self._saved = min(self._saved + PROBING * tokens, MOST_CREDIT)
        self._set_aside = min(self._set_aside + SET_ASIDE * tokens, MOST_CREDIT)
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
        return "free" if self._free_gain > 0 or (is_due and self._saved > -OVERDRAFT) else "off"

    def _usual_draft(self) -> float:
        """Median of the seconds of recent drafts, the lower of two middle ones; 0 before any."""
        return sorted(self._drafts)[(len(self._drafts) - 1) // 2] if self._drafts else 0.0

    def _count(self, tokens: int, draft_seconds: float, target_seconds: float, plain: float) -> None:
        """Add a step that speculated to what is saved, and to what is known of recent ones."""
        usual = self._usual_draft()
        drafting = min(draft_seconds, max(ACCIDENT * usual, plain))
        self._saved = min(self._saved + tokens - (drafting + target_seconds) / plain, MOST_CREDIT)
        self._set_aside = max(self._set_aside - (draft_seconds - drafting) / plain, -MOST_CREDIT)
        # After plain steps a draft model has their tokens to read, which it would not if drafts were made all the time.
        if self._has_speculated or not self._drafts:
            self._drafts.append(drafting)
        else:
            drafting = min(drafting, usual)
        spent = drafting + target_seconds
        self._recent_gain = FORGETTING * self._recent_gain + tokens - spent / plain
        self._tokens = FORGETTING * self._tokens + tokens
        self._seconds = FORGETTING * self._seconds + spent

    def _count_free(self, tokens: int, draft_seconds: float, target_seconds: float, plain: float) -> None:
        """Add a step whose drafts took no pass of a model to what is saved, and to what is known of such steps."""
        gain = tokens - (draft_seconds + target_seconds) / plain
        self._saved = min(self._saved + gain, MOST_CREDIT)
        self._free_gain = FORGETTING * self._free_gain + gain
        longest = ACCIDENT * self._free_seconds or plain
        self._free_seconds += (min(draft_seconds, longest) - self._free_seconds) / (USUAL if self._free_seconds else 1)
        self._since_free = 0
