"""Ctrl-C ends every command with exit code 130 and no traceback, from the first instruction on."""

import os
import signal
import subprocess
import sys
import time

import pytest

COMMANDS = {
    "help": "--help",
    "fit": "fit logistic rows --max-iter 100000000 --tol none --output m.npz",
    "generate": "generate abc --max-tokens 1000000",
    "analyze": "bench analyze runs.jsonl",
}
HEEDING = "import signal as s, sys; s.signal(s.SIGINT, s.default_int_handler); print('up', flush=True);"


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("command", COMMANDS)
def test_interrupt_exits_with_130_at_any_time(command, seconds, tmp_path):
    (tmp_path / "rows").write_text("1 1:1\n-1 2:1\n" * 200)
    (tmp_path / "runs.jsonl").write_text("")
    code = f"{HEEDING} from etesian.__main__ import main; sys.argv[1:] = {COMMANDS[command].split()!r}; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.readline()  # the interpreter itself has started
    time.sleep(seconds + 0.02)  # the next instructions install the handler
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    is_too_late = command in ("help", "analyze") and process.returncode in (0, 2)
    assert process.returncode == 130 or is_too_late, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
