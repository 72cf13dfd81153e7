"""`etesian demo`: compare schedules and decoders on real data in a few minutes, and write a report."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from etesian.bench import InputError
from etesian.bench.report import write_report
from etesian.decode.models.loading.catalog import find_gguf
from etesian.demo.decoding import MODELS, DecodingDemo, print_decoding, race_decoders
from etesian.demo.decoding_section import decoding_section
from etesian.demo.words import BASELINE, WordsDemo, print_words, race_words

LIBRARIES_OF_DECODING = ("torch", "tokenizers", "gguf")


@dataclass(frozen=True)
class Demo:
    """Findings of the demo.

    Parameters
    ----------
    words
        Findings of the training half.
    decoding
        Findings of the decoding half; None if its libraries are not installed.
    report
        Path of the report.
    """

    words: WordsDemo
    decoding: DecodingDemo | None
    report: Path

    @property
    def is_identical(self) -> bool:
        """Return True if every decoder generated the text of plain decoding."""
        return self.decoding is None or self.decoding.is_identical

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        decoding = None if self.decoding is None else self.decoding.as_dict()
        return {**self.words.as_dict(), "decoding": decoding, "report": str(self.report)}


def demo(folder: Path, *, n_seeds: int, console: Console) -> Demo:
    """Compare three schedules and four decoders, and write the report.

    Parameters
    ----------
    folder
        Folder of the word counts, the runs and report.html.
    n_seeds
        Number of runs of each schedule, and of each decoder up to `etesian.demo.decoding.MOST_SEEDS`.
    console
        Console that shows progress.
    """
    _check_report_can_be_written()
    store = folder / "runs.db"
    store.unlink(missing_ok=True)  # runs of an earlier demo are not reused
    found = race_words(folder, store, n_seeds=n_seeds, console=console)
    decoding = None if why_no_decoding() else race_decoders(store, n_seeds=n_seeds, console=console)
    report = write_report(
        found.runs,
        folder / "report.html",
        title="Word vectors by three schedules" + (", text by four decoders" if decoding else ""),
        command="etesian demo",
        baseline=BASELINE,
        extra_sections=[decoding_section(decoding)] if decoding else [],
    )
    return Demo(found, decoding, report)


def _check_report_can_be_written() -> None:
    if find_spec("jinja2") is None:
        raise InputError("the demo writes a report, which needs jinja2: pip install 'etesian[report]'")


def why_no_decoding() -> str | None:
    """Return the reason why the decoding half cannot run, or None."""
    missing = [name for name in LIBRARIES_OF_DECODING if find_spec(name) is None]
    if missing:
        return f"it needs {', '.join(missing)}: pip install 'etesian[decode]'"
    try:
        find_gguf(MODELS)
    except InputError as error:
        return str(error)
    return None


def print_demo(found: Demo, console: Console) -> None:
    """Print the findings."""
    print_words(found.words, console)
    console.print()
    if found.decoding is None:
        console.print(f"Decoding was skipped: {why_no_decoding()}", markup=False)
    else:
        print_decoding(found.decoding, console)
    console.print(f"\nFull report, to open in a browser: {found.report}", markup=False)
