"""The store loses nothing, on SQLite and on PostgreSQL alike, and JSON Lines carry runs from one to the other."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from bench_fakes import make_run
from command_line import run_command

from etesian._shared.limits import raised_limits
from etesian.bench import AlreadyStoredError, InputError, Store, StoredRun, Target, read_jsonl, write_jsonl
from etesian.bench.store import Ending
from etesian.errors import OutputError, StorageError

TARGET = make_run().target


def test_run_comes_back_as_it_was(location: str) -> None:
    with Store(location) as store:
        store.add(make_run(), suite="demo")
    with Store(location, create=False) as store:
        assert repr(store.runs()) == repr([make_run()])


def test_runs_come_back_in_order_and_by_suite_workload_and_target(location: str) -> None:
    other = make_run("words", 0, target=Target("loss", 4.0, "at_most"))
    with Store(location) as store:
        for suite, run in [("b", make_run("words", 2)), ("b", make_run("digits", 1)), ("a", make_run()), ("b", other)]:
            store.add(run, suite=suite)
        assert [(run.workload, run.seed) for run in store.runs()] == [
            ("words", 2),
            ("digits", 1),
            ("words", 0),
            ("words", 0),
        ]
        assert [run.workload for run in store.runs("b", target=TARGET)] == ["words", "digits"]
        assert [entry.suite for entry in store.entries(workload="words")] == ["b", "a", "b"]
        assert store.runs("c") == []


def test_second_run_of_the_same_key_is_refused_unless_it_replaces(location: str) -> None:
    failed = make_run(outcome="failed", points=(), error="killed")
    with Store(location) as store:
        store.add(failed, suite="demo")
        with pytest.raises(
            AlreadyStoredError, match=r"already holds a run of words in demo with seed 0 and target loss<=3.28"
        ):
            store.add(make_run(), suite="demo")
        assert store.runs() == [failed]
        store.add(make_run(), suite="demo", replace=True)
        assert repr(store.runs()) == repr([make_run()])
        store.add(make_run(), suite="another")


def test_endings_list_runs_without_reading_curves(location: str) -> None:
    with Store(location) as store:
        store.add(make_run(), suite="demo")
        store.add(make_run(seed=2**40, outcome="failed", budget_seconds=None), suite="demo")
        store.add(make_run(seed=9), suite="another")
        assert store.endings("demo", TARGET) == {
            ("words", 0): Ending("reached", 60.0),
            ("words", 2**40): Ending("failed", None),
        }


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from bench_fakes import make_run
from etesian.bench import Store
with Store({location!r}) as store:
    for seed in range(20):
        store.add(make_run(sys.argv[1], seed), suite="demo")
"""


def test_concurrent_writers_lose_nothing_even_when_all_create_the_store(location: str) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent), location=location)
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    with Store(location) as store:
        assert sorted((run.workload, run.seed) for run in store.runs()) == [(n, s) for n in "abcd" for s in range(20)]


def test_store_of_another_format_is_refused(location: str) -> None:
    with Store(location) as store, store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE etesian_format SET version = 99"))
    with pytest.raises(InputError, match="has format 99 and this version of Etesian reads 1"):
        Store(location)


def test_database_without_runs_is_refused_when_only_reading(location: str, tmp_path: Path) -> None:
    if "://" not in location:
        sa.create_engine(f"sqlite:///{location}").connect().close()
        Path(location).touch()
    with pytest.raises(InputError, match="is not a store of runs; `etesian bench run` makes one"):
        Store(location, create=False)


def test_missing_file_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no store at"):
        Store(tmp_path / "none.db", create=False)
    assert not list(tmp_path.iterdir())


def test_other_file_as_a_store_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("not a database, though long enough to be taken for one" * 100)
    with pytest.raises(InputError, match=r"notes\.db cannot be used: file is not a database") as caught:
        Store(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://user:secret@127.0.0.1:1/none", "cannot be used: connection failed"),
        ("sqlite:///x.db?timeout=abc", r"options of the store.s URL are not valid: sqlite:///x.db\?\*\*\*$"),
        ("sqlite:///x.db?unknown=abc", r"options of the store.s URL are not valid: sqlite:///x.db\?\*\*\*$"),
        ("nonsense://x", "must be a path or a database URL that SQLAlchemy supports"),
        ("postgresql://host:port/db", "must be a path or a URL such as"),
        ("/no/such/folder/runs.db", "folder must exist"),
    ],
)
def test_store_that_cannot_be_opened_is_refused_in_one_line(url: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        Store(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


# Damage.


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "run must be of type dict"),
        ('{"workload": "a"}', "'seed' is missing"),
        (json.dumps({**make_run().as_dict(), "seed": 10**400}), "seed must fit into 64 bits"),
        (json.dumps({**make_run().as_dict(), "workload": "\ud800"}), "workload must be valid Unicode"),
    ],
)
def test_damaged_record_is_named_and_the_others_are_shown(
    location: str, caplog: pytest.LogCaptureFixture, record: str, reason: str
) -> None:
    with Store(location) as store:
        for seed in range(3):
            store.add(make_run(seed=seed), suite="demo")
        with store._engine.begin() as connection:
            connection.execute(sa.text("UPDATE etesian_runs SET record = :text WHERE id = 2"), {"text": record})
        assert [run.seed for run in store.runs()] == [0, 2]
    assert len(caplog.messages) == 1
    assert f"record 2 of the store {store.location} is damaged and left out" in caplog.text
    assert reason in caplog.text


def test_record_larger_than_the_limit_is_named_and_not_loaded(
    location: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(location) as store:
        store.add(make_run(seed=0), suite="demo")
        store.add(replace(make_run(seed=1), error="x" * 10_000), suite="demo")
        monkeypatch.setattr("etesian.bench.store.LINE_BYTES", 10_000)
        assert [run.seed for run in store.runs()] == [0]
        assert "record 2 of the store" in caplog.text
        assert "larger than 10,000 characters" in caplog.text
        with raised_limits(2):
            assert [run.seed for run in store.runs()] == [0, 1]


ENDLESS = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, "


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW etesian_format AS {ENDLESS} max(id) AS version FROM n"],
        [f"CREATE VIEW etesian_runs AS {ENDLESS} '' AS suite, '' AS record FROM n"],
        [
            "CREATE TABLE etesian_format (id INTEGER PRIMARY KEY, version INTEGER)",
            "INSERT INTO etesian_format VALUES (1, NULL)",
        ],
    ],
    ids=["endless version", "endless runs", "no version"],
)
def test_database_that_is_only_like_a_store_is_refused(tmp_path: Path, statements: list[str]) -> None:
    with Store(tmp_path / "s.db") as store, store._engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {statements[0].split()[2]}"))
        for statement in statements:
            connection.execute(sa.text(statement))
    with pytest.raises(InputError, match=r"s\.db is not a store of runs"):
        Store(tmp_path / "s.db", create=False)
    with pytest.raises(
        InputError, match=r"s\.db (is not a store of runs|cannot be used: cannot modify \w+ because it is a view)"
    ):
        Store(tmp_path / "s.db")


def test_state_of_a_store_whose_newest_record_is_not_unicode(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        store.add(make_run(), suite="demo")
        before = store.state()
        with store._engine.begin() as connection:
            connection.execute(sa.text("UPDATE etesian_runs SET record = CAST(x'7bff' AS TEXT)"))
        assert store.state() != before


def test_text_that_is_not_unicode_hides_no_other_record(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        for seed in range(2):
            store.add(make_run(seed=seed), suite="demo")
        with store._engine.begin() as connection:
            connection.execute(sa.text("UPDATE etesian_runs SET record = CAST(x'7bff' AS TEXT) WHERE id = 1"))
    done = run_command("bench", "show", str(tmp_path / "s.db"))
    assert done.exit_code == 0
    assert "record 1 of the store" in done.stderr
    assert "1 of 1" in done.stdout


def test_database_without_an_encoding_is_refused(postgresql_url: str) -> None:
    engine = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0"))
    with pytest.raises(InputError, match="has the encoding SQL_ASCII, which cannot hold text reliably"):
        Store(postgresql_url.rsplit("/", 1)[0] + "/bytes")
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE bytes WITH (FORCE)"))
    engine.dispose()


def test_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        with store._engine.begin() as connection:
            connection.execute(sa.text("PRAGMA max_page_count = 1"))
        big = make_run(error="x" * 200_000)
        with pytest.raises(StorageError, match=r"s\.db cannot be used: database or disk is full"):
            store.add(big, suite="demo")
    with pytest.raises(StorageError, match=r"/dev/full cannot be used: database or disk is full"):
        Store("/dev/full")


# JSON Lines.


def test_json_lines_carry_every_run_to_another_store(location: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    with Store(location) as store, Store(tmp_path / "other.db") as other:
        for seed in range(3):
            store.add(make_run(seed=seed), suite="demo")
        assert write_jsonl(store.entries(), file) == 3
        assert other.add_all(read_jsonl(file)) == (3, 0)
        assert repr(other.entries()) == repr(store.entries())


def test_importing_twice_adds_nothing(location: str) -> None:
    entries = [StoredRun("demo", make_run(seed=seed)) for seed in range(3)]
    with Store(location) as store:
        assert store.add_all(entries[:2]) == (2, 0)
        assert store.add_all(entries) == (1, 2)
        assert len(store.runs()) == 3


def test_import_that_contradicts_the_store_adds_nothing(location: str) -> None:
    with Store(location) as store:
        store.add(make_run(seed=1), suite="demo")
        with pytest.raises(AlreadyStoredError, match=r"seed 1 and target loss<=3.28, and it differs"):
            store.add_all([StoredRun("demo", make_run(seed=0)), StoredRun("demo", make_run(seed=1, started="later"))])
        assert [run.seed for run in store.runs()] == [1]


def test_each_line_is_strict_json_with_the_format_version(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    write_jsonl([StoredRun("demo", make_run()), StoredRun("demo", make_run(seed=1))], file)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    for line in lines:
        data = json.loads(line, parse_constant=pytest.fail)
        assert (data["format_version"], data["suite"]) == (1, "demo")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line[:-5], "line 2: .*"),
        (lambda line: line.replace('"NaN"', "NaN"), "line 2: NaN is not JSON"),
        (lambda line: line.replace('"format_version": 1', '"format_version": 2'), "line 2: format_version must be 1"),
        (lambda line: line.replace('"format_version": 1, ', ""), "line 2: format_version must be 1.*got None"),
        (lambda line: line.replace('"suite": "demo", ', ""), "line 2: suite must be a name; got None"),
        (lambda line: line.replace('"seed"', '"sead"'), "line 2: a run must have .*'seed' is missing"),
        (lambda line: line.replace('"seed"', '"seed": 3, "seed"'), "line 2: the field 'seed' appears twice"),
        (lambda line: "[1]", "line 2: each line must be a JSON object"),
    ],
)
def test_invalid_line_is_refused_by_its_number(tmp_path: Path, change: object, complaint: str) -> None:
    file = tmp_path / "runs.jsonl"
    write_jsonl([StoredRun("demo", make_run())] * 2, file)
    first, second = file.read_text(encoding="utf-8").splitlines()
    assert change(second) != second
    file.write_text(f"{first}\n{change(second)}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"runs\.jsonl, {complaint}"):
        read_jsonl(file)


def test_export_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("precious")

    def fail(handle: int) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises((OSError, OutputError), match="disk is full"):
        write_jsonl([StoredRun("demo", make_run())], file)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.jsonl"]
    assert file.read_text() == "precious"


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl cannot be read"):
        read_jsonl(tmp_path / "none.jsonl")
