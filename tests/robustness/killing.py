"""Kills processes at random moments and looks at what they leave."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KILLED = -9
SECONDS_TO_WAIT = 120


def n_kills(default: int) -> int:
    """Return the number of kills of a test: the environment variable ETESIAN_KILLS, or the default."""
    return int(os.environ.get("ETESIAN_KILLS", default))


def kill_at_random(process: BaseProcess, rng: np.random.Generator, longest: float) -> int | None:
    """Start a process and kill it after a random time of at most `longest` seconds; return as `killed` does."""
    process.start()
    time.sleep(rng.uniform(0, longest))
    return killed(process)


def killed(process: BaseProcess) -> int | None:
    """Kill a process that runs; return -9, or its exit code if it ended before."""
    process.kill()
    process.join()
    return process.exitcode


def forked(work: Callable[[], object]) -> BaseProcess:
    """Return a process that will do some work in a copy of this one."""
    return multiprocessing.get_context("fork").Process(target=work)


class Command(NamedTuple):
    """An `etesian` command in a session of its own, which starts from a server that has imported the libraries.

    Parameters
    ----------
    arguments
        Words of the command line.
    folder
        Working directory. The folder of caches and the log of the output are beside it.
    constants
        Values of module constants: (module, name, value).
    """

    arguments: Sequence[str]
    folder: Path
    constants: Sequence[tuple[str, str, Any]] = ()

    def process(self) -> BaseProcess:
        """Return a process that will run the command."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["etesian.cli.sparse", "etesian.cli.decode_serve", "etesian.cli.decode_draft", "etesian.decode.serve.http",
             "etesian.decode.draft_training.fitting", "transformers", "uvicorn"]
        )  # fmt: skip
        return context.Process(target=partial(_run, *self))

    def finish(self) -> None:
        """Run the command to its end; it must succeed."""
        process = self.process()
        process.start()
        process.join(SECONDS_TO_WAIT)
        assert process.exitcode == 0, self.log

    @property
    def log(self) -> str:
        """Everything that the command has printed."""
        return self.folder.with_suffix(".log").read_text()


def _run(arguments: Sequence[str], folder: Path, constants: Sequence[tuple[str, str, Any]]) -> None:
    import importlib
    import sys

    from etesian.cli.app import run

    os.setsid()
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder.with_suffix(".cache"))
    with folder.with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    for module, name, value in constants:
        setattr(importlib.import_module(module), name, value)
    sys.exit(run(arguments))


def left_processes(session: int | None) -> list[str]:
    """Return the names of processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:  # ended meanwhile
            continue
        state, _, _, own = rest.split()[:4]
        if int(own) == session and state != "Z":
            found.append(name)
    return found


def temporary_files(folder: Path) -> Iterator[Path]:
    """Yield the temporary files of killed writers, which nothing reads."""
    return folder.rglob(".etesian-*")


def wait_until(is_true: Callable[[], object], process: BaseProcess) -> None:
    """Wait until something is true, or the process has ended."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not is_true() and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
