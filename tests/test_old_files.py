"""Files that earlier versions wrote are read by this version with the same content; see `fixtures/write.py`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from etesian.bench import Store, read_jsonl
from etesian.decode.drafters import NgramDrafter
from etesian.sparse.io import load_model

VERSIONS = sorted(path for path in (Path(__file__).parent / "fixtures").iterdir() if (path / "expected.json").exists())
X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
PAIRS = (np.array(["x", "x", "y", "y"]), np.array([1, 2, 1, 2]))

pytestmark = pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)


def expected_of(folder):
    return json.loads((folder / "expected.json").read_text())


def test_models_predict_what_they_predicted(folder):
    expected = expected_of(folder)
    models = {name: load_model(folder / f"{name}.npz") for name in ("classifier", "regressor", "factors", "words")}
    assert models["classifier"].predict(X).tolist() == expected["classifier"]
    assert models["regressor"].predict(X) == pytest.approx(expected["regressor"], rel=1e-12)
    assert models["factors"].predict(PAIRS) == pytest.approx(expected["factors"], rel=1e-6)
    assert models["words"].vector("cat").tolist() == expected["words"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_models_can_be_fitted_again(folder):
    model = load_model(folder / "regressor.npz")
    fitted = model.set_params(schedule="serial", max_iter=3, tol=None).fit(X, [1.0, 2.0, 3.0, 0.5])
    assert np.isfinite(fitted.predict(X)).all()


def test_ngram_has_the_same_successors(folder):
    tokens, probabilities = expected_of(folder)["ngram"]
    found = NgramDrafter.load(folder / "ngram.npz").table.successors(0, 1)
    assert found[0].tolist() == tokens
    assert found[1].tolist() == probabilities


def test_store_and_jsonl_hold_the_same_runs(folder, tmp_path):
    shutil.copy(folder / "runs.db", tmp_path / "runs.db")
    with Store(tmp_path / "runs.db", create=False) as store:
        stored = store.entries()
    for entries in (stored, read_jsonl(folder / "runs.jsonl")):
        assert {entry.suite for entry in entries} == {"race"}
        runs = [entry.run.as_dict() for entry in entries]
        for run, expected in zip(runs, expected_of(folder)["runs"], strict=True):
            assert {key: run[key] for key in expected} == expected


def test_store_takes_further_runs(folder, tmp_path):
    shutil.copy(folder / "runs.db", tmp_path / "runs.db")
    with Store(tmp_path / "runs.db", create=False) as store:
        before = store.entries()
        store.add_all([entry._replace(suite="again") for entry in before])
        assert len(store.entries()) == 2 * len(before)
