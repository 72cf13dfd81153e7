"""Policies on made-up costs: time is what the costs say, no clock is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.speculation.adaptive import (
    CREDIT,
    FREE_CREDIT,
    FREE_PROBING,
    LATEST,
    MOST_CREDIT,
    PROBING,
    TRIED,
    Speculation,
)
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.speculation.policy import NO_DRAFT, DraftBudget
from etesian.decode.tree import TokenTree

FLAT = PassCosts([1, 16, 32, 64], [1.0, 1.1, 1.35, 2.0])  # measured on a machine with wide rows
STEEP = PassCosts([1, 2, 4, 8, 16, 32, 64], [1.0, 1.2, 1.7, 2.2, 3.0, 4.8, 8.6])  # and on one without


def copied(costs):
    rows = np.array([1, 2, 4, 8, 16, 32, 64])
    return PassCosts(rows.tolist(), costs.curve(rows).tolist())


class Decoding:
    """Decodes by a policy: `drafted(step)` gives a tree and its seconds, `accepted(step)` how many of its tokens are taken."""

    def __init__(self, true_costs, policy):
        self.costs, self.policy = true_costs, policy
        self.tokens, self.seconds, self.asked, self.largest_loss = 0, 0.0, 0, 0.0

    def advance(self, tree, draft_seconds, accepted):
        max_nodes = self.policy.budget().max_nodes
        rows, tokens, drafting = 1, 1, 0.0
        if max_nodes:
            self.asked += 1
            kept = self.policy.trim(tree)
            rows, drafting = 1 + len(kept), draft_seconds
            tokens = 1 + min(accepted, len(kept))
        seconds = self.costs.seconds(rows)
        self.policy.observe(rows, seconds, tokens, drafting)
        self.largest_loss = max(self.largest_loss, (drafting + seconds) / self.costs.seconds(1) - tokens)
        self.tokens += tokens
        self.seconds += drafting + seconds

    def request(self, n_tokens, *drafted):
        """Decode a request of so many tokens; returns its slowdown alone."""
        self.policy.begin()
        tokens, seconds = self.tokens, self.seconds
        while self.tokens < tokens + n_tokens:
            self.advance(*drafted)
        return (self.seconds - seconds) / ((self.tokens - tokens) * self.costs.seconds(1))

    @property
    def slowdown(self):
        return self.seconds / (self.tokens * self.costs.seconds(1))


def chain(n_nodes, chance):
    return TokenTree.chain(list(range(n_nodes)), [chance] * n_nodes, "drawn")


@pytest.mark.parametrize("costs", [FLAT, STEEP])
@pytest.mark.parametrize("draft_seconds", [0.0001, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("claimed", [0.02, 0.5, 0.99])
def test_a_useless_drafter_costs_two_percent_at_most(costs, draft_seconds, claimed):
    decoding = Decoding(costs, Speculation(copied(costs)))
    while decoding.tokens < 2_000:
        decoding.advance(chain(16, claimed), draft_seconds, 0)
    assert 1.0 < decoding.slowdown < 1.02
    assert decoding.asked > 5  # it is still tried now and then


@pytest.mark.parametrize("costs", [FLAT, STEEP])
@pytest.mark.parametrize("draft_seconds", [0.0001, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("n_tokens", [8, 64, 200])
def test_a_useless_drafter_costs_many_requests_three_percent_on_the_whole(costs, draft_seconds, n_tokens):
    decoding = Decoding(costs, Speculation(copied(costs)))
    while decoding.tokens < 4_000:
        asked = decoding.asked
        slowdown = decoding.request(n_tokens, chain(16, 0.5), draft_seconds, 0)
        if n_tokens >= 64 and draft_seconds < 1:
            allowed = CREDIT + FREE_CREDIT + (PROBING + FREE_PROBING) * n_tokens + decoding.largest_loss
            assert slowdown < 1 + allowed / n_tokens
            assert decoding.asked > asked  # each begins with another try
    assert decoding.slowdown < 1.03


@pytest.mark.parametrize("costs", [FLAT, STEEP])
def test_a_request_wins_back_what_the_one_before_it_switched_off(costs):
    decoding = Decoding(costs, Speculation(copied(costs)))
    for _ in range(3):
        decoding.request(200, chain(16, 0.5), 0.1, 0)
    asked, n_tokens = decoding.asked, decoding.tokens
    assert decoding.request(64, chain(16, 0.8), 0.1, 3) < 1
    assert decoding.asked - asked > (decoding.tokens - n_tokens) / 8  # most of its steps, of up to four tokens each


def test_what_another_text_lost_does_not_outweigh_what_this_one_gains():
    decoding = Decoding(STEEP, Speculation(copied(STEEP)))
    decoding.request(300, chain(16, 0.5), 0.3, 0)
    decoding.policy.begin()
    decoding.advance(chain(16, 0.8), 0.3, 3)
    decoding.policy._saved = 0.0
    assert decoding.policy.budget().max_nodes > 0


def test_a_text_that_begins_to_repeat_itself_is_seen_while_nothing_is_left_to_try_with():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    policy = decoding.policy
    while decoding.tokens < 200:  # a draft model that is never right, for which nothing drafts
        is_free = policy._saved <= 0 >= policy._recent_gain
        decoding.advance(chain(0 if is_free else 16, 0.5), 0.005 if is_free else 2.0, 0)
    policy._saved = -0.4
    n_plain = 0
    while n_plain < 20 and not (limits := policy.budget()).max_nodes:
        policy.observe(1, 1.0, 1, 0.0)
        n_plain += 1
    assert n_plain < 5
    assert not limits.allows_passes  # only drafters without a model are asked
    policy.observe(9, FLAT.seconds(9), 9, 0.005)
    assert policy.budget().max_nodes > 0


def test_a_draft_model_that_loses_does_not_silence_drafts_without_a_model():
    policy = Speculation(copied(STEEP))
    policy.begin()
    policy.budget()
    while policy._saved > 0:
        policy.observe(1 + TRIED, STEEP.seconds(1 + TRIED), 1, 5.0)  # a draft model took five plain passes for nothing
        policy.budget()
    assert policy._saved < -0.5
    n_plain = 0
    while not (limits := policy.budget()).max_nodes and n_plain < LATEST:
        policy.observe(1, 1.0, 1, 0.0)
        n_plain += 1
    assert n_plain < LATEST
    assert not limits.allows_passes
    assert len(policy.trim(chain(4, 0.95))) > 0


def test_what_takes_no_pass_is_asked_for_seldom_where_it_is_dear_and_not_at_all_on_debts():
    asked = []
    for seconds, saved in ((0.005, 0.5), (0.05, 0.5), (1.0, 0.5), (0.005, -10.0)):
        policy = Speculation(copied(FLAT))
        policy._saved, policy._free_seconds, n_asked = -0.1, seconds, 0
        for _ in range(100):
            policy._saved, policy._free_saved = -0.1, saved
            n_asked += policy.budget().max_nodes > 0
            policy.observe(1, 1.0, 1, seconds if policy._drafting == "free" else 0.0)
        asked.append(n_asked)
    assert asked == [
        50,
        9,
        1,
        0,
    ]  # half a percent of the time, or every 64th: every second step, every eleventh, one of 100


def test_a_request_may_lose_what_those_before_it_won_up_to_a_bound():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    decoding.request(2_000, chain(16, 0.8), 0.1, 3)
    n_tokens = 500
    slowdown = decoding.request(n_tokens, chain(16, 0.8), 0.1, 0)
    credit = MOST_CREDIT + FREE_CREDIT
    assert slowdown < 1 + PROBING + FREE_PROBING + (credit + 2 * decoding.largest_loss) / n_tokens


@pytest.mark.parametrize("draft_seconds", [0.02, 0.1])
def test_a_chat_loses_little_after_texts_with_gains(draft_seconds):
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    decoding.request(500, chain(16, 0.8), draft_seconds, 3)
    losses = [decoding.request(128, chain(16, 0.8), draft_seconds, 0) for _ in range(4)]
    assert max(losses) < 1.045
    assert max(losses[1:]) < 1.04


def test_prompts_that_a_useless_draft_model_reads_are_paid_for_by_later_requests():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    for _ in range(100):
        decoding.policy.begin()
        asked = decoding.asked
        for _ in range(64):  # the first draft of a request reads its prompt
            decoding.advance(chain(16, 0.5), 4.0 if decoding.asked == asked else 0.1, 0)
    assert decoding.slowdown < 1.03 + 5.0 / decoding.tokens


def test_reading_the_prompt_does_not_use_up_the_credit_of_a_request():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    decoding.request(200, chain(16, 0.8), 0.1, 0)
    decoding.policy.begin()
    before = decoding.asked
    decoding.advance(chain(4, 0.8), 1.5, 0)  # reads the prompt, and no token is accepted
    decoding.advance(chain(4, 0.8), 0.1, 3)
    assert decoding.asked == before + 2


def test_a_first_draft_that_took_long_is_not_what_drafting_usually_takes():
    policy = Speculation(copied(STEEP))
    policy.begin()
    policy.budget()
    policy.observe(2, 1.2, 2, 60.0)
    policy._recent_gain = 1.0
    # if a draft took 60 plain passes, the largest tree would be the best one: here one node of 0.9 is, then 0.1 each
    tree = TokenTree(
        np.arange(20, dtype=np.int32), np.full(20, -1, np.int32), np.array([0.9] + [0.1] * 19, np.float32), ("d",) * 20
    )
    assert len(policy.trim(tree)) == 1


def test_what_a_draft_model_reads_after_plain_steps_does_not_count_against_drafting():
    gains = []
    for seconds in (0.2, 0.9):
        decoding = Decoding(FLAT, Speculation(copied(FLAT)))
        for _ in range(4):  # then comes a plain step
            decoding.advance(chain(4, 0.8), 0.2, 2)
        decoding.advance(chain(4, 0.8), 0.2, 2)
        decoding.advance(chain(4, 0.8), seconds, 2)
        gains.append(decoding.policy._recent_gain)
    assert gains[0] == pytest.approx(gains[1])


def test_a_drafter_that_is_worth_it_is_asked_but_for_a_plain_step_now_and_then():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    for _ in range(500):
        decoding.advance(chain(16, 0.8), 0.3, 3)
    # plain after 4, 8, 16, 32 and 64 steps that speculate, then after every 64
    assert decoding.asked == 500 - 5 - (500 - (4 + 8 + 16 + 32 + 64) - 5) // 65


def test_costs_that_were_measured_wrong_are_found_out():
    # a plain pass takes half of what was measured, so two tokens a step do not pay for the draft
    truth = PassCosts([1, 4, 8, 16], [0.5, 0.9, 1.0, 1.1])
    decoding = Decoding(truth, Speculation(PassCosts([1, 4, 8, 16], [1.0, 1.0, 1.0, 1.1])))
    for _ in range(1_000):
        decoding.advance(chain(16, 0.4), 0.4, 1)
    decoding.tokens, decoding.seconds = 0, 0.0
    for _ in range(1_000):
        decoding.advance(chain(16, 0.4), 0.4, 1)
    assert decoding.slowdown < 1.03


def test_a_drafter_that_becomes_worth_it_is_found_out():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    for _ in range(1_000):
        decoding.advance(chain(16, 0.05), 0.3, 0)
    before = decoding.asked
    for _ in range(300):
        decoding.advance(chain(16, 0.05), 0.3, 4)
    assert decoding.asked - before > 200


def test_a_prompt_that_takes_the_draft_model_long_to_read_does_not_switch_it_off():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    for step in range(100):
        decoding.advance(chain(16, 0.8), 4.0 if step == 0 else 0.2, 3)
    assert decoding.asked > 75


def test_accidents_do_not_switch_off_what_pays_as_a_rule():
    decoding = Decoding(FLAT, Speculation(copied(FLAT)))
    for step in range(300):  # warm-up, and now and then another program
        decoding.advance(chain(16, 0.8), 500.0 if step == 0 else 30.0 if step % 20 == 10 else 0.2, 3)
    assert decoding.asked > 250


@given(
    draws=st.lists(st.tuples(st.integers(0, 16), st.integers(0, 6)), max_size=200),
    draft_seconds=st.floats(0.001, 3.0),
    is_spiteful=st.booleans(),  # good only while its tokens are not counted on
)
def test_losses_are_bounded_whatever_is_proposed(draws, draft_seconds, is_spiteful):
    decoding = Decoding(STEEP, Speculation(copied(STEEP)))
    for n_nodes, accepted in draws:
        wanted = 0 if is_spiteful and decoding.policy._recent_gain > 0 else accepted
        decoding.advance(chain(n_nodes, 0.7), draft_seconds, wanted)
    lost = decoding.seconds - decoding.tokens
    first = max(draft_seconds - 1.0, 0.0)  # what the first draft takes over a plain pass is left to later requests
    credit = CREDIT + FREE_CREDIT + (PROBING + FREE_PROBING) * decoding.tokens
    assert lost <= credit + 2 * decoding.largest_loss + first + 1e-6


@given(chances=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12), draft_seconds=st.floats(0, 1))
def test_as_many_rows_are_kept_as_bring_the_most_tokens_per_second(chances, draft_seconds):
    tree = TokenTree(
        np.arange(len(chances), dtype=np.int32), np.full(len(chances), -1, np.int32), np.array(chances, np.float32),
        ("drawn",) * len(chances),
    )  # fmt: skip
    policy = Speculation(copied(STEEP))
    policy._recent_gain = 1.0
    policy._drafts.append(draft_seconds)
    best = sorted(chances, reverse=True)
    rates = [(1 + sum(best[:n])) / (draft_seconds + STEEP.seconds(n + 1)) for n in range(len(best) + 1)]
    assert rates[len(policy.trim(tree))] == pytest.approx(max(rates), rel=1e-6)


def test_dear_rows_give_small_trees_and_cheap_rows_large_ones():
    bush = TokenTree(
        np.arange(31, dtype=np.int32), np.full(31, -1, np.int32), np.full(31, 0.03, np.float32), ("d",) * 31
    )
    sizes = []
    for costs in (FLAT, STEEP):
        policy = Speculation(copied(costs))
        policy._recent_gain = 1.0
        sizes.append(len(policy.trim(bush)))
    assert sizes == [31, 0]


def test_a_first_tree_loses_no_more_than_the_credit_covers():
    policy = Speculation(copied(STEEP))
    policy.begin()
    policy.budget()
    kept = policy.trim(chain(31, 0.999))
    assert 1 < len(kept) < 31
    assert STEEP.seconds(1 + len(kept)) <= 1 + CREDIT + FREE_CREDIT < STEEP.seconds(2 + len(kept))
    policy.observe(1 + len(kept), STEEP.seconds(1 + len(kept)), 1 + len(kept), 0.0)
    policy.budget()
    assert len(policy.trim(chain(31, 0.999))) == 31


def test_an_unlikely_draft_without_a_model_is_not_verified():
    policy = Speculation(copied(STEEP))
    policy.begin()
    policy.budget()
    assert len(policy.trim(chain(8, 0.1))) == 0
    policy.observe(1, 1.0, 1, 0.5)  # drafting took as long as that of a model
    policy.budget()
    assert len(policy.trim(chain(8, 0.1))) == TRIED


def test_before_any_pass_nothing_is_drafted():
    policy = Speculation(PassCosts.unmeasured())
    assert policy.budget() == NO_DRAFT
    policy.observe(1, 0.5, 1, 0.0)
    assert policy.budget() == DraftBudget(31, 31, tokens_per_second=pytest.approx(2.0))


def test_a_second_is_worth_what_recent_steps_made_of_it():
    policy = Speculation(copied(FLAT))
    assert policy.budget().tokens_per_second == pytest.approx(1.0)
    for _ in range(100):
        policy.budget()
        policy.observe(16, 1.1, 4, 0.4)
    assert policy.budget().tokens_per_second == pytest.approx(4 / 1.5)


@pytest.mark.parametrize("limits", [{"max_nodes": 0}, {"max_depth": 0}])
def test_limits_of_nothing_are_refused(limits):
    with pytest.raises(ValueError, match="at least 1"):
        Speculation(FLAT, **limits)
