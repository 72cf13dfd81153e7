"""Runs of one suite at two git revisions, interleaved so that a drifting machine affects both alike."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etesian.bench.errors import InputError
from etesian.bench.isolate import Child, FromSource, Job, default_limit, interrupts_held
from etesian.bench.record import Point, Run
from etesian.bench.regression import Check, check_runs
from etesian.bench.store import Store
from etesian.bench.workload import Target

_LIST_SUITE = """
import json, sys
from etesian.bench import load_suite
suite = load_suite(sys.argv[1])
target = suite.target
print(json.dumps({
    "name": suite.name, "workloads": [workload.name for workload in suite.workloads], "budget": suite.budget_seconds,
    "target": [target.metric, target.threshold, target.direction],
}))
"""


@dataclass(frozen=True)
class Revision:
    """A suite at one revision.

    Parameters
    ----------
    label
        Abbreviated commit.
    source
        File of the suite in its worktree.
    path
        Folders in which its processes search for modules first.
    suite
        Name, workloads, budget and target of the suite, as JSON values.
    """

    label: str
    source: Path
    path: tuple[str, ...]
    suite: dict[str, Any]

    @property
    def stored_name(self) -> str:
        """Name under which the runs are stored."""
        return f"{self.suite['name']}@{self.label}"

    def job(self, workload: str, seed: int, limit_seconds: float | None) -> Job:
        """Describe a run."""
        budget = self.suite["budget"]
        limit = default_limit(budget) if limit_seconds is None else limit_seconds
        return Job(workload, seed, Target(*self.suite["target"]), budget, limit)


def compare_revisions(
    source: str,
    revision: str,
    *,
    seeds: Sequence[int],
    store: Store,
    limit_seconds: float | None = None,
    announce: Callable[[str], object] = print,
) -> Check:
    """Run a suite at a base revision and as it is now, in the order A B B A, and check the ratio of their times.

    Both revisions are checked out into temporary worktrees; the present one includes uncommitted changes of tracked
    files. Workloads import modules from the root of their worktree and its folder ``src``.

    Parameters
    ----------
    source
        Python file of the suite, in a git repository.
    revision
        Base revision, such as ``"main"``.
    seeds
        Seeds of the runs.
    store
        Store for the runs, as suites ``NAME@COMMIT``.
    limit_seconds
        See `run_suite`.
    announce
        Called with a line about each finished run.

    Returns
    -------
    Check

    Raises
    ------
    InputError
        If the file is not in a git repository, the revision does not exist, or a suite cannot be loaded.
    """
    file = Path(source).resolve()
    if file.suffix != ".py" or not file.is_file():
        raise InputError(f"--compare requires a Python file that defines `suite`; got {source}")
    root = Path(_git(file.parent, "rev-parse", "--show-toplevel"))
    commits = _commit(root, revision), _git(root, "stash", "create") or _commit(root, "HEAD")
    with _worktrees(root, commits) as folders:
        base, new = (
            _load(folder, file.relative_to(root), commit) for folder, commit in zip(folders, commits, strict=True)
        )
        if base.label == new.label:
            new = replace(new, label=f"{new.label}-again")
        finished = _run_interleaved(base, new, seeds, store, limit_seconds, announce)
    return check_runs(finished[base.stored_name, "base"], finished[new.stored_name, "new"])


def _run_interleaved(
    base: Revision,
    new: Revision,
    seeds: Sequence[int],
    store: Store,
    limit_seconds: float | None,
    announce: Callable[[str], object],
) -> dict[tuple[str, str], list[Run]]:
    """Run A B for one seed and B A for the next, workload by workload."""
    shared = [name for name in base.suite["workloads"] if name in new.suite["workloads"]]
    sides = {"base": base, "new": new}
    finished: dict[tuple[str, str], list[Run]] = {(each.stored_name, side): [] for side, each in sides.items()}
    total = 2 * len(seeds) * len(shared)
    for place, (seed, workload) in enumerate(itertools.product(seeds, shared)):
        order = ["base", "new"] if (place // len(shared)) % 2 == 0 else ["new", "base"]
        for side in order:
            revision = sides[side]
            made = _run(revision, revision.job(workload, seed, limit_seconds))
            with interrupts_held():
                store.add(made, suite=revision.stored_name, replace=True)
            finished[revision.stored_name, side].append(made)
            count = sum(map(len, finished.values()))
            announce(f"[{count}/{total}] {workload}, seed {seed}, {side} ({revision.label}): {_ending(made)}")
    return finished


def _run(revision: Revision, job: Job) -> Run:
    with interrupts_held():
        child = Child(job, FromSource(str(revision.source), job.workload), path=revision.path)
    try:
        while isinstance(message := child.receive(), Point):
            pass
    except BaseException:
        child.stop()
        raise
    child.finish()
    return message


def _ending(run: Run) -> str:
    return f"{run.seconds:.4g} s" if run.outcome == "reached" and run.seconds is not None else run.outcome


def _load(folder: Path, file: Path, commit: str) -> Revision:
    """Describe the suite of a worktree; loaded in a process of its own, as both revisions have modules of the same names."""
    source = folder / file
    if not source.is_file():
        raise InputError(f"{file} does not exist at revision {commit[:8]}")
    path = tuple(str(each) for each in (folder, folder / "src") if each.is_dir())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)])}
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _LIST_SUITE, str(source)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"the suite of {file} at revision {commit[:8]} cannot be loaded: {reason}")
    return Revision(commit[:8], source, path, json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _worktrees(root: Path, commits: Sequence[str]) -> Iterator[list[Path]]:
    """Check out commits into temporary worktrees, and remove these at the end."""
    parent = Path(tempfile.mkdtemp(prefix="etesian-revisions-"))
    folders = [parent / f"{side}-{commit[:8]}" for side, commit in zip(("base", "new"), commits, strict=True)]
    try:
        for folder, commit in zip(folders, commits, strict=True):
            _git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        yield folders
    finally:
        for folder in folders:
            if folder.exists():
                _git(root, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(parent, ignore_errors=True)


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except InputError:
        raise InputError(f"the revision {revision!r} does not exist in {root}") from None


def _git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    program = shutil.which("git")
    if program is None:
        raise InputError("--compare requires git, which is not installed")
    command = [program, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise InputError(f"git {arguments[0]} failed in {folder}: {reason}")
    return done.stdout.strip()
