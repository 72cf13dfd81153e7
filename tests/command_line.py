"""Runs commands in this process and keeps what they print."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from etesian.cli.app import run


class Result(NamedTuple):
    """Exit code and output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Standard output and standard error."""
        return self.stdout + self.stderr


def run_command(*arguments: object, env: Mapping[str, str] | None = None, given: bytes | None = None) -> Result:
    """Run ``etesian ARGUMENTS`` with environment variables and standard input."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    before = dict(os.environ)
    os.environ.update(env or {})
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given or b""), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            code = run([str(argument) for argument in arguments])
    finally:
        sys.stdin = stdin
        os.environ.clear()
        os.environ.update(before)
    return Result(code, *(stream.buffer.getvalue().decode() for stream in streams))
