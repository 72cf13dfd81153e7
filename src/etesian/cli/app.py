"""MAIN PATH of the `etesian` command: `run` parses the arguments, calls a command and turns its outcome into an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console

from etesian import __version__
from etesian._shared.files import STORAGE_ERRORS
from etesian.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    note,
    print_json,
    printed_notes,
    raised_interrupts,
)
from etesian.errors import InputError, StorageError

COMMANDS = {
    "fit": ("etesian.cli.sparse:fit", "Fit a linear model, ratings or word vectors to a file, on all cores."),
    "predict": ("etesian.cli.sparse:predict", "Predict with a model written by `etesian fit`."),
    "inspect": ("etesian.cli.sparse:inspect", "Analyze update conflicts in a file and predict parallel speed-up."),
    "generate": ("etesian.cli.decode:generate", "Generate text with speculative decoding."),
    "chat": ("etesian.cli.decode_chat:chat", "Chat with an instruction-tuned model."),
    "serve": ("etesian.cli.decode_serve:serve", "Serve a model to OpenAI clients and browsers."),
    "models": ("etesian.cli.decode_catalog:app", "List or download models with a short name."),
    "draft": ("etesian.cli.decode_draft:app", "Train a draft for a target model."),
    "ngram": ("etesian.cli.decode_ngram:app", "Build or show an N-gram that drafts for a draft model."),
}
"""Commands, the places of their code and their summaries. A command is imported only when it is used."""

BENCH_COMMANDS = {
    "run": ("etesian.cli.bench:run", "Run suites, each workload with each seed."),
    "show": ("etesian.cli.bench:show", "Show the times to target of the stored runs."),
    "analyze": ("etesian.cli.bench_analysis:analyze", "Analyze runs: times, sensitivity, comparisons and caveats."),
    "check": ("etesian.cli.bench_check:check", "Check if new runs are slower than base runs."),
    "report": ("etesian.cli.bench_report:report", "Write an HTML report."),
    "serve": ("etesian.cli.bench_report:serve", "Serve a live HTML report."),
    "publish": ("etesian.cli.bench_publish:publish", "Write several races as a static site."),
    "import": ("etesian.cli.bench_transfer:importing", "Import runs from files of other programs."),
    "export": ("etesian.cli.bench_transfer:export", "Export stored runs to a file."),
}
_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG)
"""Errors of standard output; those of files name the file."""

_FILE_ERRORS = (*STORAGE_ERRORS, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors that the name of a file explains."""

ALIASES = {"analyze": "analyse"}


def run(arguments: Sequence[str], *, handles_interrupts: bool = False) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments
        Words of the command line after ``etesian``.
    handles_interrupts
        Let Ctrl-C raise KeyboardInterrupt while the command runs.

    Returns
    -------
    int
        0, the code of the command, 1 if the disk or standard output cannot be written, 2 for a user's mistake, 130 after
        Ctrl-C.
    """
    try:
        with printed_notes():
            code = _run(arguments, handles_interrupts=handles_interrupts)
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (InputError, cyclopts.CycloptsError) as error:
        note(f"error: {' '.join(str(error).split())}")
        return EXIT_FAILED if isinstance(error, StorageError) else EXIT_MISTAKE
    except MemoryError as error:
        note(f"error: the memory does not suffice ({error or 'no more can be allocated'}): use smaller data or options")
        return EXIT_MISTAKE
    except OSError as error:
        if error.filename is not None and error.errno in _FILE_ERRORS:
            note(f"error: {os.fsdecode(error.filename)} cannot be used: {error.strerror}")
            return EXIT_FAILED if error.errno in STORAGE_ERRORS else EXIT_MISTAKE
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        if error.errno != errno.EPIPE:
            note(f"error: standard output cannot be written: {error.strerror}")
        _discard_output()
        return EXIT_FAILED
    return code


def _run(arguments: Sequence[str], *, handles_interrupts: bool) -> int:
    command, bound, _ = build_app(arguments).parse_args(arguments, exit_on_error=False, print_error=False)
    bound.apply_defaults()  # options derived from other signatures are keyword arguments of the command
    if not handles_interrupts:
        return command(*bound.args, **bound.kwargs) or 0
    with (
        raised_interrupts()
    ):  # the command decides what an interrupt keeps; the interpreter's own end would print a traceback
        return command(*bound.args, **bound.kwargs) or 0


def build_app(arguments: Sequence[str] = ()) -> App:
    """Return the command line.

    Parameters
    ----------
    arguments
        Arguments of the command line. Commands that they do not name are not imported and appear in lists with a summary.
    """
    app = App(
        name="etesian",
        help="Faster machine learning that gives the same answer, and speed-ups that can be trusted.",
        version=f"etesian {__version__}",
        help_format="markdown",
        default_parameter=Parameter(negative=(), show_default=_shown_default, allow_repeating=True),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    _add_commands(app, COMMANDS, arguments)
    bench = App(name="bench", help="Measure time to accuracy: run, check, analyze, report, publish, import and export.")
    _add_commands(bench, BENCH_COMMANDS, arguments)
    app.command(bench)
    app.command(demo)
    return app


def _add_commands(app: App, commands: Mapping[str, tuple[str, str]], arguments: Sequence[str]) -> None:
    for name, (place, summary) in commands.items():
        alias = ALIASES.get(name)
        is_used = name in arguments or alias in arguments
        app.command(place, name=name, alias=alias, help=None if is_used else summary)


def demo(
    *,
    folder: Path = Path("demo"),
    seeds: int = 5,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Train word vectors with three schedules and generate text with four decoders; compare times, bits and tokens.

    The words are those of the standard library's documentation; the model is SmolLM2 (`etesian models pull smollm2` downloads it).
    Takes about four minutes on two cores. Progress goes to standard error.

    Exit code: 1 if a decoder generated different text than plain decoding.

    Parameters
    ----------
    folder
        Folder for runs.db and report.html.
    seeds
        Number of runs of each schedule, at least 1.
    as_json
        Print one JSON object instead of tables.
    """
    from etesian.demo import demo as run_demo
    from etesian.demo import print_demo

    if seeds < 1:
        raise InputError(f"--seeds must be at least 1; got {seeds}")
    found = run_demo(folder, n_seeds=seeds, console=Console(stderr=True, highlight=False))
    if as_json:
        print_json(found.as_dict())
    else:
        print_demo(found, Console(highlight=False))
    return 0 if found.is_identical else EXIT_FAILED


def _shown_default(value: object) -> object:
    return None if value is None or value is False or value == () else value


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter does not fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
