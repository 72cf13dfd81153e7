"""How much speculation pays at this moment: how large a tree, and whether any. Knows no model; costs come from `costs.py`.

Gains are counted in plain passes: a step that decides n tokens gains n, less what it took over what a plain pass takes.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from etesian.decode.costs import PassCosts
from etesian.decode.tree import TokenTree

PROBING = 0.02  # share of the time that may be lost in trying whether drafts pay by now
CREDIT = 2.0  # plain passes that may be lost before anything was gained
MOST_CREDIT = 10.0  # plain passes that are saved up for trying
TRIED = 4  # nodes that are scored while drafts did not pay, or it would never be seen that they do by now
USUAL = 9  # drafts whose median is what drafting usually takes
ACCIDENT = 3.0  # times what drafting usually takes: what is longer was warm-up, a new prompt or another program, and tells little
SOONEST, LATEST = (
    4,
    64,
)  # steps between plain ones among those that speculate: at first it is doubtful what a plain one takes
FORGETTING = 0.9  # of gains, in each step that speculates: about the last ten count


class Speculation:
    """As many rows as bring the most tokens per second, down to none where plain decoding is faster.

    Losing is bounded: while recent steps lost on the whole, further ones are tried only from what is saved up for it, `PROBING`
    of the time and `CREDIT` passes in the beginning, whatever the drafter proposes. A draft that takes far longer than usual is
    counted as `ACCIDENT` times the usual, or a plain pass, so that it does not switch off for long what pays as a rule.

    Parameters
    ----------
    costs
        Of the target's passes; learns from every one.
    max_nodes, max_depth
        Limits of a tree, beyond which it is not worth looking.
    """

    def __init__(self, costs: PassCosts, *, max_nodes: int = 31, max_depth: int = 16) -> None:
        if max_nodes < 1 or max_depth < 1:
            raise ValueError(f"max_nodes and max_depth must be at least 1; got {max_nodes} and {max_depth}")
        self.costs = costs
        self.max_nodes = max_nodes
        self.max_depth = max_depth
        self._recent_gain = 0.0  # plain passes
        self._saved = CREDIT
        self._is_speculating = False
        self._drafts: deque[float] = deque(maxlen=USUAL)  # seconds of the latest
        self._since_plain, self._patience = 0, SOONEST
        self._tokens = self._seconds = 0.0  # of recent steps that speculated

    def budget(self) -> tuple[int, int, float]:
        """Return limits of the next tree, and the tokens per second that a draft's passes have to compete with."""
        plain = self.costs.seconds(1)
        pays = self._recent_gain > 0 or self._saved > 0
        self._is_speculating = plain > 0 and pays and self._since_plain < self._patience
        if plain == 0:  # the first pass of all shows what a pass costs
            return 0, 0, 0.0
        if not self._is_speculating:
            return 0, 0, 1 / plain
        self._since_plain += 1
        rate = self._tokens / self._seconds if self._seconds > 0 else 0.0
        return self.max_nodes, self.max_depth, max(rate, 1 / plain)

    def trim(self, tree: TokenTree) -> TokenTree:
        """Keep as many of the likeliest nodes as bring the most tokens per second, drafting included.

        The expected number of tokens is 1, the target's own, and the sum of the path probabilities.
        """
        likeliest_first = np.sort(tree.path_probabilities.astype(np.float64))[::-1]
        tokens = 1 + np.concatenate([[0.0], np.cumsum(likeliest_first)])
        seconds = self._usual_draft() + self.costs.curve(np.arange(1, len(tree) + 2))
        if seconds[0] <= 0:
            return tree
        return tree.likeliest(max(int(np.argmax(tokens / seconds)), 0 if self._recent_gain > 0 else TRIED))

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
        self._saved += PROBING * tokens
        if self._is_speculating:
            drafting = min(draft_seconds, max(ACCIDENT * self._usual_draft(), plain))
            self._drafts.append(draft_seconds)
            self._count(tokens, drafting + self.costs.seconds(rows), plain)
        elif self._since_plain >= self._patience:
            self._since_plain, self._patience = 0, min(2 * self._patience, LATEST)
        self._saved = min(self._saved, MOST_CREDIT)
        self._is_speculating = False

    def _usual_draft(self) -> float:
        """Median of the seconds of recent drafts, the lower of two middle ones; 0 before any."""
        return sorted(self._drafts)[(len(self._drafts) - 1) // 2] if self._drafts else 0.0

    def _count(self, tokens: int, spent: float, plain: float) -> None:
        """Add a step that speculated to what is known of recent ones."""
        gain = tokens - spent / plain
        self._recent_gain = FORGETTING * self._recent_gain + gain
        self._saved += gain
        self._tokens = FORGETTING * self._tokens + tokens
        self._seconds = FORGETTING * self._seconds + spent
