"""Messages, pages and files never show the user name, the password or the options of a store's URL."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench_fakes import make_run
from command_line import run_command

from etesian.bench import InputError, Store, StoredRun, write_jsonl
from etesian.bench.address import StoreAddress, hide_credentials

SECRET, USER, OPTION = "PW-9x7", "etesian", "Q-4m2"
SUITE = """
from etesian.bench import Suite, Target

class Halving:
    name = "halving"
    def prepare(self, seed): self.x = 1.0
    def advance(self):
        self.x *= 0.5
        return True
    def measure(self): return {"x": self.x}

suite = Suite("halving", [Halving()], Target.parse("x<=0.1"))
"""


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("foo://u:PW-9x7@h/db", "foo://***@h/db"),
        ("postgresql+psycopg://u:p%40w@h:5/db", "postgresql+psycopg://***@h:5/db"),
        ("postgresql://u@h/db", "postgresql://***@h/db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql://h/db?password=PW-9x7", "postgresql://h/db?***"),
        ("postgresql://u:PW@9x7@h/db?sslmode=disable", "postgresql://***@h/db?***"),
        ("postgresql://u:PW/9x7@h/db", "postgresql://***@h/db"),
        ("postgresql://u:PW?9x7@h/db", "postgresql://***"),
        ("postgresql://h/db?password=PW@9x7", "postgresql://***"),
        ("runs.db", "runs.db"),
        ("a@b?c.db", "a@b?c.db"),
    ],
)
def test_text_of_an_address_hides_user_info_and_query(location: str, text: str) -> None:
    address = StoreAddress(location)
    assert str(address) == f"{address}" == text
    assert text in repr(address)
    assert address == StoreAddress.of(address) == StoreAddress(location)


def test_messages_of_drivers_are_cleared_of_secrets() -> None:
    address = StoreAddress(f"postgresql://{USER}:p%40w9@h/db?options={OPTION}")
    message = f'user "{USER}" with p@w9 and {OPTION} failed; the table etesian_runs is fine'
    assert address.hide_in(message) == 'user "***" with *** and *** failed; the table etesian_runs is fine'
    assert hide_credentials("got x://u:p@h/d?k=v and 'y://h?q=1'") == "got x://***@h/d?*** and 'y://h?***'"


@pytest.mark.parametrize(
    "url",
    [
        f"foo://{USER}:{SECRET}@h/db",
        f"postgresql+psycopg://{USER}:{SECRET}@127.0.0.1:1/db",
        f"postgresql://h:{SECRET}/db",
        f"postgresql://h/db?password={SECRET}",
        f"postgresql://{USER}:{SECRET}@h:port/db",
    ],
)
def test_addresses_that_cannot_be_opened_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(url)
    assert SECRET not in str(caught.value)
    assert USER not in str(caught.value).replace("etesian bench", "").replace("etesian[", "")


@pytest.fixture(scope="module")
def secret_url(postgresql_url: str) -> str:
    """A store with runs; the server trusts any password."""
    address = postgresql_url.replace(f"{USER}@", f"{USER}:{SECRET}@") + f"?application_name={OPTION}"
    with Store(address) as store:
        store.add_all([StoredRun("suite", make_run(name, seed)) for name in ("a", "b") for seed in range(3)])
    return address


def commands(url: str, folder: Path) -> dict[str, list[str]]:
    (folder / "suite.py").write_text(SUITE)
    write_jsonl([StoredRun("other", make_run("c"))], folder / "runs.jsonl")
    return {
        "run": ["run", f"{folder}/suite.py", "--store", url, "--seeds", "2", "--in-process"],
        "run again": ["run", f"{folder}/suite.py", "--store", url, "--seeds", "2", "--in-process"],
        "show": ["show", url],
        "show nothing": ["show", url, "--target", "loss<=9"],
        "analyze": ["analyze", url, "--json"],
        "analyze nothing": ["analyze", url, "--suite", "none"],
        "check": ["check", url, url],
        "check nothing": ["check", url, url, "--suite", "none"],
        "report": ["report", url, "-o", f"{folder}/report.html"],
        "publish": ["publish", f"{folder}/site", "--store", url],
        "import": ["import", "jsonl", f"{folder}/runs.jsonl", "--store", url],
        "export": ["export", url, f"{folder}/out.jsonl"],
        "export nothing": ["export", url, f"{folder}/out.jsonl", "--suite", "none"],
        "twice": ["show", url, "--store", "another.db"],
        "unknown option": ["show", "--storage", url],
        "wrong place": ["show", "x.db", url],
        "wrong type": ["run", "x", "--jobs", url],
        "no suite": ["run", url],
    }


def test_no_command_shows_the_secrets_of_a_store(secret_url: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, words in commands(secret_url, tmp_path).items():
        done = run_command("bench", *words)
        assert SECRET not in done.output, (name, done.output)
        assert OPTION not in done.output, (name, done.output)
        assert f"{USER}:" not in done.output.replace("etesian: ", ""), (name, done.output)
        mistakes = ("nothing", "twice", "unknown", "wrong", "no suite")
        assert done.exit_code == (2 if any(word in name for word in mistakes) else 0), (name, done.output)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
            assert OPTION.encode() not in path.read_bytes(), path


def test_live_report_does_not_show_the_secrets_of_its_store(secret_url: str) -> None:
    import urllib.request

    line = [sys.executable, "-m", "etesian", "bench", "serve", secret_url]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        announced = process.stderr.readline()
        assert announced.startswith("serving "), announced
        page = urllib.request.urlopen(announced.split()[1].rstrip(";"), timeout=60).read().decode()
        process.send_signal(signal.SIGINT)
        output = announced + "".join(process.communicate(timeout=60))
    for text in (page, output):
        assert SECRET not in text
        assert OPTION not in text
    assert "<title>postgres" in page
