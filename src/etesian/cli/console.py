"""Exit codes, interrupts and output that all commands share."""

from __future__ import annotations

import _thread
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etesian._shared.text import printable

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def print_json(value: Any) -> None:
    """Print one JSON object to standard output."""
    print(json.dumps(value, allow_nan=False, indent=2))


def note(line: str) -> None:
    """Print a line to standard error, if open, with control characters escaped and credentials of URLs hidden."""
    if sys.stderr is not None:
        print(printable(_hide_credentials(line)), file=sys.stderr)


def _hide_credentials(text: str) -> str:
    if "://" not in text:
        return text
    from etesian.bench.address import hide_credentials

    return hide_credentials(text)


class _Notes(logging.Handler):
    """Prints each record of the package's logger as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


@contextmanager
def printed_notes() -> Iterator[None]:
    """Print warnings of the package's logger to standard error while a command runs."""
    logger, handler = logging.getLogger("etesian"), _Notes()
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """End the process at once on Ctrl-C: for imports and loading, which would turn an interrupt into a stray traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or handled by the caller's own function
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def raised_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, once more where Python drops it: in `__del__` and in callbacks of weak references."""
    dropped, interrupted = sys.unraisablehook, _thread.get_ident()

    def raise_later() -> None:
        time.sleep(0.01)  # until the callback has ended
        signal.pthread_kill(interrupted, signal.SIGINT)  # which also ends what the thread is waiting for

    def heed(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            _thread.start_new_thread(raise_later, ())  # `threading` takes locks, which the interrupted thread may hold
        else:
            dropped(unraisable)

    before, sys.unraisablehook = signal.signal(signal.SIGINT, signal.default_int_handler), heed
    try:
        yield
    finally:
        sys.unraisablehook = dropped
        signal.signal(signal.SIGINT, before)


def describe_duration(seconds: float) -> str:
    """Format a duration for people: 42 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
