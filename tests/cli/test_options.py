"""The same option has the same name, default and description in every command, and one store is found by all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_command
from cyclopts import App

from etesian.cli.app import BENCH_COMMANDS, COMMANDS, run
from etesian.cli.derive import descriptions, options_from

WITH_STORE = ("run", "show", "analyze", "report", "serve", "import jsonl", "import csv", "export")


def help_of(command):
    return " ".join(run_command(*command.split(), "--help", env={"COLUMNS": "200"}).stdout.replace("│", " ").split())


@pytest.mark.parametrize("command", WITH_STORE)
def test_store_has_one_name_default_and_description(command):
    text = help_of(f"bench {command}")
    assert "--store STOREADDRESS Store of runs: an SQLite file or a database URL. [default: etesian.db]" in text, text


@pytest.mark.parametrize("command", ["show", "analyze", "report -o r.html", "export x.jsonl"])
def test_store_is_an_option_or_an_argument(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *rest = command.split()
    for words in (["--store", "none.db", *rest], ["none.db", *rest]):
        result = run_command("bench", name, *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "there is no store at none.db" in result.stderr
    if name != "export":
        assert "given twice: a.db and --store b.db" in run_command("bench", name, "a.db", "--store", "b.db").stderr


def test_analyse_is_an_alias():
    assert help_of("bench analyse").replace("bench analyse", "bench analyze") == help_of("bench analyze")


@pytest.mark.parametrize("words", [(), ("bench",)])
def test_list_of_commands_has_a_summary_for_each(words):
    listed = re.findall(r"^│ ([a-z][\w-]*)(?: \(\w+\))?  +(\S.*?) *│$", run_command(*words).stdout, re.MULTILINE)
    expected = {**COMMANDS, "bench": "", "demo": ""} if not words else BENCH_COMMANDS
    assert {name for name, _ in listed} == set(expected)


def test_commands_are_imported_only_when_named():
    code = "import sys; from etesian.cli.app import run; run(['--help']); print(sorted(m for m in sys.modules if 'etesian.' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(
        [
            "etesian._shared",
            "etesian._shared.files",
            "etesian._shared.text",
            "etesian.cli",
            "etesian.cli.app",
            "etesian.cli.console",
            "etesian.errors",
        ]
    )


@pytest.mark.parametrize(
    "words", ["nothing", "fit", "--nothing", "bench analyze --level x", "predict", "bench show a b"]
)
def test_mistakes_exit_with_2_and_one_line(words):
    result = run_command(*words.split())
    if words == "fit":
        assert result.exit_code == 0  # a list of its commands
        return
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_full_output_device_is_an_error_without_traceback():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "etesian", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


def test_reader_that_leaves_early_ends_the_command_quietly():
    command = f"{sys.executable} -m etesian bench analyze --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)  # 0 if the pipe was still open
    assert done.stderr == ""


def described(first, *, second: int | None = 3, third="x"):
    """Do something.

    Parameters
    ----------
    first
        The first
        of them.
    second, third
        Both of `these`.

    Returns
    -------
    second
        Nothing.
    """


def test_descriptions_come_from_the_parameters_section_only():
    assert descriptions(described) == {
        "first": "The first of them.",
        "second": "Both of these.",
        "third": "Both of these.",
    }


def test_options_keep_names_types_and_defaults():
    got = {}

    @options_from(described, leave_out=["first", "third"])
    def command(**options):
        got.update(options)

    app = App()
    app.command(command, name="try")
    for words, value in (["try"], 3), (["try", "--second", "none"], None):
        function, bound, _ = app.parse_args(words)
        bound.apply_defaults()
        function(*bound.args, **bound.kwargs)
        assert got == {"second": value}


def test_defaults_are_valid_where_pydantic_is_imported(tmp_path):
    pytest.importorskip("pydantic")
    result = run_command("bench", "analyze", str(tmp_path / "none.db"))
    assert "there is no store at" in result.stderr


def test_errors_are_not_printed_to_standard_output_when_standard_error_is_closed(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    assert run(["bench", "show", "missing.jsonl"]) == 2
    assert capsys.readouterr().out == ""


def test_class_weights_that_cannot_be_typed_are_refused_by_name(tmp_path):
    (tmp_path / "rows").write_text("1 1:1\n-1 2:1\n")
    refused = run_command("fit", "logistic", str(tmp_path / "rows"), "--class-weight", "foo")
    assert refused.exit_code == 2
    assert "--class-weight" in refused.stderr
    assert "balanced" in refused.stderr
