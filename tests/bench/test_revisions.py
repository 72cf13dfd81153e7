"""Runs of two git revisions: interleaved, from worktrees that are removed, including uncommitted changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from etesian.bench import InputError, Store
from etesian.bench.revisions import compare_revisions

SUITE = """
from etesian.bench import Suite, Target
from delay_of_revision import SECONDS
import time


class Wait:
    name = "wait"

    def prepare(self, seed):
        self.left = 1

    def advance(self):
        time.sleep(SECONDS)
        self.left = 0
        return True

    def measure(self):
        return {"left": self.left}


suite = Suite("waits", [Wait()], Target.parse("left<=0"), budget_seconds=10)
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose working tree is slower than its only commit."""
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "race.py").write_text(SUITE)
    (folder / "src" / "delay_of_revision.py").write_text("SECONDS = 0.05\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    (folder / "src" / "delay_of_revision.py").write_text("SECONDS = 0.5\n")
    return folder


def test_uncommitted_changes_are_compared_with_a_revision_in_the_order_abba(repository: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    with Store(tmp_path / "s.db") as store:
        found = compare_revisions(
            str(repository / "race.py"), "HEAD", seeds=[0, 1, 2, 3], store=store, announce=lines.append
        )
        assert len({suite for suite, _ in store.entries()}) == 2
    (entry,) = found.entries
    assert (entry.name, entry.verdict, entry.runs) == ("wait", "slower", (4, 4))
    assert 5 < entry.ratio.value < 12
    assert [line.split(", ")[2].split()[0] for line in lines] == ["base", "new", "new", "base"] * 2
    assert git(repository, "worktree", "list").count("\n") == 0
    assert git(repository, "status", "--short") == "M src/delay_of_revision.py"


@pytest.mark.parametrize(
    ("source", "revision", "complaint"),
    [
        ("race.py", "nowhere", "the revision 'nowhere' does not exist"),
        ("race.py", "--help", "the revision '--help' does not exist"),
        ("other.py", "HEAD", "requires a Python file that defines `suite`; got"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    repository: Path, tmp_path: Path, source: str, revision: str, complaint: str
) -> None:
    with Store(tmp_path / "s.db") as store, pytest.raises(InputError, match=complaint):
        compare_revisions(str(repository / source), revision, seeds=[0], store=store)


def test_files_outside_of_a_repository_are_refused(tmp_path: Path) -> None:
    (tmp_path / "race.py").write_text(SUITE)
    with Store(tmp_path / "s.db") as store, pytest.raises(InputError, match="git rev-parse failed"):
        compare_revisions(str(tmp_path / "race.py"), "HEAD", seeds=[0], store=store)
