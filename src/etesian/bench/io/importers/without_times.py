"""Logs of training libraries that hold no times: refused with the reason and the callback that records them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etesian.bench.io._reading.files import UnreadableError, has_suffix
from etesian.bench.io._reading.found import Found, read_each


def read_hf_trainer(path: str | Path) -> Iterator[Found]:
    """Refuse logs of Hugging Face's Trainer, which hold steps and no times; name the callback that records times.

    Parameters
    ----------
    path
        A file such as trainer_state.json, or a folder of checkpoints.

    Yields
    ------
    Skipped or Ignored
        Every log, with the reason.

    Raises
    ------
    InputError
        If the path does not exist, or holds no log.
    """
    return _refuse(path, "trainer_state.json", "log_history", "HFTrainerCallback")


def read_lightning(path: str | Path) -> Iterator[Found]:
    """Refuse logs of Lightning, which hold steps and no times; name the callback that records times.

    Parameters
    ----------
    path
        A file such as metrics.csv, or a folder such as lightning_logs.

    Yields
    ------
    Skipped or Ignored
        Every log, with the reason.

    Raises
    ------
    InputError
        If the path does not exist, or holds no log.
    """
    return _refuse(path, ".csv", "the log", "LightningCallback")


def read_keras(path: str | Path) -> Iterator[Found]:
    """Refuse logs of Keras, which hold epochs and no times; name the callback that records times.

    Parameters
    ----------
    path
        A file of the CSVLogger or a saved history, or a folder of them.

    Yields
    ------
    Skipped or Ignored
        Every log, with the reason.

    Raises
    ------
    InputError
        If the path does not exist, or holds no log.
    """
    return _refuse(path, (".csv", ".json", ".log"), "the log", "KerasCallback")


def _refuse(path: str | Path, suffixes: str | tuple[str, ...], place: str, callback: str) -> Iterator[Found]:
    endings = (suffixes,) if isinstance(suffixes, str) else suffixes

    def refuse(file: Path) -> Iterator[Found]:
        raise UnreadableError(
            f"{place} holds steps and no times, so no time to target can be computed; record the next run by {callback} of "
            "etesian.bench.io.callbacks. If a column of yours holds times, use import csv"
        )

    return read_each(path, refuse, is_candidate=lambda file: has_suffix(file, *endings), sought=f"log (*{endings[0]})")
