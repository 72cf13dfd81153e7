"""A test that is skipped for want of a required program fails where that program is required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="chromium is not on the PATH")
def test_browser():
    pass

def test_database():
    pytest.skip("PostgreSQL's server programs are not installed")

def test_device():
    pytest.skip("no CUDA device")
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", "3 skipped"), ("chromium", "2 skipped, 1 error"), ("chromium PostgreSQL", "1 failed, 1 skipped, 1 error")],
)
def test_skips_fail_where_the_program_is_required(required, outcome, tmp_path):
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    environment = os.environ | {"ETESIAN_REQUIRED": required, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome in done.stdout.splitlines()[-1], done.stdout + done.stderr
