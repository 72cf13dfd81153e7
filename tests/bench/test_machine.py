"""The machine record: complete, publishable, and cheap to make."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from etesian.bench import machine


def test_description_is_json_and_complete() -> None:
    record = json.loads(json.dumps(machine.describe(), allow_nan=False))
    assert 1 <= record["cores"] <= os.cpu_count()
    assert record["memory_bytes"] > 2**28
    assert record["python"].endswith(platform.python_version())
    assert record["packages"]["numpy"]
    assert record["cpu"]


def test_host_is_not_named() -> None:
    name = platform.node()
    assert not name or f'"{name}"' not in json.dumps(machine.describe())
    assert not {"host", "hostname", "node"} & machine.describe().keys()


def test_describing_imports_no_package_that_it_names() -> None:
    code = (
        "import sys; from etesian.bench import machine; machine.describe(); "
        "print([name for name in ('numpy', 'scipy', 'torch', 'sklearn', 'sqlalchemy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("text", "cores"), [("max 100000", None), ("150000 100000", 1.5), ("nonsense", None)])
def test_quota_of_a_container_is_read(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert machine._cgroup_quota(tmp_path / "cpu.max") == cores


def test_folder_outside_any_repository_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.describe()["git_commit"] is None


def test_changed_files_are_recorded_beside_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], check=True)
    clean = machine.describe()["git_commit"]
    (tmp_path / "file").write_text("two")
    assert len(clean) == 40
    assert machine.describe()["git_commit"] == f"{clean}-dirty"
