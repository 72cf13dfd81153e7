"""Model files: saved models are loaded bit for bit, and other files are refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from etesian.errors import InputError
from etesian.sparse import MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.io import load_model, save_model

# Three epochs suffice for these models.
pytestmark = pytest.mark.filterwarnings("ignore:max_iter:sklearn.exceptions.ConvergenceWarning")


def rows():
    rng = np.random.default_rng(0)
    return csr_array(np.where(rng.random((60, 8)) < 0.4, 1.0, 0.0))


def triples(ids=int):
    rng = np.random.default_rng(1)
    return np.array(list(map(ids, range(10, 20))))[rng.integers(0, 10, 80)], rng.integers(0, 9, 80), rng.normal(size=80)


def fitted(name):
    if name == "classifier":
        y = np.where(rows().toarray()[:, 0] > 0, 1, -1)
        return SparseClassifier(max_iter=3, schedule="serial", random_state=0, class_weight={1: 2.0, -1: 1}).fit(
            rows(), y
        )
    if name == "classifier of text labels":
        y = np.where(rows().toarray()[:, 0] > 0, "yes", "no")
        return SparseClassifier(
            max_iter=3, schedule="serial", tol=None, random_state=0, class_weight={"yes": 2.0, "no": 1}
        ).fit(rows(), y)
    if name == "regressor":
        return SparseRegressor("huber", max_iter=3, schedule="serial", tol=None, random_state=0).fit(
            rows(), np.arange(60.0)
        )
    if name == "words":
        text = ["the cat sat on the mat", "the dog sat on the cat"] * 5
        return WordEmbedding(5, max_iter=3, schedule="serial", tol=None, random_state=0, callback=print).fit(text)
    ids = {"ratings": int, "ratings with text ids": str, "ratings with ids as objects": str}[name]
    user, item, rating = triples(ids)
    user = user.astype(object) if "objects" in name else user
    return MatrixFactorization(3, max_iter=3, schedule="serial", tol=None, random_state=np.random.default_rng(3)).fit(
        (user, item, rating)
    )


def outputs(model):
    if isinstance(model, MatrixFactorization):
        user = model.user_ids_[2]
        return [model.predict((model.user_ids_[:5], model.item_ids_[:5])), *model.recommend(user)]
    if isinstance(model, WordEmbedding):
        return [model.vector("cat"), model.vectors_, model.shift_, model.words_, model.most_similar("the")]
    return [model.predict(rows()), model.coef_, model.intercept_, model.n_iter_, model.objective_]


MODELS = [
    "classifier",
    "regressor",
    "words",
    "ratings",
    "classifier of text labels",
    "ratings with text ids",
    "ratings with ids as objects",
]


@pytest.mark.parametrize("name", MODELS)
def test_loaded_model_gives_the_bits_of_the_saved_one(tmp_path, name):
    model = fitted(name)
    save_model(model, tmp_path / "model.npz")
    loaded = load_model(tmp_path / "model.npz")
    assert type(loaded) is type(model)
    for one, other in zip(outputs(model), outputs(loaded), strict=True):
        assert type(one) is type(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    kept = {key: value for key, value in model.get_params().items() if key not in ("callback", "random_state")}
    assert {key: loaded.get_params()[key] for key in kept} == kept
    assert loaded.callback is None


@pytest.mark.parametrize("name", MODELS[:4])
def test_same_fit_gives_the_same_bytes(tmp_path, name):
    save_model(fitted(name), tmp_path / "a.npz")
    save_model(fitted(name), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_file_cut_off_or_changed_anywhere_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    save_model(fitted("regressor"), path)
    good = path.read_bytes()
    for length in range(0, len(good), 97):
        path.write_bytes(good[:length])
        with pytest.raises(InputError, match=r"model\.npz"):
            load_model(path)
    header = good.index(b'{"version"')
    for place in range(header, header + 400, 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(InputError, match=r"cut off or damaged \(Bad CRC-32"):
            load_model(path)


def with_header(path, change):
    arrays = dict(np.load(path))
    header = json.loads(arrays["etesian_model"].tobytes())
    arrays["etesian_model"] = np.frombuffer(json.dumps(change(header)).encode(), np.uint8)
    np.savez(path, **arrays)


def as_version_1(path, arrays, header):
    """Write a model file as the first version did: text as arrays of one width, and parameters that are gone."""
    parameters = [[name, value] for name, value in header["parameters"]["dict"] if name not in ("ids", "order")]
    fitted = []
    for name, value in header["fitted"]["dict"]:
        if isinstance(value, dict) and "text" in value:
            joined, ends, shape = (each.get("array", each) for each in value["text"]["tuple"])
            del shape
            cuts = [0, *arrays[ends].tolist()]
            texts = [arrays[joined].tobytes()[a:b].decode() for a, b in itertools.pairwise(cuts)]
            arrays[f"text_{name}"] = np.array(texts)
            value = {"array": f"text_{name}"}  # noqa: PLW2901
        fitted.append([name, value])
    header = {
        "version": 1,
        "estimator": header["estimator"],
        "parameters": {"dict": [*parameters, ["redraw", False]]},
        "fitted": {"dict": fitted},
    }
    arrays["etesian_model"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_version_1_still_load(tmp_path, name):
    model = fitted(name)
    save_model(model, tmp_path / "m.npz")
    arrays = dict(np.load(tmp_path / "m.npz"))
    as_version_1(tmp_path / "m.npz", arrays, json.loads(arrays.pop("etesian_model").tobytes()))
    loaded = load_model(tmp_path / "m.npz")
    for one, other in zip(outputs(model), outputs(loaded), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_one_long_id_does_not_widen_the_others(tmp_path):
    names = [f"item {k}" for k in range(2_000)] + ["x" * 900, "with \U0001f600"]
    model = MatrixFactorization(1, max_iter=1, schedule="serial").fit((range(2_002), names, np.ones(2_002)))
    save_model(model, tmp_path / "m.npz")
    assert (tmp_path / "m.npz").stat().st_size < 200_000
    assert load_model(tmp_path / "m.npz").item_ids_.tolist() == sorted(names)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda header: header | {"version": 9}, "has format 9; this version of Etesian reads formats up to 2"),
        (lambda header: header | {"estimator": "Popen"}, "is a damaged model file (estimator must be one of"),
        (lambda header: header | {"parameters": {"dict": [["shell", True]]}}, "unexpected keyword argument 'shell'"),
        (lambda header: header | {"fitted": {"dict": [["coef_", {"array": "none"}]]}}, "'none' is missing"),
        (lambda header: header | {"fitted": {"call": []}}, "unknown kind 'call'"),
        (lambda header: header | {"fitted": 3}, "is a damaged model file"),
        (lambda header: [], "is a damaged model file"),
    ],
)
def test_header_of_another_version_or_making_is_refused(tmp_path, change, complaint):
    path = tmp_path / "model.npz"
    save_model(fitted("regressor"), path)
    with_header(path, change)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert complaint in str(caught.value)


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", X=[[1.0]])
    (tmp_path / "b.npz").write_text("1 1:1\n")
    np.savez(tmp_path / "c.npz", etesian_model=np.array([{}]))
    for name, complaint in [
        ("a", "is not a model file"),
        ("b", "is not an npz file"),
        ("c", "pickled objects"),
        ("d", "No such"),
    ]:
        with pytest.raises(InputError, match=complaint):
            load_model(tmp_path / f"{name}.npz")


def test_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    save_model(fitted("regressor"), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"model\.npz cannot be written: No space left on device"):
        save_model(fitted("words"), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["model.npz"]


def test_reader_that_has_the_old_file_open_reads_it_to_its_end(tmp_path):
    path = tmp_path / "model.npz"
    save_model(fitted("regressor"), path)
    before = path.read_bytes()
    with open(path, "rb") as reader:
        start = reader.read(10)
        save_model(fitted("words"), path)
        assert start + reader.read() == before
    assert isinstance(load_model(path), WordEmbedding)


def test_unsupported_values_are_refused_before_anything_is_written(tmp_path):
    from etesian.sparse.problems.losses import CLASSIFICATION

    y = np.where(rows().toarray()[:, 0] > 0, 1, -1)
    with pytest.raises(TypeError, match="it cannot hold a Loss"):
        save_model(
            SparseClassifier(CLASSIFICATION["hinge"], max_iter=1, schedule="serial").fit(rows(), y), tmp_path / "a.npz"
        )
    with pytest.raises(TypeError, match=r"estimator must be one of MatrixFactorization, .*; got .*Path"):
        save_model(Path(), tmp_path / "a.npz")
    with pytest.raises(NotFittedError):
        save_model(SparseClassifier(), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def changed(path, attribute, change):
    """Rewrite the array of one attribute, with a valid checksum."""
    arrays = dict(np.load(path))
    header = json.loads(arrays["etesian_model"].tobytes())
    name = dict(header["fitted"]["dict"])[attribute]["array"]
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("name", "attribute", "change", "complaint"),
    [
        ("classifier", "coef_", lambda a: a[:, :3], "coef_ has 3 features; 8 are expected|_coef has 8 features; 3"),
        ("classifier", "coef_", lambda a: np.vstack([a, a]), "outputs"),
        ("classifier", "coef_", lambda a: a.astype(str), "coef_ must be an array of another type"),
        ("classifier", "classes_", lambda a: a[::-1], "classes_ must ascend"),
        ("classifier", "classes_", lambda a: np.arange(3), "coef_ has 1 outputs; 3 are expected"),
        ("regressor", "coef_", lambda a: a[:, None], "coef_ must have 1 dimensions"),
        ("ratings", "user_ids_", lambda a: a[:-1], "users"),
        ("ratings", "user_ids_", lambda a: a[::-1], "user_ids_ must ascend"),
        ("ratings", "item_bias_", lambda a: a[:4], "item_bias_ has 4 items; 9 are expected"),
        ("ratings", "item_factors_", lambda a: a[:, :2], "item_factors_ has 2 factors; 3 are expected"),
        ("words", "vectors_", lambda a: a[:4], "words"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, name, attribute, change, complaint):
    path = tmp_path / "model.npz"
    save_model(fitted(name), path)
    changed(path, attribute, change)
    with pytest.raises(InputError, match=rf"model\.npz is a damaged model file \(.*({complaint})"):
        load_model(path)


def test_labels_that_a_file_cannot_hold_are_refused_before_it_is_written(tmp_path):
    days = np.array(["2020-01-01", "2021-01-01"] * 4, "datetime64[D]")
    model = SparseClassifier(random_state=0, schedule="serial").fit(np.eye(8), days)
    with pytest.raises(TypeError, match="cannot hold an array of datetime64"):
        save_model(model, tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()
