from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drafting import check_tree, request_of, trees, walk
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.models.table import TableModel
from etesian.decode.sampling import GREEDY, Chooser, Sampling
from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError

VOCABULARY = 8
FREE = None  # no limit on draft passes
SAMPLED = Sampling(temperature=1.0, seed=3)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)


class Fixed:
    """Proposes one tree always, and remembers what it was asked and told."""

    stages = ("fixed",)

    def __init__(self, tree):
        self.tree = TokenTree(tree.tokens, tree.parents, tree.probabilities, ("fixed",) * len(tree))
        self.texts, self.told = [], []

    def propose(self, request):
        self.texts.append(request.text.tolist())
        return self.tree.within(request.max_depth, VOCABULARY).likeliest(request.max_nodes)

    def observe(self, tree, accepted):
        self.told.append((tree, list(accepted)))


class Counted(TableModel):
    """Notes the rows of each pass; "extend" reads without logits. `is_broken` makes passes fail midway."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.passes, self.is_broken = [], False

    def context(self):
        context = super().context()
        score, extend = context.score, context.extend

        def noted(tokens, parents):
            logits = score(tokens, parents)
            if self.is_broken:
                raise KeyboardInterrupt
            self.passes.append((len(tokens), list(parents)))
            return logits

        def noted_extend(tokens):
            self.passes.append(("extend", len(tokens)))
            extend(tokens)

        context.score, context.extend = noted, noted_extend
        return context


def costs_of(seconds):
    costs = PassCosts([1, 16], [seconds, seconds])
    costs.observe = lambda n_rows, seconds: None  # no clock
    return costs


def drafter_of(model=None, inner=None, *, seconds=1.0, **options):
    return ModelDrafter(model or Counted(VOCABULARY, scale=3.0, seed=1), inner, costs=costs_of(seconds), **options)


def check_reading(drafter, text, sampling):
    """Law B3: what the model has read and ranked is what a fresh context says."""
    reading = drafter._reading
    kept = reading.text.tolist()
    assert kept == reading.context.tokens == list(text)[: len(kept)]
    chooser = Chooser(sampling, VOCABULARY, 0)
    for slot in range(reading.n_slots):
        if reading.ranked[slot, 0] < 0:
            continue
        path, node = [], slot - 1
        while node != ROOT:
            path.append(int(reading.tokens[node + 1]))
            node = int(reading.parents[node + 1])
        fresh = drafter.model.context()
        whole = kept + path[::-1]
        fresh.extend(whole[:-1])
        logits = fresh.score(np.array(whole[-1:]), np.array([ROOT])).logits
        tokens, confidences = chooser.rank(logits, np.array([len(whole)]), reading.ranked.shape[1])
        assert reading.ranked[slot].tolist() == tokens[0].tolist()
        assert reading.confidences[slot] == pytest.approx(confidences[0], abs=1e-6)


@given(history=st.lists(texts, min_size=1, max_size=4), tree=trees(vocabulary_size=VOCABULARY), sampled=st.booleans(),
       limits=st.tuples(st.integers(0, 12), st.integers(0, 6)), worth=st.sampled_from([FREE, 0.1, 5.0]))  # fmt: skip
def test_after_any_history_trees_are_valid_and_what_was_read_is_what_a_fresh_context_reads(
    history, tree, sampled, limits, worth
):
    sampling = SAMPLED if sampled else GREEDY
    drafter = drafter_of(inner=Fixed(tree))
    max_nodes, max_depth = limits
    for start in history:
        text, chooser = start, None
        for _ in range(3):  # a request goes on by what was taken and a token that was not
            request = request_of(
                text, sampling=sampling, max_nodes=max_nodes, max_depth=max_depth, tokens_per_second=worth
            )
            request = request if chooser is None else _with_chooser(request, chooser)
            chooser = request.chooser
            proposal = drafter.propose(request)
            check_tree(proposal, max_nodes=max_nodes, max_depth=max_depth, vocabulary_size=VOCABULARY)
            assert set(proposal.origins) <= {"fixed", "draft"}
            if max_nodes and max_depth:
                assert len(proposal)
                check_reading(drafter, text, sampling)
            accepted = walk(proposal, lambda path: 3 if not path else 5)
            drafter.observe(proposal, accepted)
            text = [*text, *proposal.tokens[accepted].tolist(), len(text) % VOCABULARY]


def _with_chooser(request, chooser):
    return replace(request, chooser=chooser)


def greedy_from(model, text, n_tokens):
    text = list(text)
    for _ in range(n_tokens):
        text.append(int(np.argmax(model.logits_of(text))))
    return text[-n_tokens:]


def test_a_drafter_equal_to_the_target_is_accepted_whole():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    drafter = drafter_of(model)
    tree = drafter.propose(request_of([2, 5], max_nodes=40, max_depth=6, tokens_per_second=FREE))
    accepted = walk(tree, lambda path: int(np.argmax(model.logits_of([2, 5, *path]))))
    assert tree.tokens[accepted].tolist() == greedy_from(model, [2, 5], 6)


def test_the_targets_noise_makes_an_equal_drafter_right_about_samples_too():
    model = Counted(VOCABULARY, scale=1.0, seed=1)
    text = [1, 2, 3]
    tree = drafter_of(model).propose(
        request_of(text, sampling=SAMPLED, max_nodes=40, max_depth=5, tokens_per_second=FREE)
    )
    target = Chooser(SAMPLED, VOCABULARY, 0)

    def decide(path):
        whole = np.array([*text, *path], np.int32)
        return target.choose(model.logits_of(whole.tolist()), whole).token

    assert len(walk(tree, decide)) == 5


def test_missing_tokens_and_the_inner_drafters_tree_are_read_in_one_pass():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    inner = Fixed(TokenTree.chain(greedy_from(model, [1, 2, 3], 3), [0.9] * 3, "fixed"))
    drafter = drafter_of(model, inner)
    drafter.propose(request_of([1, 2, 3], max_depth=4, tokens_per_second=1e-6))
    assert model.passes[0] == (6, [-1, 0, 1, 2, 3, 4])


def test_a_long_prompt_is_read_without_logits_first():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    drafter_of(model).propose(request_of(list(range(8)) * 10, max_depth=1))
    assert model.passes == [("extend", 79), (1, [-1])]


def test_accepted_nodes_are_kept_and_not_read_again():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    text = [1, 2, 3]
    inner = Fixed(TokenTree.chain(greedy_from(model, text, 3), [0.9] * 3, "fixed"))
    drafter = drafter_of(model, inner)
    request = request_of(text, max_depth=4, tokens_per_second=1e-6)
    drafter.propose(request)
    model.passes.clear()
    inner.tree = TokenTree.empty()
    drafter.propose(_with_chooser(request_of([*text, *greedy_from(model, text, 2), 7], max_depth=1), request.chooser))
    assert model.passes == [(1, [-1])]  # the token that the target chose otherwise


def test_a_text_that_ends_with_a_node_that_was_read_costs_no_pass():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    path = greedy_from(model, [1, 2, 3], 2)
    drafter = drafter_of(model, Fixed(TokenTree.chain(path, [0.9] * 2, "fixed")))
    request = request_of([1, 2, 3], max_depth=4, tokens_per_second=1e-6)
    drafter.propose(request)
    model.passes.clear()
    drafter.propose(_with_chooser(request_of([1, 2, 3, *path], max_depth=1), request.chooser))
    assert model.passes == []


def test_leaves_cost_no_pass():
    model = Counted(VOCABULARY, scale=1.0, seed=1)
    tree = drafter_of(model).propose(request_of([1, 2, 3], max_nodes=4, max_depth=1))
    assert len(tree) == 4
    assert model.passes == [(3, [-1, 0, 1])]


@pytest.mark.parametrize(("worth", "n_passes"), [(1e3, 1), (FREE, 8)])
def test_passes_are_made_while_they_pay(worth, n_passes):
    model = Counted(VOCABULARY, scale=8.0, seed=1)  # nearly certain of everything
    tree = drafter_of(model).propose(request_of([1, 2, 3], max_nodes=8, max_depth=8, tokens_per_second=worth))
    assert len(model.passes) == n_passes
    assert tree.depths.max() == n_passes


def test_an_inner_drafter_that_is_right_saves_passes():
    model = Counted(VOCABULARY, scale=8.0, seed=1)
    text = [1, 2, 3]
    inner = Fixed(TokenTree.chain(greedy_from(model, text, 7), [0.95] * 7, "fixed"))
    tree = drafter_of(model, inner, seconds=0.01).propose(
        request_of(text, max_nodes=8, max_depth=8, tokens_per_second=1.0)
    )
    assert tree.depths.max() == 8
    assert len(model.passes) == 1
    assert tree.origins.count("fixed") == 7


def test_where_the_inner_drafter_is_sure_the_model_is_not_asked():
    inner = Fixed(TokenTree.chain([1, 2, 3, 4, 5, 6, 7, 1], [0.995] * 8, "fixed"))
    drafter = drafter_of(inner=inner)
    tree = drafter.propose(request_of([1, 2, 3], max_nodes=8, max_depth=8, tokens_per_second=1.0))
    assert drafter.model.passes == []
    assert tree.tokens.tolist() == inner.tree.tokens.tolist()
    drafter.observe(tree, [0, 1])  # by the target
    assert [accepted for _, accepted in inner.told] == [[0, 1]]


@pytest.mark.parametrize(
    ("length", "chance", "worth"),
    [(7, 0.995, 1.0), (8, 0.9, 1.0), (8, 0.995, FREE)],
    ids=["not far enough", "not sure enough", "a pass costs nothing"],
)
def test_where_it_is_not_the_model_reads_what_it_says(length, chance, worth):
    inner = Fixed(TokenTree.chain([1, 2, 3, 4, 5, 6, 7, 1][:length], [chance] * length, "fixed"))
    drafter = drafter_of(inner=inner)
    tree = drafter.propose(request_of([1, 2, 3], max_nodes=8, max_depth=8, tokens_per_second=worth))
    assert drafter.model.passes
    assert inner.told  # by the model
    told = len(inner.told)
    drafter.observe(tree, [])
    assert len(inner.told) == told


def test_where_no_pass_is_to_be_made_the_inner_drafters_tree_is_all():
    inner = Fixed(TokenTree.chain([1, 2], [0.1, 0.1], "fixed"))
    nested = drafter_of(inner=drafter_of(inner=inner, name="small"), name="large")
    for drafter in (drafter_of(inner=inner), nested):
        tree = drafter.propose(request_of([1, 2, 3], allows_passes=False))
        assert tree.tokens.tolist() == [1, 2]
        assert drafter.model.passes == []
    assert nested.inner.model.passes == []
    assert len(drafter_of().propose(request_of([1, 2, 3], allows_passes=False))) == 0


def test_after_a_text_that_it_was_not_asked_about_the_model_reads_what_it_missed():
    inner = Fixed(TokenTree.chain([1, 2, 3, 4, 5, 6, 7, 1], [0.999] * 8, "fixed"))
    drafter = drafter_of(inner=inner)
    chooser = request_of([1]).chooser
    n_read = []
    for length, tree in ((3, TokenTree.empty()), (30, inner.tree), (60, TokenTree.empty())):
        inner.tree, text = tree, ([1, 2, 3] * 20)[:length]
        drafter.model.passes.clear()
        drafter.propose(_with_chooser(request_of(text, max_nodes=9, tokens_per_second=1.0), chooser))
        n_read.append([rows for rows, _ in drafter.model.passes])
        check_reading(drafter, text, GREEDY)
    assert n_read == [[3], [], ["extend", 1]]


def test_the_inner_drafter_goes_on_below_the_best_leaf():
    model = Counted(VOCABULARY, scale=8.0, seed=1)
    inner = Fixed(TokenTree.empty())
    drafter_of(model, inner).propose(request_of([2, 5], max_nodes=4, max_depth=4, tokens_per_second=FREE))
    truth = greedy_from(model, [2, 5], 2)
    assert inner.texts[:3] == [[2, 5], [2, 5, *truth[:1]], [2, 5, *truth]]


def test_the_inner_drafter_is_told_what_the_model_itself_would_have_taken():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    right = greedy_from(model, [2, 5], 4)
    assert len(set(right)) == 4  # a text that repeats itself would hide a token that is looked up in the wrong place
    wrong = (right[3] + 1) % VOCABULARY
    inner = Fixed(TokenTree.chain([*right[:3], wrong], [1.0] * 4, "fixed"))
    drafter_of(model, inner).propose(request_of([2, 5], max_depth=5, tokens_per_second=1e-6))
    told, accepted = inner.told[0]
    assert told.tokens.tolist() == [*right[:3], wrong]
    assert accepted == [0, 1, 2]


def test_where_no_further_pass_could_pay_the_inner_drafter_is_not_asked_again():
    inner = Fixed(TokenTree.empty())
    drafter_of(inner=inner).propose(request_of([1, 2, 3], tokens_per_second=1e3))
    assert inner.texts == [[1, 2, 3]]


def test_what_the_model_finds_unlikely_is_not_proposed():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    unlikely = int(np.argmin(model.logits_of([1, 2, 3])))
    inner = Fixed(TokenTree.chain([unlikely], [1.0], "fixed"))
    tree = drafter_of(model, inner).propose(request_of([1, 2, 3], max_depth=2, tokens_per_second=FREE))
    assert unlikely not in tree.children[ROOT]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_three_stages_work_together(sampling):
    target = TableModel(VOCABULARY, scale=3.0, seed=1)
    rng = np.random.default_rng(0)
    stages = NgramDrafter.count([greedy_from(target, rng.integers(0, 8, 2), 40) for _ in range(20)], VOCABULARY)
    inner = drafter_of(Counted(VOCABULARY, scale=3.0, seed=1), stages, name="small", seconds=0.01)
    drafter = drafter_of(Counted(VOCABULARY, scale=3.0, seed=1), inner, name="large", seconds=0.1)
    text, n_passes, request = [1, 2, 3], 0, None
    chooser = Chooser(sampling, VOCABULARY, 0)
    while len(text) < 80:
        request = _with_chooser(
            request_of(text, sampling=sampling, max_nodes=12, max_depth=6, tokens_per_second=1.0), chooser
        )
        tree = drafter.propose(request)
        check_tree(tree, max_nodes=12, max_depth=6, vocabulary_size=VOCABULARY)

        def decide(path, before=tuple(text)):
            whole = np.array([*before, *path], np.int32)
            return chooser.choose(target.logits_of(whole.tolist()), whole).token

        accepted = walk(tree, decide)
        drafter.observe(tree, accepted)
        path = tree.tokens[accepted].tolist()
        text += [*path, decide(path)]
        n_passes += 1
    assert drafter.stages == ("ngram", "small", "large")
    assert drafter.stage_statistics().keys() == {"ngram", "small", "large"}
    assert 77 / n_passes > 3
    for reader in (drafter, inner):
        assert reader._reading.text.tolist() == reader._reading.context.tokens


@given(tree=trees(vocabulary_size=VOCABULARY), text=texts)
def test_a_model_that_takes_no_trees_is_given_chains(tree, text):
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    model.supports_trees = False
    drafter = drafter_of(model, Fixed(tree))
    drafter.propose(request_of(text, max_nodes=8, max_depth=5, tokens_per_second=FREE))
    n_nodes = 0
    for rows, parents in model.passes:
        if rows != "extend":
            assert parents == list(range(n_nodes - 1, n_nodes - 1 + rows))
            n_nodes += rows


@pytest.mark.parametrize("length", [9, 10, 11, 30])
def test_a_model_of_short_texts_drafts_as_far_as_it_reads(length):
    drafter = drafter_of(Counted(VOCABULARY, scale=8.0, seed=1, max_length=10))
    tree = drafter.propose(request_of([1] * length, max_depth=5, tokens_per_second=FREE))
    assert bool(len(tree)) == (length < 10)
    assert len(drafter.propose(request_of([1] * 4, max_depth=3)))


def test_tokens_that_the_model_does_not_know_are_not_read():
    drafter = drafter_of()
    assert len(drafter.propose(request_of([1, VOCABULARY, 2], vocabulary_size=VOCABULARY + 2))) == 0
    assert len(drafter.propose(request_of([1, 2], vocabulary_size=VOCABULARY + 2)))


def test_a_pass_that_fails_midway_leaves_nothing_half_read():
    drafter = drafter_of()
    drafter.propose(request_of([1, 2, 3]))
    drafter.model.is_broken = True
    with pytest.raises(KeyboardInterrupt):
        drafter.propose(request_of([1, 2, 3, 4]))
    drafter.model.is_broken = False
    drafter.propose(request_of([1, 2, 3, 5], tokens_per_second=FREE))
    check_reading(drafter, [1, 2, 3, 5], GREEDY)


def test_acceptance_is_learned():
    drafter = drafter_of()
    request = request_of([1, 2, 3], max_nodes=2, max_depth=1)
    before = drafter.propose(request).probabilities[0]
    for _ in range(300):
        tree = drafter.propose(request)
        drafter.observe(tree, [])
    assert drafter.propose(request).probabilities[0] < 0.1 < before


def test_work_is_told_by_stage():
    model = Counted(VOCABULARY, scale=3.0, seed=1)
    drafter = ModelDrafter(model, LookupDrafter(min_match=1))
    for text in ([1, 2, 1], [1, 2, 1, 2, 3]):
        drafter.propose(request_of(text))
    work = drafter.stage_statistics()
    assert work["draft"].passes == len(model.passes)
    assert work["draft"].weight_bytes == len(model.passes) * model.weight_bytes
    assert work["lookup"].passes >= 2
    assert work["draft"].seconds > 0


def test_options_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="name must differ from those of the inner stages, draft; got 'draft'"):
        ModelDrafter(TableModel(4), LookupDrafter(name="draft"))
    with pytest.raises(ValueError, match="at least 1"):
        ModelDrafter(TableModel(4), n_children=0)
