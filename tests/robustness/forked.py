"""Reads many mutated inputs in forked processes with limits, and sorts the outcomes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import shutil
import signal
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutate

MEMORY_BYTES = 1 << 30
"""Memory that reading one input may add to the process."""

CPU_SECONDS = 10
"""Processor time that one input may take, on all threads."""

WALL_SECONDS = 60
"""Time after which an input that uses no processor counts as hanging."""

INPUTS_PER_FORK = 1_000


@dataclass(frozen=True)
class Sample:
    """A valid input and the function that reads it.

    Parameters
    ----------
    name
        Name of the format.
    write
        Writes the files into a folder.
    read
        Reads them; returns a complaint if the result is wrong. It may raise an error among `refusals`.
    refusals
        Errors that tell the user about the file.
    """

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], str | None]
    refusals: tuple[type[Exception], ...]


@dataclass
class Tally:
    """Outcomes of a family."""

    accepted: int = 0
    refused: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of inputs read."""
        return self.accepted + self.refused + len(self.failures)


def read_mutated(samples: list[Sample], *, seed: int, first: int, count: int) -> Tally:
    """Read `count` mutated inputs; input number k is the same in every call with the same seed.

    Parameters
    ----------
    samples
        Formats, taken in turn.
    seed
        Seed of the mutations.
    first, count
        Numbers of the inputs.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="etesian-fuzz-") as root:
        folders = [Path(root, str(number)) for number in range(len(samples))]
        for sample, folder in zip(samples, folders, strict=True):
            folder.mkdir()
            sample.write(folder)
        at, end = first, first + count
        while at < end:
            at = _read_in_fork(samples, folders, seed, range(at, min(end, at + INPUTS_PER_FORK)), tally)
    return tally


def mutated_input(folder: Path, seed: int, number: int) -> tuple[Path, bytes]:
    """Return the file of a sample that input `number` changes, and its new content."""
    rng = np.random.default_rng([seed, zlib.crc32(folder.name.encode()), number])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[rng.integers(len(files))]
    return file, mutate(file.name, file.read_bytes(), rng)


def _read_in_fork(samples: list[Sample], folders: list[Path], seed: int, numbers: range, tally: Tally) -> int:
    """Read inputs in a child process; return the number of the first that is not read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(samples, folders, seed, numbers, writing)
    os.close(writing)
    at = numbers.start
    with os.fdopen(reading) as lines:
        for line in _lines_until_hanging(lines, child):
            outcome = json.loads(line)
            at += 1
            _count(outcome, tally)
    _, status = os.waitpid(child, 0)
    if at < numbers.stop:
        cause = (
            f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "ended the process"
        )
        number, sample = at, samples[at % len(samples)]
        file, content = mutated_input(folders[at % len(samples)], seed, number)
        _count(_failure(sample, number, file, content, cause), tally)
        at += 1
    return at


def _lines_until_hanging(lines: Any, child: int) -> Iterator[str]:
    """Yield lines of the child; kill it if it is silent for too long."""
    import select

    while True:
        ready, _, _ = select.select([lines], [], [], WALL_SECONDS)
        if not ready:
            os.kill(child, signal.SIGABRT)
        line = lines.readline()
        if not line:
            return
        yield line


def _count(outcome: dict[str, Any], tally: Tally) -> None:
    kind = outcome.pop("outcome")
    if kind == "accepted":
        tally.accepted += 1
    elif kind == "refused":
        tally.refused += 1
    else:
        tally.failures.append(outcome)


def _be_child(samples: list[Sample], folders: list[Path], seed: int, numbers: range, writing: int) -> None:
    """Read the inputs with limits on memory and processor time, one line of output each; never return."""
    try:
        _limit_memory()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, in compiled code too
        work = Path(tempfile.mkdtemp(prefix="work-", dir=folders[0].parent))
        signal.setitimer(signal.ITIMER_PROF, 10 * CPU_SECONDS)
        _warm_up(samples, folders)
        with os.fdopen(writing, "w", buffering=1) as lines:
            for number in numbers:
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
                print(json.dumps(_outcome(samples, folders, seed, number, work)), file=lines)
        shutil.rmtree(work, ignore_errors=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _warm_up(samples: list[Sample], folders: list[Path]) -> None:
    """Read the unchanged samples, so that compiling and importing count for no input."""
    for sample, folder in zip(samples, folders, strict=True):
        copy = folder.with_name(f"{folder.name}-{os.getpid()}")
        shutil.copytree(folder, copy)
        with contextlib.suppress(Exception):  # counted when it happens to an input
            sample.read(copy)
        shutil.rmtree(copy, ignore_errors=True)


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _outcome(samples: list[Sample], folders: list[Path], seed: int, number: int, work: Path) -> dict[str, Any]:
    sample, folder = samples[number % len(samples)], folders[number % len(samples)]
    file, content = mutated_input(folder, seed, number)
    place = work / f"{number}"
    shutil.copytree(folder, place)
    (place / file.relative_to(folder)).write_bytes(content)
    try:
        complaint = sample.read(place)
    except sample.refusals as error:
        complaint = None if str(error).strip() else "refused without a message"
        kind = "refused"
    except Exception as error:
        summary = traceback.extract_tb(error.__traceback__)[-1]
        complaint = f"{type(error).__name__}: {str(error)[:200]} ({Path(summary.filename).name}:{summary.lineno})"
    else:
        kind = "accepted"
    shutil.rmtree(place, ignore_errors=True)
    return {"outcome": kind} if complaint is None else _failure(sample, number, file, content, complaint)


def _failure(sample: Sample, number: int, file: Path, content: bytes, cause: str) -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(content[: 1 << 20])).decode()
    return {
        "outcome": "failed",
        "sample": sample.name,
        "number": number,
        "file": file.name,
        "cause": cause,
        "content": packed if len(packed) < 20_000 else None,
    }
