from __future__ import annotations

import zipfile

import numpy as np
import pytest
from drafting import check_tree, request_of, walk
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters.katz import KatzTrigram
from etesian.decode.drafters.ngram import NgramDrafter, build_ngram
from etesian.decode.drafters.ngram_table import NgramTable
from etesian.decode.drafters.samples import sample_texts
from etesian.decode.models.table import TableModel
from etesian.decode.sampling import Chooser, Sampling
from etesian.errors import InputError

VOCABULARY = 8
texts = st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=3, max_size=40), min_size=1, max_size=5)
samplings = st.sampled_from([Sampling(), Sampling(temperature=1.0, seed=3), Sampling(temperature=0.05, seed=4)])


@given(texts=texts, count=st.integers(1, 8))
def test_the_table_holds_the_likeliest_of_the_whole_conditional(texts, count):
    trigram = KatzTrigram.count(texts, VOCABULARY)
    table = NgramTable.reduce(trigram, max_successors=count, min_probability=0.0)
    frequent = trigram.trigrams.contexts[trigram.trigrams.counts >= 2]
    assert table.contexts.tolist() == frequent.tolist()
    for context in frequent:
        first, second = divmod(int(context), VOCABULARY)
        whole = trigram.probabilities(first, second)
        tokens, probabilities = table.successors(first, second)
        expected = np.sort(whole[whole > 1e-7])[::-1][:count]
        assert probabilities == pytest.approx(expected, rel=1e-3)  # half precision
        assert whole[tokens] == pytest.approx(probabilities, rel=1e-3)


@given(texts=texts)
def test_a_pair_that_is_not_kept_is_drafted_for_from_its_last_token(texts):
    trigram = KatzTrigram.count(texts, VOCABULARY)
    table = NgramTable.reduce(trigram, max_contexts=0, max_successors=3, min_probability=0.0)
    for second in range(VOCABULARY):
        whole = trigram.bigrams.over(trigram.unigrams, second)
        expected = np.sort(whole[whole > 1e-7])[::-1][:3]
        assert table.successors(0, second)[1] == pytest.approx(expected, rel=1e-3)


@given(texts=texts, text=st.lists(st.integers(0, VOCABULARY + 1), max_size=5), max_nodes=st.integers(0, 20),
       max_depth=st.integers(0, 6), sampling=samplings)  # fmt: skip
def test_every_proposal_is_a_tree_within_its_limits(texts, text, max_nodes, max_depth, sampling):
    drafter = NgramDrafter.count(texts, VOCABULARY)
    request = request_of(text, sampling=sampling, max_nodes=max_nodes, max_depth=max_depth)
    tree = drafter.propose(request)
    check_tree(tree, max_nodes=max_nodes, max_depth=max_depth, vocabulary_size=VOCABULARY)
    assert bool(len(tree)) == bool(max_nodes and max_depth)
    assert (np.diff(tree.path_probabilities) <= 1e-6).all()  # the likeliest first


def best_paths(drafter, text, *, max_nodes, max_depth):
    """All paths from the table and their chances, by looking at every one."""
    found = []

    def look(path, chance):
        first, second = (*text, *path)[-2:]
        for token, probability in zip(*drafter.table.successors(first, second), strict=True):
            longer = (*path, int(token))
            found.append((chance * float(probability), longer))
            if len(longer) < max_depth:
                look(longer, chance * float(probability))

    look((), 1.0)
    return sorted(found, key=lambda each: -each[0])[:max_nodes]


@given(texts=texts, max_nodes=st.integers(1, 12))
def test_the_tree_holds_the_paths_of_highest_probability(texts, max_nodes):
    drafter = NgramDrafter.count(texts, VOCABULARY, max_successors=3)
    tree = drafter.propose(request_of(texts[0], max_nodes=max_nodes, max_depth=3))
    expected = best_paths(drafter, texts[0], max_nodes=max_nodes, max_depth=3)
    # confidences go through a table of chances, which interpolates: 0.4% off at most
    assert tree.path_probabilities == pytest.approx([chance for chance, _ in expected], abs=0.015)


def test_a_saved_table_gives_the_same_trees(tmp_path):
    rng = np.random.default_rng(0)
    drafter = NgramDrafter.count(rng.integers(0, VOCABULARY, (20, 50)), VOCABULARY, temperature=1.5)
    drafter.save(tmp_path / "ngram.npz")
    loaded = NgramDrafter.load(tmp_path / "ngram.npz")
    assert loaded.table.temperature == 1.5
    for sampling in (Sampling(), Sampling(temperature=0.8, seed=1)):
        request = request_of([1, 2, 3], sampling=sampling)
        before, after = drafter.propose(request), loaded.propose(request)
        assert before.tokens.tolist() == after.tokens.tolist()
        assert before.probabilities.tolist() == after.probabilities.tolist()
    assert [file.name for file in tmp_path.iterdir()] == ["ngram.npz"]


def test_what_is_no_table_is_refused(tmp_path):
    file = tmp_path / "ngram.npz"
    with pytest.raises(InputError, match="cannot be read"):
        NgramDrafter.load(file)
    file.write_bytes(b"no zip file")
    with pytest.raises(InputError, match=r"not a usable N-gram table"):
        NgramDrafter.load(file)
    np.savez(file, tokens=np.array([1]))
    with pytest.raises(InputError, match=r"not a usable N-gram table"):
        NgramDrafter.load(file)
    with pytest.raises(InputError, match="cannot be written"):
        NgramDrafter.count([[0, 1, 0, 1]], 2).save(tmp_path / "missing" / "ngram.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", np.int64(99)),
        ("tokens", np.array([7], np.uint16)),
        ("contexts", np.array([9, 3], np.uint32)),
        ("lengths", np.array([1.5])),
        ("temperature", np.float64("nan")),
        ("probabilities", np.array([2.0], np.float16)),
        ("contexts", np.array([{}], object)),
    ],
)
def test_a_file_with_one_wrong_array_is_refused(tmp_path, name, value):
    file = tmp_path / "ngram.npz"
    NgramDrafter.count([[0, 1, 0, 1]], 2).save(file)
    with np.load(file) as archive:
        arrays = {**archive, name: value}
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=r"ngram\.npz is not a usable N-gram table"):
        NgramDrafter.load(file)


@given(data=st.data())
def test_a_damaged_file_is_refused_or_gives_trees(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("damaged") / "ngram.npz"
    NgramDrafter.count([[0, 1, 0, 1, 2]], 3).save(file)
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        drafter = NgramDrafter.load(file)
    except InputError:
        return
    tree = drafter.propose(request_of([0, 1]))
    check_tree(tree, max_nodes=16, max_depth=8, vocabulary_size=drafter.table.vocabulary_size)


def accepted_with(drafter, model, sampling, *, with_noise, n=200):
    """Of `n` proposals of one node, how many the target chooses."""
    total = 0
    for seed in range(n):
        chosen = Sampling(temperature=sampling.temperature, seed=seed)
        text = np.array([seed % VOCABULARY, (seed // VOCABULARY) % VOCABULARY], np.int32)
        context = model.context()
        context.extend(text[:-1])
        target = Chooser(chosen, VOCABULARY, 0).choose(context.score(text[-1:], [-1]).logits[0], text).token
        tree = drafter.propose(request_of(text, sampling=chosen if with_noise else Sampling(), max_nodes=1))
        total += int(tree.tokens[0]) == target
    return total


def test_the_targets_noise_makes_the_trigram_agree_more_often():
    model = TableModel(VOCABULARY, order=2, scale=1.0, seed=5)
    drafter = build_ngram(model, n_tokens=20_000, starts=[[token] for token in range(VOCABULARY)], length=250)
    blind = accepted_with(drafter, model, Sampling(temperature=1.0), with_noise=False)
    sighted = accepted_with(drafter, model, Sampling(temperature=1.0), with_noise=True)
    assert sighted > blind + 30
    assert sighted > 120


def test_a_trigram_counted_from_samples_finds_what_the_model_finds_likely():
    # the table's own logits, at temperature 1.5, are what the trigram estimates: 20,000 tokens over 64 contexts
    model = TableModel(VOCABULARY, order=2, scale=1.0, seed=5)
    drafter = build_ngram(model, n_tokens=20_000, starts=[[token] for token in range(VOCABULARY)], length=250, seed=1)
    for first, second in ((0, 1), (3, 3), (7, 2)):
        logits = model.logits_of([first, second]) / 1.5
        exact = np.exp(logits) / np.exp(logits).sum()
        tokens, probabilities = drafter.table.successors(first, second)
        # about 300 samples of each pair: a standard error of 0.03 at most
        assert probabilities == pytest.approx(exact[tokens], abs=0.1)


def test_samples_are_the_seeds_and_as_many_as_asked_for():
    model = TableModel(VOCABULARY, seed=5)
    told = []

    def sampled(seed):
        options = {"n_tokens": 250, "starts": [[1, 2], [3]], "temperature": 1.0, "length": 10}
        return [text.tolist() for text in sample_texts(model, seed=seed, progress=told.append, **options)]

    assert sampled(0) == sampled(0) != sampled(1)
    assert {tuple(text[:1]) for text in sampled(0)} == {(1,), (3,)}
    assert sum(map(len, sampled(0))) == pytest.approx(250 + 25 * 2, abs=30)
    assert told[-1] == 250


def test_acceptance_is_learned():
    drafter = NgramDrafter.count([[0, 1, 2, 3] * 20], VOCABULARY)
    request = request_of([0, 1], max_nodes=3, max_depth=3)
    confident = drafter.propose(request)
    assert confident.tokens.tolist() == [2, 3, 0]
    for _ in range(300):
        tree = drafter.propose(request)
        drafter.observe(tree, walk(tree, lambda path: 5))  # the target never agrees
    assert drafter.propose(request).probabilities[0] < 0.1 < confident.probabilities[0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"temperature": 0.0}, "temperature"), ({"max_successors": 0}, "max_successors must be from 1 to 255")],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(InputError, match=complaint):
        NgramDrafter.count([[0, 1, 2]], 3, **options)


@pytest.mark.parametrize("options", [{"starts": []}, {"starts": [[]]}, {"n_tokens": 0}, {"temperature": 0.0}])
def test_samples_that_cannot_be_drawn_are_refused(options):
    given_options = {"n_tokens": 10, "starts": [[0]], **options}
    with pytest.raises(InputError):
        build_ngram(TableModel(4), **given_options)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("{'descr': '<i4', 'fortran_order': False, 'shape': (", "not a usable N-gram table"),  # never closed
        ("{'descr': '<i4', 'fortran_order': False, 'shape': (10000000000,), }", "does not match its 8 bytes"),
    ],
    ids=["unclosed", "endless"],
)
def test_damaged_arrays_are_refused_before_memory_is_allocated(tmp_path, header, reason):
    whole, damaged = tmp_path / "whole.npz", tmp_path / "damaged.npz"
    NgramDrafter.count([[1, 2, 3, 1, 2]], 5).save(whole)
    text = (header + " " * (-(len(header) + 11) % 64) + "\n").encode()
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\x00" * 8
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            target.writestr(name, array if name == "tokens.npy" else source.read(name))
    with pytest.raises(InputError, match=reason):
        NgramDrafter.load(damaged)
