"""Pass costs: seconds per forward pass by number of rows, measured once per model and machine, and updated by every pass."""

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
"""Numbers of rows to measure; costs in between are interpolated."""
FEWEST_ROUNDS = 2  # the first one is not counted
ENOUGH_SECONDS = 1.0
"""Time after which no further round of measurements starts; decoding refines the costs."""

SLOWEST = 2.0  # times the estimate: upper bound for passes delayed by other programs
DRIFT = 0.1  # weight of a pass in the estimate of the machine's speed
BEND = 0.02  # weight of a pass in the curve, per pass since the last one with about as many rows
MOST_BEND = 0.3
FASTEST_AGREEING, SLOWEST_AGREEING = 0.67, 2.5  # times the measured costs; beyond, a kept measurement is discarded
SETTLED = 64  # passes after which the machine's speed is known
PACKAGES = ("etesian", "torch", "transformers", "numba")
FORMAT_VERSION = 1


class PassCosts:
    """Seconds per forward pass as a function of the number of rows.

    Parameters
    ----------
    rows : sequence of int
        Numbers of rows, ascending, at least 1.
    seconds : sequence of float
        Durations of passes with so many rows, above 0. The curve is made nondecreasing.

    Raises
    ------
    ValueError
        If the sequences differ in length or hold other values.
    """

    def __init__(self, rows: Sequence[int], seconds: Sequence[float]) -> None:
        known, measured = [float(n) for n in rows], [float(each) for each in seconds]
        if not 0 < len(known) == len(measured):
            raise ValueError("rows and seconds must have the same length, at least 1")
        if not (known[0] >= 1 and all(fewer < more for fewer, more in pairwise(known))):
            raise ValueError(f"rows must ascend from 1 or above; got {list(rows)}")
        if not all(0 < each < math.inf for each in measured):
            raise ValueError(f"seconds must be above 0; got {list(seconds)}")
        self._rows = known
        self._shape = list(accumulate(measured, max))  # seconds at the measured speed of the machine
        self._slowness = 1.0
        self._is_measured = True
        self._n_passes = 0
        self._seen = [0.0] * len(known)  # index of the last pass with about so many rows
        self._n_guessed = 0  # passes observed in place of a measurement
        self.on_disagreement: Callable[[], object] | None = None
        """Called once if passes turn out much faster or slower than measured, on a busy machine for example."""

    @classmethod
    def unmeasured(cls) -> PassCosts:
        """Return costs that are 0 until the first pass is observed, and flat until passes with other numbers of rows are."""
        costs = cls(ROWS, np.ones(len(ROWS)).tolist())
        costs._is_measured = False
        return costs

    @property
    def points(self) -> tuple[list[int], list[float]]:
        """Numbers of rows and seconds per pass."""
        return [int(n) for n in self._rows], [self._slowness * each for each in self._shape]

    # Python numbers: this runs in every pass, where small arrays take ten times as long.
    def seconds(self, n_rows: int) -> float:
        """Return the seconds of a pass with `n_rows` rows."""
        if not self._is_measured:
            return 0.0
        below, share = self._between(n_rows)
        seconds = self._slowness * self._shape[below]
        if share:
            return seconds + self._slowness * share * (self._shape[below + 1] - self._shape[below])
        return seconds * max(n_rows / self._rows[-1], 1.0)

    def curve(self, n_rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the seconds of passes with these numbers of rows, extrapolated proportionally beyond the measured range."""
        if not self._is_measured:
            return np.zeros(len(n_rows))
        beyond = np.maximum(n_rows / self._rows[-1], 1.0)
        return self._slowness * beyond * np.interp(n_rows, self._rows, self._shape)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `points` as arrays of float64, for compiled loops."""
        return np.array(self._rows), self._slowness * np.array(self._shape)

    def observe(self, n_rows: int, seconds: float) -> None:
        """Update the costs by the duration of a pass: mostly the machine's speed, and the curve where passes are rare."""
        if seconds <= 0 or n_rows < 1:
            return
        if not self._is_measured:
            self._slowness, self._is_measured, self._n_guessed = seconds, True, 1
        drift = DRIFT
        if 0 < self._n_guessed < 1 / DRIFT:  # the very first passes are slow for other reasons
            self._n_guessed += 1
            drift = 1 / self._n_guessed
        ratio = min(seconds / self.seconds(n_rows), SLOWEST)  # slow passes may be accidents, fast ones are not
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
        """Return the index of the interval that holds `n_rows`, and the relative position in it."""
        rows = self._rows
        if n_rows <= rows[0]:
            return 0, 0.0
        below = bisect_right(rows, n_rows) - 1
        if below == len(rows) - 1:
            return below, 0.0
        return below, (n_rows - rows[below]) / (rows[below + 1] - rows[below])

    def _bend(self, place: int, weight: float, ratio: float) -> None:
        """Move one point of the curve, the more the longer ago it was observed, and keep the curve nondecreasing."""
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
    """Measure the shortest duration of passes for several numbers of rows; other programs only make passes longer.

    Parameters
    ----------
    model : LanguageModel
    rows : sequence of int
        Numbers of rows.
    length : int
        Length of the text before the rows, in tokens.
    rounds : int
        Timed passes per number of rows, after one warm-up round; fewer if they take longer than `ENOUGH_SECONDS`.

    Returns
    -------
    PassCosts
    """
    longest = model.max_length
    if longest is not None:
        rows = [n_rows for n_rows in rows if n_rows < longest] or [1]
        length = max(min(length, longest - rows[-1]), 0)
    context = model.context()
    context.extend(np.arange(length, dtype=np.int32) % model.vocabulary_size)
    has_trees = model.traits.supports_trees
    started, seconds = time.perf_counter(), list[list[float]]()
    while len(seconds) <= rounds and (len(seconds) < FEWEST_ROUNDS or time.perf_counter() - started < ENOUGH_SECONDS):
        seconds.append([_seconds_of_pass(context, n_rows, has_trees) for n_rows in rows])
    return PassCosts(rows, np.min(seconds[1:], axis=0).tolist())


def cached_pass_costs(
    model: LanguageModel, *, rows: Sequence[int] = ROWS, length: int = 256, rounds: int = 5
) -> PassCosts:
    """Return the costs kept for this model, machine and versions, or measure and keep them.

    Models without a fingerprint are measured every time, and so are costs whose file cannot be read. Kept costs are discarded, and
    measured again by the next process, once passes disagree with them.
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
    """Return the cache folder of this user: ``etesian`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "etesian"


def _seconds_of_pass(context: Context, n_rows: int, has_trees: bool) -> float:
    """Time one pass over a binary tree, or over a chain; the text stays as it is."""
    nodes = np.arange(n_rows, dtype=np.int32)
    parents = (nodes + 1) // 2 - 1 if has_trees else nodes - 1
    tokens = nodes % 2  # siblings differ
    started = time.perf_counter()
    context.score(tokens, parents)
    seconds = time.perf_counter() - started
    context.truncate(context.length)
    return max(seconds, 1e-9)  # a clock may stand still


def _key(fingerprint: str, length: int) -> str:
    """Return a file name that identifies everything that determines the costs."""
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
    """Return kept costs; None if there are none or they cannot be read."""
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
