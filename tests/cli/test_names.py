"""Names of files, models and drafters are data: they are printed whole, without markup and control characters."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_command

NAME = "\x1b[31mred[bold] a [x] \u202e\x9b31m"


def shown(name: str) -> str:
    """Write control characters as the terminal shows them."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)


def check_printed(name: str, text: str) -> None:
    assert shown(name) in "".join(line.rstrip() for line in text.splitlines()), text
    assert not set(text) & set("\x1b\u202e\x9b")


def test_names_of_outputs_are_printed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = NAME
    Path(f"{name}.csv").write_text("user,item,rating\n" + "".join(f"{k % 5},{k % 7},{k % 5}\n" for k in range(30)))
    for words in (
        ("fit", "ratings", f"{name}.csv", "-o", f"{name}.npz", "--max-iter", "1", "--n-factors", "2"),
        ("predict", f"{name}.npz", f"{name}.csv", "-o", f"{name}.txt"),
        ("inspect", f"{name}.csv", "--picture", f"{name}.svg"),
    ):
        done = run_command(*words)
        assert done.exit_code == 0, done.stderr
        check_printed(f"{name}.", done.stderr)


@pytest.mark.parametrize("name", [NAME, "a [/] b"])
def test_names_of_models_are_printed_whole(name: str) -> None:
    for words in (("models", "pull", name), ("generate", "a", "--model", name)):
        done = run_command(*words)
        assert done.exit_code == 2
        check_printed(name, done.stderr)


def test_folder_of_a_model_is_listed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from etesian.decode.models.loading.catalog import CATALOG

    model = replace(CATALOG["smollm2"], package="etesian-none")
    monkeypatch.setitem(CATALOG, "smollm2", model)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a [/] b"))
    monkeypatch.setenv("COLUMNS", "1000")
    model.cached.parent.mkdir(parents=True)
    model.cached.touch()
    done = run_command("models", "list")
    assert done.exit_code == 0, done.stderr
    assert str(model.cached) in done.stdout


def test_model_text_controls_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from etesian.cli.decode_output import PieceWriter

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    PieceWriter(None, file=terminal).write_prompt("a\x1b[31m\x9b31m\u202eb\u2066c\x85")
    assert terminal.getvalue() == "a\u241b[31m\ufffd31m\ufffdb\ufffdc\ufffd"
