"""Logs of training libraries that hold no times: refused with the reason and the callback that records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from etesian.bench.io._reading.files import UnreadableError, has_suffix
from etesian.bench.io._reading.found import Found, read_each

_DOCSTRING = """Refuse logs of {library}, which hold {counts} and no times; name the callback that records times.

Parameters
----------
path
    A file such as {example}, or a folder of them.

Yields
------
Skipped or Ignored
    Every log, with the reason.

Raises
------
InputError
    If the path does not exist, or holds no log.
"""


def _refusal(
    library: str, callback: str, example: str, *suffixes: str, counts: str = "steps"
) -> Callable[[str | Path], Iterator[Found]]:
    """Make the importer of a library's logs, which reads none of them."""

    def read(path: str | Path) -> Iterator[Found]:
        def refuse(file: Path) -> Iterator[Found]:
            raise UnreadableError(
                f"holds {counts} and no times, so no time to target can be computed; record the next run with "
                f"{callback} of etesian.bench.io.callbacks, or use import csv if one of its columns holds times"
            )

        return read_each(path, refuse, is_candidate=lambda file: has_suffix(file, *suffixes), sought=f"log ({example})")

    read.__doc__ = _DOCSTRING.format(library=library, counts=counts, example=example)
    return read


read_hf_trainer = _refusal("Hugging Face's Trainer", "HFTrainerCallback", "trainer_state.json", "trainer_state.json")
read_lightning = _refusal("Lightning", "LightningCallback", "metrics.csv", ".csv")
read_keras = _refusal("Keras", "KerasCallback", "history.json", ".csv", ".json", ".log", counts="epochs")
