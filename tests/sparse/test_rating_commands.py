"""etesian fit ratings and predict on the files that people have: the right ids, the right columns, one line a row."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, run_command

from etesian.sparse.io import load_model

OPTIONS = ("--n-factors", "2", "--step-size", "0.03", "--max-iter", "60", "--tol", "none", "--random-state", "0")
OPTIONS += ("--schedule", "serial", "-o", "m.npz")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def etesian(*arguments: object) -> Result:
    return run_command(*arguments, env={"COLUMNS": "140", "NO_COLOR": "1"})


def fit(name: str, *options: object) -> Result:
    result = etesian("fit", "ratings", name, *OPTIONS, *options)
    assert result.exit_code == 0, result.stderr
    return result


def predicted(name: str, *options: object) -> list[float]:
    result = etesian("predict", "m.npz", name, *options)
    assert result.exit_code == 0, result.stderr
    return [float(line) for line in result.stdout.splitlines()]


def pairs(liked: str, other: str) -> str:
    return "user,item,rating\n" + "".join(f"u{k},{liked},5\nu{k},{other},1\n" for k in range(15))


@pytest.mark.parametrize(
    ("liked", "other"),
    [
        ("007", "7"),
        ("0", "00"),
        ("7", "+7"),
        ("9007199254740993", "9007199254740992"),
        ("1234567890123456789", "1234567890123456788"),
        ("12345678901234567890123", "12345678901234567890124"),
        ("019515344X", "0195153449"),
        ("1e3", "1000"),
    ],
)
def test_similar_ids_remain_distinct(liked, other):
    Path("ratings.csv").write_text(pairs(liked, other))
    fit("ratings.csv")
    Path("new.csv").write_text(f"user,item,rating\nu3,{liked},0\nu3,{other},0\n")
    high, low = predicted("new.csv")
    assert high - low > 3


def test_prediction_does_not_depend_on_other_rows():
    rows = [("007", "a", 5), ("u2", "a", 1), ("007", "b", 5), ("u2", "b", 1)] * 40
    Path("ratings.csv").write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    fit("ratings.csv")
    Path("alone.csv").write_text("user,item\n007,a\n")
    Path("beside.csv").write_text("user,item\n007,a\nu2,b\nx,y\n")
    assert predicted("alone.csv")[0] == predicted("beside.csv")[0] > 4.5


def test_rows_of_integer_ids_do_not_depend_on_a_text_id_beside_them():
    Path("ratings.csv").write_text("".join(f"{u},{i},{5 if i == 1 else 1}\n" for u in range(10) for i in (1, 2)))
    fit("ratings.csv")
    Path("alone.csv").write_text("3,1\n3,2\n")
    Path("beside.csv").write_text("3,1\n3,2\nann,01\n")
    assert predicted("beside.csv")[:2] == predicted("alone.csv")
    assert predicted("beside.csv")[2] == pytest.approx(load_model("m.npz").mean_)


def test_ids_option_overrides_and_is_kept_with_the_model():
    Path("ratings.csv").write_text(pairs("007", "8").replace("u", "").replace("ser", "user"))
    fit("ratings.csv", "--ids", "int")
    assert load_model("m.npz").item_ids_.tolist() == [7, 8]
    Path("new.csv").write_text("3,7\n3,0007\n")
    assert len(set(predicted("new.csv"))) == 1
    fit("ratings.csv", "--ids", "text")
    assert load_model("m.npz").user_ids_.dtype.kind == "U"
    Path("ratings.csv").write_text(pairs("a", "b"))
    result = etesian("fit", "ratings", "ratings.csv", *OPTIONS, "--ids", "int")
    assert (result.exit_code, "user ids must be 64-bit integers, since ids are 'int'; got 'u0'" in result.stderr) == (
        2,
        True,
    )


CELLS = np.random.default_rng(0).choice(600, 300, replace=False)
TASTE = np.random.default_rng(1).normal(0, 0.8, (2, 30))
ROWS = [
    (101 + c // 20, 901 + c % 20, int(np.clip(round(3 + TASTE[0, c // 20] + TASTE[1, c % 20]), 1, 5))) for c in CELLS
]


def lines(form: str) -> str:
    return "".join(form.format(k=k, u=u, i=i, r=r) for k, (u, i, r) in enumerate(ROWS))


FILES = {
    "plain.csv": "user,item,rating\n" + lines("{u},{i},{r}\n"),
    "index_column.csv": ",userId,movieId,rating\n" + lines("{k},{u},{i},{r}\n"),
    "rating_first.csv": "rating,userId,movieId\n" + lines("{r},{u},{i}\n"),
    "matrix.mtx": "%%MatrixMarket matrix coordinate real general\n%\n130 920 300\n" + lines("{u} {i} {r}\n"),
    "times.csv": lines("{u},{i},{r}.0,2005-04-02 23:53:47\n"),
    "quoted.csv": '"userId","movieId","rating"\n' + lines('"{u}","{i}","{r}"\n'),
    "tabs.tsv": "user\titem\trating\n" + lines("{u}\t{i}\t{r}\n"),
    "spaces.txt": lines("{u} {i} {r}.0\n"),
    "returns.csv": lines("{u},{i},{r}\r"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_shape_of_a_file_gives_the_same_model(name):
    for each in {name, "plain.csv"}:
        Path(each).write_text(FILES[each], newline="")
    fit("plain.csv")
    expected = predicted("plain.csv")
    assert np.corrcoef(expected, [r for _, _, r in ROWS])[0, 1] > 0.8
    result = fit(name)
    assert f"note: {name}: " in result.stderr or name == "matrix.mtx"
    assert predicted("plain.csv") == expected
    assert predicted(name) == expected


@pytest.mark.parametrize("header", ["user,item\n", ""])
@pytest.mark.parametrize("options", [(), ("--format", "ratings")])
def test_predict_prints_one_line_for_each_row(header, options):
    Path("text.csv").write_text("user,item,rating\n" + lines("user_{u},film_{i},{r}\n"))
    fit("text.csv")
    Path("new.csv").write_text(header + lines("user_{u},film_{i}\n") + "\n")
    assert predicted("new.csv", *options) == predicted("text.csv")
    assert len(predicted("new.csv", *options)) == 300


def test_columns_option_names_the_columns():
    Path("own.csv").write_text("points,person x,thing\n" + lines("{r},{u},{i}\n"))
    result = etesian("fit", "ratings", "own.csv", *OPTIONS)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "own.csv: no column name is recognized as user or item; its header is 'points, person x, thing'"
        in result.stderr
    )
    columns = ("--columns", "user=person x,item=thing,rating=points")
    assert (
        "note: own.csv: columns: user is 'person x', item is 'thing', rating is 'points'"
        in fit("own.csv", *columns).stderr
    )
    assert len(predicted("own.csv", *columns)) == 300
    result = etesian("inspect", "own.csv", "--format", "ratings", *columns)
    assert "300 updates of 50 variables" in result.stdout


def test_test_file_with_features_that_the_model_does_not_know_is_scored():
    Path("train").write_text("1 1:1\n0 2:1\n" * 30)
    Path("wider").write_text("1 1:1 99:5\n0 2:1 2147483647:1\n1 1:2 3:1\n")
    result = etesian("fit", "logistic", "train", "--test", "wider", "--json", "--schedule", "serial", "-o", "m.npz")
    assert json.loads(result.stdout)["test"] == {"accuracy": 1.0}
    assert predicted("wider") == [1, 0, 1]


def test_one_huge_index_costs_no_memory():
    Path("rows").write_text("1 2147483647:1\n0 1:1\n1 2:1\n0 3:1\n")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4_000_000 * 1024,) * 2)

    for command in (
        ["inspect", "rows"],
        ["fit", "logistic", "rows", "--max-iter", "2", "-o", "m.npz"],
        ["predict", "m.npz", "rows"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "etesian", *command], preexec_fn=limit, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert load_model("m.npz").features_.tolist() == [1, 2, 3, 2147483647]


@pytest.mark.parametrize("sign", ["#", "%"])
@pytest.mark.parametrize("separator", [",", "\t", " "])
@pytest.mark.parametrize("header", [True, False])
def test_ids_may_begin_or_end_with_the_sign_of_a_comment(sign, separator, header):
    names = ["user", "item", "rating"] if header else None
    rows = [(f"{sign}{k}", item, rating) for k in range(15) for item, rating in ((f"c{sign}", 5), ("c", 1))]
    lines = [separator.join(map(str, row)) for row in ([names] if names else []) + rows]
    Path("r.csv").write_text("\n".join([f"{sign} a comment", *lines]) + "\n")
    fit("r.csv")
    model = load_model("m.npz")
    assert model.user_ids_.tolist() == sorted(f"{sign}{k}" for k in range(15))
    Path("p.csv").write_text(f"{sign}1{separator}c{sign}\n{sign}2{separator}c\n")
    high, low = predicted("p.csv")
    assert high > low + 2


def test_a_header_of_other_words_is_known_by_the_given_columns():
    rows = [(f"anna{k}", thing, score) for k in range(15) for thing, score in (("alien", 5), ("heat", 1))]
    Path("r.csv").write_text("person,thing,score\n" + "".join(f"{p},{t},{s}\n" for p, t, s in rows))
    fit("r.csv", "--columns", "user=person,item=thing,rating=score")
    Path("p.csv").write_text("person,thing\nanna1,alien\nanna2,heat\n")
    assert len(predicted("p.csv", "--columns", "user=person,item=thing")) == 2


def test_a_comma_is_a_decimal_point_only_if_no_rating_has_a_point():
    Path("r.tsv").write_text("a\tb\t2,5\nb\tb\t1,234\nb\ta\t3\n")
    assert fit("r.tsv").exit_code == 0
    Path("r.tsv").write_text("a\tb\t2.5\nb\tb\t1,234\n")
    result = etesian("fit", "ratings", "r.tsv", *OPTIONS)
    assert result.exit_code == 2
    assert "r.tsv:2: the rating must be a finite number; got '1,234'" in result.stderr
