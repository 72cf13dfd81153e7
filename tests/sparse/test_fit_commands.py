"""etesian fit, predict and inspect: output streams, exit codes, and errors of one line."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, run_command
from rich.console import Console
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

from etesian.cli.sparse import FOR_PROGRAMS
from etesian.cli.sparse_progress import EpochProgress, describe_epoch
from etesian.cli.sparse_tasks import TASKS, Task
from etesian.sparse import MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.io import load_model, save_model

N_ROWS = 400
SENTENCES = "the cat sat on the mat\nthe dog sat on the cat\n" * 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with one file for each kind of task."""
    rng = np.random.default_rng(0)
    X = sparse.random_array((N_ROWS, 50), density=0.04, rng=rng, format="csr")
    value = X @ rng.normal(size=50)
    dump_svmlight_file(X, np.sign(value - np.median(value) + 1e-9), str(tmp_path / "classes"), zero_based=False)
    dump_svmlight_file(X, value, str(tmp_path / "values"), zero_based=False)
    user, item = rng.integers(0, 40, 600), rng.integers(0, 30, 600)
    rating = 3 + np.sin(user) + np.cos(item)
    lines = "".join(f"{u},{i},{r}\n" for u, i, r in zip(user, item, rating, strict=True))
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(f"user,item,rating\n{lines}".encode()))
    (tmp_path / "words.txt").write_text(SENTENCES)
    (tmp_path / "mesh.graph").write_text("4 3\n2\n1 3\n2 4\n3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def etesian(*arguments: object) -> Result:
    return run_command(*arguments, env={"COLUMNS": "140", "NO_COLOR": "1"})


DATA = {"ratings": "ratings.csv.gz", "words": "words.txt", "squared": "values", "huber": "values"}


def fitted(task: str, *options: object) -> Result:
    return etesian("fit", task, DATA.get(task, "classes"), "--random-state", 0, "--max-iter", 4, *options)


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_fit_writes_the_model_that_the_estimator_gives(task: str) -> None:
    result = fitted(task, "--tol", "none", "--schedule", "serial")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{task}: max iter after 4 epochs, objective ")
    assert "serial plan: " in result.stdout
    assert "epoch 4 of 4: objective" in result.stderr
    assert result.stderr.endswith("wrote model.npz\n")
    model = load_model("model.npz")
    assert type(model) is next(each.estimator for each in TASKS if each.name == task)
    assert (model.n_iter_, model.max_iter, model.tol, model.random_state) == (4, 4, None, 0)


def test_same_command_gives_the_same_bytes(folder: Path) -> None:
    for name in ("a.npz", "b.npz"):
        assert fitted("ratings", "-o", name).exit_code == 0
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()
    fitted("ratings", "-o", "c.npz", "--random-state", 1)
    assert (folder / "a.npz").read_bytes() != (folder / "c.npz").read_bytes()


@pytest.mark.parametrize("estimator", [SparseClassifier, SparseRegressor, MatrixFactorization, WordEmbedding])
def test_options_have_the_defaults_of_the_estimator(estimator: type) -> None:
    task = next(task for task in TASKS if task.estimator is estimator)
    fitted_by_default = etesian("fit", task.name, DATA.get(task.name, "classes"), "--schedule", "serial")
    assert fitted_by_default.exit_code == 0, fitted_by_default.stderr
    expected = estimator().get_params() | task.parameters | {"schedule": "serial"}
    assert load_model("model.npz").get_params() == expected


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_parameter_is_a_described_option_or_for_programs(task: Task) -> None:
    text = options_of(etesian("fit", task.name, "--help").stdout)
    assert FOR_PROGRAMS == ("warm_start", "callback", "verbose")
    for name in task.estimator().get_params().keys() - {*FOR_PROGRAMS, *task.parameters}:
        assert len(text[f"--{name.replace('_', '-')}"].partition("[")[0].split()) >= 1, name


def options_of(page: str) -> dict[str, str]:
    """The text beside each option of a help page."""
    words = " ".join(page.replace("│", " ").split())
    found = re.split(r"(?<!\S)(--[a-z][a-z0-9-]+)(?: --no-[a-z-]+)?(?: -o)?(?: [A-Z|.]+)? (?=[A-Z\[\"])", words)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_options_reach_the_estimator() -> None:
    words = [
        "--alpha",
        "0.5",
        "--no-fit-intercept",
        "--class-weight",
        "balanced",
        "--step-size",
        "0.25",
        "--method",
        "sgd",
    ]
    assert fitted("hinge", *words).exit_code == 0
    model = load_model("model.npz")
    assert (model.loss, model.alpha, model.fit_intercept, model.class_weight) == ("hinge", 0.5, False, "balanced")
    assert (model.step_size, model.method) == (0.25, "sgd")


def test_help_shows_every_option_with_its_default() -> None:
    text = options_of(etesian("fit", "ratings", "--help").stdout)
    assert "[default: 32]" in text["--n-factors"]
    assert "confidence" in text["--alpha"]
    assert "--n-dimensions" not in text
    assert "[default: 0.0]" in options_of(etesian("fit", "hinge", "--help").stdout)["--l1-ratio"]
    assert all(f" {task.name} " in etesian("fit", "--help").stdout for task in TASKS)


def test_json_is_one_object_on_standard_output() -> None:
    result = fitted("logistic", "--json", "--test", "classes", "--schedule", "serial")
    report = json.loads(result.stdout)
    assert (report["task"], report["outcome"], report["model"]) == ("logistic", "converged", "model.npz")
    assert 1 <= report["epochs"] <= 4
    assert report["objective"] == load_model("model.npz").objective_[-1]
    assert report["seconds"] > 0
    plan = {"schedule": "serial", "workers": 1, "batches": 1, "predicted_speedup": 1.0, "note": None}
    assert report["plan"] == plan
    predicted = [float(line) for line in etesian("predict", "model.npz", "classes").stdout.split()]
    truth = [float(line.split()[0]) for line in Path("classes").read_text().splitlines()]
    assert report["test"] == {"accuracy": np.mean(np.equal(predicted, truth))}


def test_regression_and_ratings_are_scored_by_error_and_share_explained() -> None:
    for task in ("squared", "ratings"):
        report = json.loads(fitted(task, "--json", "--test", DATA[task]).stdout)
        etesian("predict", "model.npz", DATA[task], "-o", "out")
        predicted = np.loadtxt("out")
        columns = gzip.decompress(Path("ratings.csv.gz").read_bytes()).decode().split()[1:]
        lines = columns if task == "ratings" else Path("values").read_text().splitlines()
        truth = np.array([float(line.split(",")[-1] if task == "ratings" else line.split()[0]) for line in lines])
        error = predicted - truth
        assert report["test"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
        assert report["test"]["r2"] == pytest.approx(
            1 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2), rel=1e-5
        )


def test_predictions_are_the_loaded_models(folder: Path) -> None:
    fitted("squared")
    Path("two").write_text("0 50:2 # the last feature\n0 1:1\n")
    model = load_model("model.npz")
    expected = [2 * model.coef_[49] + model.intercept_, model.coef_[0] + model.intercept_]
    assert [float(line) for line in etesian("predict", "model.npz", "two").stdout.split()] == pytest.approx(expected)
    assert json.loads(etesian("predict", "model.npz", "two", "--json").stdout)["predictions"] == pytest.approx(expected)
    result = etesian("predict", "model.npz", "two", "-o", "out")
    assert (result.stdout, "wrote 2 predictions to out" in result.stderr) == ("", True)
    assert np.loadtxt("out") == pytest.approx(expected)


def test_indices_keep_their_meaning_in_a_file_that_lacks_feature_0() -> None:
    Path("train").write_text("1 0:1\n5 1:1\n9 2:1\n" * 20)
    Path("new").write_text("5 1:1\n9 2:1\n")
    fit = ["fit", "squared", "train", "--schedule", "serial", "--alpha", "0", "--tol", "none"]
    assert json.loads(etesian(*fit, "--test", "new", "--json").stdout)["test"]["rmse"] == pytest.approx(0, abs=0.1)
    assert [float(line) for line in etesian("predict", "model.npz", "new").stdout.split()] == pytest.approx(
        [5, 9], abs=0.1
    )


def test_pairs_are_predicted_with_or_without_ratings() -> None:
    fitted("ratings")
    Path("pairs.csv").write_text("user,item\n3,4\n5,6\n777,888\n")
    model = load_model("model.npz")
    expected = model.predict(([3, 5, 777], [4, 6, 888]))
    assert np.float32(etesian("predict", "model.npz", "pairs.csv").stdout.split()) == pytest.approx(expected)
    Path("text.csv").write_text("ann,Heat\n")
    result = etesian("predict", "model.npz", "text.csv")
    assert (
        "note: text.csv: 1 of 1 users are not in the training data, such as 'ann'; its user ids are integers"
        in result.stderr
    )
    assert np.float32(result.stdout) == np.float32(model.mean_)


def test_words_are_compared_two_a_line() -> None:
    fitted("words")
    Path("pairs.txt").write_text("cat dog\nthe the\n")
    model = load_model("model.npz")
    expected = dict(model.most_similar("cat"))["dog"]
    assert np.double(etesian("predict", "model.npz", "pairs.txt").stdout.split()) == pytest.approx(
        [expected, 1], abs=1e-6
    )
    Path("pairs.txt").write_text("cat dog\ncat unicorn\n")
    assert "pairs.txt:2: needs two words of the model, to compare; the model knows no word 'unicorn'" in (
        etesian("predict", "model.npz", "pairs.txt").stderr
    )


def test_notes_and_warnings_are_a_line_each_on_standard_error() -> None:
    Path("dense").write_text("1 1:1 2:1\n-1 1:2 2:1\n" * 150 + "-1\n")
    result = etesian("fit", "logistic", "dense", "--max-iter", 2, "--n-jobs", 2, "--schedule", "conflict_free")
    assert "note: dense: 1 of 301 rows have no feature\n" in result.stderr
    assert "note: serial in place of conflict_free: " in result.stderr
    assert "Warning" not in result.stderr


def test_fit_that_diverges_writes_nothing_and_exits_1(folder: Path) -> None:
    result = fitted("ratings", "--step-size", "1e6", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["outcome"] == "diverged"
    assert "step_size=1e+06: use a smaller one" in result.stderr
    assert "no model was written" in result.stderr
    assert not (folder / "model.npz").exists()


def test_interrupted_fit_keeps_the_model_reached_and_exits_130(folder: Path) -> None:
    heeding = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)"  # a job in the background would ignore it
    command = [sys.executable, "-c", f"{heeding}; from etesian.__main__ import main; main()"]
    command += ["fit", "logistic", "classes", "--max-iter", "100000000", "--tol", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("epoch 1 of") for line in process.stderr)
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    n_iter = load_model("model.npz").n_iter_
    assert last == f"stopped after {n_iter} epochs; wrote model.npz"
    assert output.startswith(f"logistic: interrupted after {n_iter} epochs")
    assert etesian("predict", "model.npz", "classes").exit_code == 0


# Mistakes.


def write_files(folder: Path) -> None:
    good = Path("classes").read_bytes()
    lines = good.split(b"\n")
    lines[199] = b"1 3:1 2:1"
    (folder / "bad.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    (folder / "cut.gz").write_bytes(gzip.compress(good)[:-9])
    (folder / "empty").write_bytes(b"")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()
    (folder / "edges").write_text("1 2\n2 3\n")
    sparse.save_npz(folder / "no_labels.npz", sparse.eye_array(3, format="csr"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("fit logistic none", "none cannot be read: No such file or directory"),
        ("fit logistic folder", "folder cannot be read: Is a directory"),
        ("fit logistic empty", "empty is empty; supported formats are libsvm"),
        ("fit logistic binary", "binary is a binary file; supported formats are libsvm"),
        ("fit words binary", "binary:1: contains a zero byte"),
        ("fit logistic bad.gz", "bad.gz:200: indices must ascend; 2 comes after 3"),
        ("fit logistic cut.gz", "cut.gz is cut off or damaged"),
        ("fit logistic ratings.csv.gz", "ratings.csv.gz looks like ratings"),
        ("fit logistic no_labels.npz", "no_labels.npz holds no rows with labels"),
        ("fit logistic classes --format text", "format must be 'libsvm', 'npz'; got 'text'"),
        ("fit logistic classes --alpha -1", "alpha must be a finite number, 0 or more; got -1"),
        ("fit logistic classes --test none", "none cannot be read"),
        ("fit logistic classes -o no/model.npz", "cannot be written: there is no folder no"),
        ("fit logistic classes -o folder", "folder cannot be written: it is a folder"),
        ("fit ratings edges", "edges has no ratings (no header: column 1 is the user, column 2 is the item)"),
        ("fit words words.txt --test words.txt", "--test needs labels"),
        ("fit ratings ratings.csv.gz --feedback implicit --test ratings.csv.gz", "does not predict any"),
        ("fit words empty", "at least two distinct words"),
        ("predict none classes", "none cannot be read"),
        ("predict classes classes", "classes is not an npz file"),
        ("predict no_labels.npz classes", "no_labels.npz is not a model file of `etesian fit`"),
        ("predict model.npz ratings.csv.gz", "looks like ratings"),
        ("predict model.npz classes -o no/out", "there is no folder no"),
        ("inspect none", "none cannot be read"),
        ("inspect classes --edges", "edges can be updates only of a graph"),
        ("inspect classes --picture no/a.svg", "there is no folder no"),
    ],
)
def test_user_error_gives_one_line_and_exit_code_2(folder: Path, arguments: str, complaint: str) -> None:
    write_files(folder)
    if "model.npz" in arguments:
        fitted("logistic")
    result = etesian(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    assert complaint in line


def test_invalid_step_size_is_reported() -> None:
    result = etesian("fit", "logistic", "classes", "--step-size", "big")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(
        r"error: Invalid value for --step-size: unable to convert \"big\" into float.*\n", result.stderr
    )


# What is inspected.


@pytest.mark.parametrize(
    ("arguments", "n_updates", "n_variables", "kind"),
    [
        ("classes", N_ROWS, 50, "feature "),
        ("ratings.csv.gz", 600, 70, "user "),
        ("mesh.graph --format metis", 4, 4, "vertex "),
        ("mesh.graph --format metis --edges", 3, 4, "vertex "),
        ("words.txt --format text", 14, 6, ""),
    ],
)
def test_inspect_counts_updates_and_names_variables(
    arguments: str, n_updates: int, n_variables: int, kind: str
) -> None:
    report = json.loads(etesian("inspect", *arguments.split(), "--json").stdout)
    assert (report["n_updates"], report["n_variables"]) == (n_updates, n_variables)
    names = {each["name"] for each in report["hottest"]}
    assert all(name.startswith((kind, "item ")) for name in names)
    if kind == "vertex ":
        assert {"vertex 2", "vertex 3"} < names


def test_inspect_writes_a_picture(folder: Path) -> None:
    result = etesian("inspect", "classes", "--picture", "a.svg")
    assert result.exit_code == 0
    assert "predicted speed-up" in result.stdout
    assert "<svg" in (folder / "a.svg").read_text()


# Progress.


def test_terminal_shows_epochs_objective_and_time_left() -> None:
    screen = io.StringIO()
    with EpochProgress(Console(file=screen, force_terminal=True, width=140, highlight=False), 10) as progress:
        progress(4, 0.5, 40.0)
    assert "4/10" in screen.getvalue()
    assert "objective 0.5, 40.00 s, at most 60 s left" in screen.getvalue()


def test_last_epoch_has_no_time_left() -> None:
    assert describe_epoch(0.25, 1.0, 0.0) == "objective 0.25, 1.00 s"


def test_arrays_count_from_0_though_the_first_column_is_empty(folder):
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = SparseRegressor(random_state=0, schedule="serial").fit(X, X @ [1, 2, 3, 4] + 1)
    save_model(model, "m.npz")
    X[:, 0] = 0
    np.savez("Z.npz", X=X[:4])
    sparse.save_npz("S.npz", sparse.csr_array(X[:4]))
    for name in ("Z.npz", "S.npz"):
        result = etesian("predict", "m.npz", name)
        assert [float(line) for line in result.stdout.splitlines()] == pytest.approx(model.predict(X[:4]), rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "exit_code", "message"),
    [
        (np.array([b"yes", b"no"] * 20), 0, ""),
        (np.array([b"\xff", b"no"] * 20), 2, "y must contain text in UTF-8 or numbers"),
        (
            np.array(["2020-01-01", "2021-01-01"] * 20, "datetime64[D]"),
            2,
            "y must contain numbers or text; it contains datetime64",
        ),
    ],
)
def test_labels_of_arrays_are_numbers_or_text(labels, exit_code, message):
    np.savez("y.npz", X=np.random.default_rng(0).normal(size=(40, 3)), y=labels)
    result = etesian("fit", "logistic", "y.npz", "-o", "m.npz")
    assert (result.exit_code, message in result.stderr) == (exit_code, True)
    assert exit_code or load_model("m.npz").classes_.tolist() == ["no", "yes"]


def test_factors_that_do_not_fit_the_memory_are_refused():
    result = etesian("fit", "ratings", "ratings.csv.gz", "--n-factors", "100000000000", "-o", "m.npz")
    assert result.exit_code == 2
    assert "memory" in result.stderr
    assert "Traceback" not in result.stderr
