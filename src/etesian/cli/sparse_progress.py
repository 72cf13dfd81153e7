"""Progress of a fit: a bar with epochs, objective and time left on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import warnings
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from etesian._shared.text import printable
from etesian.cli.console import describe_duration


class EpochProgress:
    """Draws the epochs of a fit; use it in a ``with`` block and pass it as `callback`.

    Parameters
    ----------
    console
        Console for the progress and for warnings.
    max_iter
        Maximum number of epochs.
    """

    def __init__(self, console: Console, max_iter: int) -> None:
        self._console = console
        self._max_iter = max_iter
        self._warnings = warnings.catch_warnings()
        self._bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=max_iter, note="planning")

    def __enter__(self) -> EpochProgress:
        self._warnings.__enter__()
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: self._print(f"note: {message}")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._warnings.__exit__(kind, error, traceback)

    def __call__(self, epoch: int, objective: float, seconds: float) -> None:
        """Draw the state after an epoch; see `etesian.sparse.stopping.Callback`."""
        note = describe_epoch(objective, seconds, seconds / epoch * (self._max_iter - epoch))
        if self._console.is_terminal:
            self._bar.update(self._task, completed=epoch, note=note)
        else:
            self._print(f"epoch {epoch} of {self._max_iter}: {note}")

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, soft_wrap=True)


def describe_epoch(objective: float, seconds: float, seconds_left: float) -> str:
    """Describe the progress of a fit."""
    left = f", at most {describe_duration(seconds_left)} left" if seconds_left > 0 else ""
    return f"objective {objective:.6g}, {seconds:.2f} s{left}"
