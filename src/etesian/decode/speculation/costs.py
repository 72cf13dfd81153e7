"""What a pass of a model costs, by how many tokens it reads: measured once for a model and machine, and kept up to date.

Knows nothing of drafting; `speculation.py` and the draft models decide by these figures what pays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etesian._shared.files import atomic_write
from etesian.decode.models.language_model import Context, LanguageModel
from etesian.errors import OutputError

ROWS = (1, 2, 4, 8, 16, 32, 64)
"""How many tokens the measured passes read; costs between are interpolated."""

SLOWEST = 2.0  # times the estimate: what took longer, perhaps because another program ran, counts as this
DRIFT = 0.1  # of the machine's speed, in every pass: it is shared, grows warm, and texts grow long
BEND = 0.02  # of the curve by a pass of so many rows, for each pass since the last of about as many: what is old is doubtful
MOST_BEND = 0.3
FASTEST_AGREEING, SLOWEST_AGREEING = 0.67, 2.5  # times the measured costs; beyond, a kept measurement is discarded
SETTLED = 64  # passes after which the machine's speed is known
PACKAGES = ("etesian", "torch", "transformers", "numba")
FORMAT_VERSION = 1


class PassCosts:
    """Seconds of a pass by the number of its rows, the tokens that it reads.

    Parameters
    ----------
    rows
        Ascending, from 1 or above.
    seconds
        Of passes of so many rows; above 0. More rows are never taken to cost less.

    Raises
    ------
    ValueError
        If the two do not fit each other, or hold something else.
    """

    def __init__(self, rows: Sequence[int], seconds: Sequence[float]) -> None:
        known, measured = [float(n) for n in rows], [float(each) for each in seconds]
        if not 0 < len(known) == len(measured):
            raise ValueError("rows and seconds must be rows of numbers, one of seconds for each of rows")
        if not (known[0] >= 1 and all(fewer < more for fewer, more in pairwise(known))):
            raise ValueError(f"rows must ascend from 1 or above; got {list(rows)}")
        if not all(0 < each < math.inf for each in measured):
            raise ValueError(f"seconds must be above 0; got {list(seconds)}")
        self._rows = known
        self._shape = list(accumulate(measured, max))  # seconds, but for the machine's speed
        self._slowness = 1.0
        self._is_measured = True
        self._n_passes = 0
        self._seen = [0.0] * len(known)  # for each number of rows: the last pass of about so many
        self._n_guessed = 0  # passes observed in place of a measurement
        self.on_disagreement: Callable[[], object] | None = None
        """Called once if passes turn out much faster or slower than measured, on a busy machine for example."""

    @classmethod
    def unmeasured(cls) -> PassCosts:
        """Costs that are 0 until the first pass is observed, then the same for any number of rows until others are."""
        costs = cls(ROWS, np.ones(len(ROWS)).tolist())
        costs._is_measured = False
        return costs

    @property
    def points(self) -> tuple[list[int], list[float]]:
        """Numbers of rows, and the seconds of passes of each; what lies between is interpolated."""
        return [int(n) for n in self._rows], [self._slowness * each for each in self._shape]

    # Asked for in every pass, so numbers are Python's own: arrays of seven take ten times as long.
    def seconds(self, n_rows: int) -> float:
        """Seconds of a pass of so many rows."""
        if not self._is_measured:
            return 0.0
        below, share = self._between(n_rows)
        seconds = self._slowness * self._shape[below]
        if share:
            return seconds + self._slowness * share * (self._shape[below + 1] - self._shape[below])
        return seconds * max(n_rows / self._rows[-1], 1.0)

    def curve(self, n_rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Seconds of passes of these numbers of rows; beyond the most that was measured, each row costs its share of that."""
        if not self._is_measured:
            return np.zeros(len(n_rows))
        beyond = np.maximum(n_rows / self._rows[-1], 1.0)
        return self._slowness * beyond * np.interp(n_rows, self._rows, self._shape)

    def observe(self, n_rows: int, seconds: float) -> None:
        """Learn from a pass: what it took more or less is the machine's speed, unless passes of so many rows are rare."""
        if seconds <= 0 or n_rows < 1:
            return
        if not self._is_measured:
            self._slowness, self._is_measured, self._n_guessed = seconds, True, 1
        drift = DRIFT
        if 0 < self._n_guessed < 1 / DRIFT:  # the first passes of all are slow for reasons of their own
            self._n_guessed += 1
            drift = 1 / self._n_guessed
        ratio = min(seconds / self.seconds(n_rows), SLOWEST)  # nothing is fast by accident
        below, share = self._between(n_rows)
        self._slowness *= ratio**drift
        self._n_passes += 1
        self._bend(below, 1 - share, ratio)
        if share:
            self._bend(below + 1, share, ratio)
        agrees = self._n_passes < SETTLED or FASTEST_AGREEING <= self._slowness <= SLOWEST_AGREEING
        if self.on_disagreement is not None and not agrees:
            self.on_disagreement()
            self.on_disagreement = None

    def _between(self, n_rows: int) -> tuple[int, float]:
        """The last number of rows that is not above this one, and how far it is on the way to the next."""
        rows = self._rows
        if n_rows <= rows[0]:
            return 0, 0.0
        below = bisect_right(rows, n_rows) - 1
        if below == len(rows) - 1:
            return below, 0.0
        return below, (n_rows - rows[below]) / (rows[below + 1] - rows[below])

    def _bend(self, place: int, weight: float, ratio: float) -> None:
        """Move one point of the curve, the more the longer it was not seen, and keep the curve from falling."""
        age = self._n_passes - self._seen[place]
        self._seen[place] = self._n_passes - age * (1 - weight)
        shape = self._shape
        shape[place] *= ratio ** (weight * min(BEND * age, MOST_BEND))
        if place and shape[place] < shape[place - 1]:
            shape[place] = shape[place - 1]
        while place + 1 < len(shape) and shape[place + 1] < shape[place]:
            shape[place + 1] = shape[place]
            place += 1


def measure_pass_costs(
    model: LanguageModel, *, rows: Sequence[int] = ROWS, length: int = 256, rounds: int = 5
) -> PassCosts:
    """Time passes of a model, all numbers of rows in turn, and take medians.

    Parameters
    ----------
    model
    rows
        How many tokens the passes read.
    length
        Tokens that they are read after; what follows is much the same for other lengths, and observed as it comes.
    rounds
        How often each is timed, after one round of warm-up.
    """
    longest = model.max_length
    if longest is not None:
        rows = [n_rows for n_rows in rows if n_rows < longest] or [1]
        length = max(min(length, longest - rows[-1]), 0)
    context = model.context()
    context.extend(np.arange(length, dtype=np.int32) % model.vocabulary_size)
    has_trees = model.traits.supports_trees
    seconds = [[_seconds_of_pass(context, n_rows, has_trees) for n_rows in rows] for _ in range(rounds + 1)]
    return PassCosts(rows, np.median(seconds[1:], axis=0).tolist())


def cached_pass_costs(
    model: LanguageModel, *, rows: Sequence[int] = ROWS, length: int = 256, rounds: int = 5
) -> PassCosts:
    """Costs as they were measured before for this model, machine and versions; else measured now and kept.

    A model that has no `fingerprint` is measured each time. A file that cannot be used is as good as none.
    """
    fingerprint = model.traits.fingerprint
    if fingerprint is None:
        return measure_pass_costs(model, rows=rows, length=length, rounds=rounds)
    place = cache_folder() / "pass_costs" / f"{_key(fingerprint, length)}.json"
    costs = _read(place)
    if costs is None:
        costs = measure_pass_costs(model, rows=rows, length=length, rounds=rounds)
        _write(place, costs)
    costs.on_disagreement = partial(_discard, place)
    return costs


def _discard(place: Path) -> None:
    """Remove kept costs, so that they are measured again."""
    with suppress(OSError):
        place.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where this user's programs keep what they could find out again: ``XDG_CACHE_HOME`` or ``~/.cache``, and ``etesian``."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "etesian"


def _seconds_of_pass(context: Context, n_rows: int, has_trees: bool) -> float:
    """One pass over a tree in which each node has two children, or over a chain; leaves the text as it was."""
    nodes = np.arange(n_rows, dtype=np.int32)
    parents = (nodes + 1) // 2 - 1 if has_trees else nodes - 1
    tokens = nodes % 2  # siblings differ
    started = time.perf_counter()
    context.score(tokens, parents)
    seconds = time.perf_counter() - started
    context.truncate(context.length)
    return max(seconds, 1e-9)  # a clock may stand still


def _key(fingerprint: str, length: int) -> str:
    """What decides how long a pass takes, as a file name."""
    torch = sys.modules.get("torch")
    decisive = {
        "model": fingerprint,
        "length": length,
        "processor": _processor(),
        "threads": torch.get_num_threads() if torch is not None else os.environ.get("OMP_NUM_THREADS"),
        "versions": [_version(package) for package in PACKAGES],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, None) or platform.processor()} {platform.machine()} {os.cpu_count()}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(place: Path) -> PassCosts | None:
    """What was kept; None if nothing was, or nothing that can be used."""
    try:
        kept = json.loads(place.read_text())
        if kept["format"] != FORMAT_VERSION:
            return None
        return PassCosts([int(n) for n in kept["rows"]], [float(s) for s in kept["seconds"]])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _write(place: Path, costs: PassCosts) -> None:
    """Cache measured costs. If the folder is read-only, they are measured again next time."""
    rows, seconds = costs.points
    kept = {"format": FORMAT_VERSION, "rows": rows, "seconds": seconds}
    with suppress(OutputError), atomic_write(place, "w", make_parents=True) as file:
        json.dump(kept, file)
