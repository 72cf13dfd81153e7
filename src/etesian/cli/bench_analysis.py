"""The command `etesian bench analyze`, and analysis options that `report` and `serve` share."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from etesian import bench
from etesian.bench.analysis import Analysis, Options
from etesian.bench.analysis import analyze as analyze_runs
from etesian.bench.report import caveats
from etesian.cli.bench_options import (
    DEFAULT_STORE,
    JsonOption,
    StoreArgument,
    StoreOption,
    SuiteOption,
    chosen_store,
    parse_target,
)
from etesian.cli.bench_reading import read_runs
from etesian.cli.console import print_json
from etesian.cli.derive import options_from

Figures = Annotated[tuple[str, ...], Parameter(allow_repeating=True)]
with_analysis_options = options_from(Options, annotations={"price": Figures, "watts": Figures})
"""Decorator that replaces ``**options`` of a command by the fields of `Options`. Prices and watts read [ENTRY=]NUMBER."""


def parse_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments of `Options` from the values of its options."""
    figures = {name: parse_figures(f"--{name}", options[name]) for name in ("price", "watts")}
    return options | figures


@with_analysis_options
def analyze(
    argument: StoreArgument = None,
    /,
    *,
    store: StoreOption = DEFAULT_STORE,
    target: tuple[str, ...] = (),
    suite: SuiteOption = None,
    as_json: JsonOption = False,
    **options: Any,
) -> None:
    """Analyze runs: times to target with uncertainty, sensitivity, comparisons, attribution and caveats.

    The store may also be a JSON Lines file of runs.

    Exit code: 2 for a mistake in the arguments.

    Parameters
    ----------
    target
        Replace the targets of the runs, for example by 'accuracy>=0.93'. May be repeated.
    """
    source = chosen_store(argument, store)
    targets = [parse_target(text) for text in target] or None
    analysis = analyze_runs(read_runs(source, suite=suite), targets=targets, **parse_options(options))
    if as_json:
        print_json({**analysis.as_dict(), "caveats": caveats(analysis)})
    else:
        _print_tables(analysis)


def parse_figures(option: str, texts: tuple[str, ...] | None) -> float | dict[str, float] | None:
    """Read ``["3"]`` as a number for all entries, and ``["a=3", "b=4"]`` as one number for each entry."""
    if not texts:
        return None
    named = {name: _number(option, figure) for name, has_name, figure in (t.rpartition("=") for t in texts) if has_name}
    if not named and len(texts) == 1:
        return _number(option, texts[0])
    if len(named) < len(texts):
        raise bench.InputError(f"{option} takes one number for all, or ENTRY=NUMBER for each; got {', '.join(texts)}")
    return named


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise bench.InputError(f"{option} takes a number; got {text!r}") from None


def _print_tables(analysis: Analysis) -> None:
    from rich.console import Console

    from etesian.bench.report.document import lay_out
    from etesian.bench.report.render_terminal import print_document

    print_document(lay_out(analysis), Console())
