"""Ctrl-C ends every command with exit code 130 and no traceback, from the first instruction on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from etesian.cli.app import run
from etesian.cli.console import raised_interrupts

COMMANDS = {
    "help": "--help",
    "fit": "fit logistic rows --max-iter 100000000 --tol none --output m.npz",
    "generate": "generate abc --max-tokens 1000000",
    "analyze": "bench analyze runs.jsonl",
}
HEEDING = "import signal as s, sys; s.signal(s.SIGINT, s.default_int_handler); from etesian.__main__ import main;"


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("command", COMMANDS)
def test_interrupt_exits_with_130_at_any_time(command, seconds, tmp_path):
    (tmp_path / "rows").write_text("1 1:1\n-1 2:1\n" * 200)
    (tmp_path / "runs.jsonl").write_text("")
    code = f"{HEEDING} sys.argv[1:] = {COMMANDS[command].split()!r}; print('up', flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.readline()  # the handler is installed
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    is_too_late = command in ("help", "analyze") and process.returncode in (0, 2)
    assert process.returncode == 130 or is_too_late, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


AT_THE_END = """
import os, signal

class Interrupter:
    def __init__(self):
        self.interrupt = lambda kill=os.kill, own=os.getpid(), number=signal.SIGINT: kill(own, number)

    def __del__(self):
        self.interrupt()

interrupter = Interrupter()  # deleted with the modules, after Python has restored the default actions of signals
"""


def test_interrupt_after_the_command_does_not_change_its_exit_code(tmp_path):
    (tmp_path / "runs.jsonl").write_text("")
    code = f"{HEEDING}{AT_THE_END}\nsys.argv[1:] = ['--version']; main()"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_command_hands_interrupts_back_at_its_end():
    def ends_at_once(*_):
        pass

    before = signal.signal(signal.SIGINT, ends_at_once)
    try:
        assert run(["--version"], handles_interrupts=True) == 0
        assert signal.getsignal(signal.SIGINT) is ends_at_once
        assert run(["bench", "show", "missing.jsonl"], handles_interrupts=True) == 2
        assert signal.getsignal(signal.SIGINT) is ends_at_once
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupted:
    """Receives the interrupt while it is deleted, where Python drops exceptions."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_interrupt_that_python_drops_is_raised_again():
    before = sys.unraisablehook, signal.getsignal(signal.SIGINT)

    def interrupt_while_deleted():
        Interrupted()
        time.sleep(30)

    began = time.monotonic()
    with raised_interrupts(), pytest.raises(KeyboardInterrupt):
        interrupt_while_deleted()
    assert time.monotonic() - began < 20
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before


MARKER = """
import os, sys

def write_once(event, arguments, unwritten=[0]):
    if event == "exec" and unwritten and arguments[0].co_filename.endswith("etesian/__main__.py"):
        os.write(MARKER, unwritten.pop().to_bytes())

sys.addaudithook(write_once)
"""
"""Runs as the interpreter starts, and writes to a pipe just before the first instruction of the program."""

STARTS = {"script": [str(Path(sys.executable).with_name("etesian"))], "module": ["-m", "etesian"]}


def interrupted(arguments, seconds, folder):
    """Start Python as a terminal does, interrupt it some time after the program's first instruction; return code and output."""
    reading, writing = os.pipe()
    (folder / "sitecustomize.py").write_text(MARKER.replace("MARKER", str(writing)))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
        pass_fds=[writing],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    os.close(writing)
    assert os.read(reading, 1), process.communicate()[0]
    os.close(reading)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output


@pytest.mark.parametrize("start", STARTS)
def test_interrupt_after_the_first_instruction_exits_with_130(start, tmp_path):
    (tmp_path / "rows").write_text("1 1:1\n-1 2:1\n" * 200)
    commands = [COMMANDS["fit"], f"{COMMANDS['generate']} --model bundled", "serve --model bundled --port 0"]
    for number, seconds in enumerate(10 ** np.random.default_rng(len(start)).uniform(-4, 0, size=15)):
        code, output = interrupted([*STARTS[start], *commands[number % 3].split()], seconds, tmp_path)
        # The marker was still being written, or the lines before the handler were still running.
        own = re.findall(r'File ".*[/\\](?:etesian[/\\](.+)|(sitecustomize)\.py)"', output)
        is_early = bool(own) and own[-1] in (("__main__.py", ""), ("", "sitecustomize"))
        if not (is_early and seconds < 0.1):
            assert (code, "Traceback" in output, "Exception ignored" in output) == (130, False, False), output
