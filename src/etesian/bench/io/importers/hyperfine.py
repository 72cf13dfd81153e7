"""Results of hyperfine (``hyperfine --export-json``): each execution of a command is one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError, document_of, json_object, objects_in
from etesian.bench.io._reading.found import Found, attempt, read_each
from etesian.bench.io._reading.timings import seed_from_content, timed_run


def read_hyperfine(path: str | Path, *, suite: str = "hyperfine") -> Iterator[Found]:
    """Read results of hyperfine.

    Parameters
    ----------
    path
        A JSON file written by ``hyperfine --export-json``, or a folder of them.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run for each execution of a command, since hyperfine starts a new process each time. The time is the wall time of
        the execution. An execution with an exit code other than 0 has failed.

    Raises
    ------
    InputError
        If the path does not exist, or holds no JSON file.
    """
    return read_each(
        path,
        lambda file: _read_file(file, suite),
        is_candidate=lambda file: file.suffix == ".json",
        sought="file (*.json)",
    )


def _read_file(file: Path, suite: str) -> Iterator[Found]:
    text = document_of(file)
    before: Counter[str] = Counter()  # runs of each command
    for result in objects_in(json_object(text), "results"):
        command = str(result.get("command", ""))

        def read(result: Mapping[str, Any] = result, first: int = before[command]) -> Iterable[Found]:
            return _runs_of(file, text, result, suite, first)

        found = list(attempt(f"{file}, {command}", read))
        before[command] += len(found)
        yield from found


def _runs_of(file: Path, text: str, result: Mapping[str, Any], suite: str, first: int) -> Iterable[Found]:
    command, times = result.get("command"), result.get("times")
    if not isinstance(command, str) or not command:
        raise UnreadableError("a result must name its command")
    if not isinstance(times, list) or not times:
        raise UnreadableError("has no 'times': a summary cannot be split into runs; export it by --export-json")
    codes = result.get("exit_codes") or [0] * len(times)
    if not isinstance(codes, list) or len(codes) != len(times):
        raise UnreadableError(f"'exit_codes' must list one code for each of the {len(times)} times")
    runs = []
    for index, (time, code) in enumerate(zip(times, codes, strict=True), first):
        error = None if code == 0 else "killed by a signal" if code is None else f"exit code {code}"
        runs.append(
            timed_run(
                suite,
                command,
                number_of(time, role="times"),
                seed=seed_from_content(text, command, str(index)),
                error=error,
                details={"parameters": result.get("parameters"), "repeat": index, "file": file.name},
            )
        )
    return runs
