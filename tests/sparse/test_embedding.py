import numpy as np
import pytest

from etesian.sparse import SGD, WordEmbedding, WordPairs, Workers, count_cooccurrences, minimize

TOPICS, WORDS_A_TOPIC = 8, 12


def sentences(n=4_000, seed=0):
    """Each is about one topic, with one word of another here and there."""
    rng = np.random.default_rng(seed)
    for topic in rng.integers(0, TOPICS, n):
        topics = np.where(rng.random(8) < 0.9, topic, rng.integers(0, TOPICS, 8))
        yield [f"{t}-{word}" for t, word in zip(topics, rng.integers(0, WORDS_A_TOPIC, 8), strict=True)]


def fitted(**options):
    asked = {"n_dimensions": 10, "max_iter": 60, "schedule": "serial", "random_state": 0, "tol": None} | options
    return WordEmbedding(**asked).fit(sentences())


def test_words_of_one_topic_are_nearest_to_one_another():
    model = fitted()
    for word in model.words_:
        same = [near.split("-")[0] == word.split("-")[0] for near, _ in model.most_similar(word, n=5)]
        assert all(same), word


def test_log_counts_are_recovered_where_the_model_can_hold_them():
    # Counts made from vectors and a shift: the objective must go to about 0.
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((40, 2))
    left, right = np.triu_indices(40, 1)
    norm = ((vectors[left] + vectors[right]) ** 2).sum(axis=1)
    problem = WordPairs(left, right, np.exp(norm + 0.5), 40, 4, max_weight=1.0, dtype=np.float64)
    result = minimize(problem, method=SGD(0.01), n_jobs=1, max_iter=3_000, tol=None, random_state=0)
    variance = np.var(np.log(problem.count))
    with Workers(1) as workers:
        assert problem.settle(result.variables, workers.sum) < 1e-3 * variance


def test_most_similar_gives_cosines_nearest_first():
    model = fitted()
    nearest = model.most_similar("3-1", n=100)
    assert len(nearest) == len(model.words_) - 1
    word, cosine = nearest[0]
    a, b = model.vector("3-1"), model.vector(word)
    assert cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)
    assert [c for _, c in nearest] == sorted((c for _, c in nearest), reverse=True)
    assert model.most_similar(model.vector("3-1"), n=1)[0][0] == "3-1"


def test_word2vec_text_can_be_read_back(tmp_path):
    model = fitted()
    model.save_word2vec(tmp_path / "vectors.txt")
    header, *lines = (tmp_path / "vectors.txt").read_text().splitlines()
    assert header == f"{len(model.words_)} 10"
    read = {word: np.array(numbers, np.float32) for word, *numbers in (line.split(" ") for line in lines)}
    assert list(read) == list(model.words_)
    assert np.stack(list(read.values())).tobytes() == model.vectors_.tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.txt"]


def test_word_with_a_space_cannot_be_written_and_leaves_no_file(tmp_path):
    model = WordEmbedding(2, min_count=1, schedule="serial").fit([["New York", "city"]])
    with pytest.raises(ValueError, match="cannot hold the word 'New York'"):
        model.save_word2vec(tmp_path / "vectors.txt")
    assert list(tmp_path.iterdir()) == []


def test_unknown_word_is_named():
    with pytest.raises(KeyError, match="'wolf' is not in the vocabulary"):
        fitted(max_iter=1).vector("wolf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_dimensions": 0}, "n_dimensions must be an integer of at least 1; got 0"),
        ({"max_weight": 0}, "max_weight must be above 0; got 0"),
        ({"window": 0}, "window must be an integer of at least 1; got 0"),
        ({"min_count": 0}, "min_count must be an integer of at least 1; got 0"),
        ({"min_count": 10**6}, "at least two distinct words that occur 1000000 times"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**options)


def test_sentences_of_one_word_have_no_pairs():
    with pytest.raises(ValueError, match="sentences must contain at least one pair of words"):
        WordEmbedding(min_count=1).fit([["a"], ["b"]])


def test_pairs_are_counted_within_the_window_and_the_sentence():
    counted = count_cooccurrences([["a", "b", "c", "a"], ["c", "d"]], window=2, min_count=1)
    assert counted.words == ("a", "c", "b", "d")
    pairs = {
        (counted.words[i], counted.words[j]): n
        for i, j, n in zip(counted.left, counted.right, counted.count, strict=True)
    }
    # a-b, a-c (distance 2), b-c, b-a (distance 2), c-a; then c-d
    assert pairs == {("a", "b"): 2, ("a", "c"): 2, ("c", "b"): 1, ("c", "d"): 1}
    assert counted.word_counts.tolist() == [2, 2, 1, 1]


def test_rare_words_are_left_out_before_the_window_is_laid():
    counted = count_cooccurrences([["a", "rare", "b"], ["a", "b"]], window=1, min_count=2)
    assert counted.words == ("a", "b")
    assert counted.count.tolist() == [2]


def test_counting_by_blocks_changes_nothing(monkeypatch):
    text = list(sentences(200))
    whole = count_cooccurrences(text, window=3, min_count=1)
    monkeypatch.setattr("etesian.sparse.cooccurrence.BLOCK", 7)
    blocks = count_cooccurrences(text, window=3, min_count=1)
    assert whole.words == blocks.words
    for name in ("left", "right", "count", "word_counts"):
        assert (getattr(whole, name) == getattr(blocks, name)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("one string", "got one string"), ([["a", 3]], "sentence 0 must be a string or hold strings; got 3")],
)
def test_text_of_another_shape_is_refused(text, message):
    with pytest.raises(TypeError, match=message):
        count_cooccurrences(text)
