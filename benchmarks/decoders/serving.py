"""Run a peer in a separate process, with JSON lines as the protocol: `serve` is the peer's side, `Peer` is ours.

Separate processes isolate libraries whose threads or versions conflict. This module imports no heavy library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from decoders.written import Choosing, Written

Writers = Mapping[str, Callable[[list[int], Choosing, int], Written]]
"""Decoding functions of a peer by name. Each continues prompt tokens by a number of tokens."""


def serve(writers: Writers) -> None:
    """Send the names of the entries, then answer requests line by line until the end of the input."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of libraries must not mix with answers
    print(json.dumps(list(writers)), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        written = writers[request["writer"]](request["prompt"], Choosing(*request["choosing"]), request["n_tokens"])
        print(json.dumps(asdict(written)), file=answers)


class Peer:
    """Client of the program of a peer.

    Parameters
    ----------
    module
        Module in this folder that calls `serve`.
    arguments
        Arguments of the program.
    python
        Interpreter of the environment in which the library is installed.

    Raises
    ------
    RuntimeError
        If the program ends before it has sent its entries, usually because its library is not installed.
    """

    def __init__(self, module: str, arguments: Sequence[str], python: str = sys.executable) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [python, "-m", f"decoders.{module}", *arguments],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = json.loads(self._read_line())

    def write(self, writer: str, prompt: list[int], choosing: Choosing, n_tokens: int) -> Written:
        """Ask for a continuation."""
        request = {"writer": writer, "prompt": prompt, "choosing": choosing, "n_tokens": n_tokens}
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return Written(**json.loads(self._read_line()))

    def close(self) -> None:
        """End the program."""
        self._process.communicate()

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"{self.module} ended with exit code {self._process.returncode}")
        return line
