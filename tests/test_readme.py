"""README's code blocks run, each in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from movielens import link_if_read

PYTHON = os.environ.get("ETESIAN_PYTHON", sys.executable)
"""Interpreter that runs the examples: continuous integration names one with only the wheel installed."""

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^etesian (.+)$", README, re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, tmp_path):
    link_if_read(BLOCKS[number], tmp_path)
    subprocess.run([PYTHON, "-c", BLOCKS[number]], cwd=tmp_path, check=True)


def test_commands_run_on_the_file_that_the_readme_shows(tmp_path):
    (shown,) = (block for block in BLOCKS if "suite = Suite(" in block)
    (tmp_path / "race.py").write_text(shown)
    assert len(COMMANDS) >= 2
    for command in COMMANDS:
        subprocess.run([PYTHON, "-m", "etesian", *command.split()], cwd=tmp_path, check=True)
    assert "</html>" in (tmp_path / "report.html").read_text()
