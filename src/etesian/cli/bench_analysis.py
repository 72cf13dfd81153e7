"""The command `etesian bench analyze`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from etesian import bench
from etesian.bench.analysis import Analysis, Options, analyze
from etesian.bench.statistics import Rule
from etesian.cli.bench_options import JsonOption, SuiteOption, parse_target
from etesian.cli.bench_reading import read_runs

app = typer.Typer(add_completion=False)

_FIGURE = "[ENTRY=]NUMBER"


@app.command("analyze")
def analyze_runs(
    source: Annotated[
        str, typer.Argument(metavar="STORE_OR_JSONL", help="SQLite file, database URL, or JSON Lines file of runs.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Such as 'accuracy>=0.93', in place of the runs' own; may be repeated."),
    ] = None,
    suite: SuiteOption = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Compare with this entry, not with the fastest.")
    ] = Options.baseline,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = Options.level,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = Options.seed,
    rule: Annotated[
        str, typer.Option(metavar="first_passage|stays_above", help="When a run counts as having arrived.")
    ] = Options.rule,
    mlperf_rule: Annotated[
        bool, typer.Option("--mlperf-rule", help="Rank by MLPerf's Olympic mean, none where its rule gives none.")
    ] = Options.mlperf_rule,
    price: Annotated[
        list[str] | None, typer.Option(metavar=_FIGURE, help="Money per hour, of all or of one; may be repeated.")
    ] = None,
    watts: Annotated[
        list[str] | None, typer.Option(metavar=_FIGURE, help="Power drawn, of all or of one; may be repeated.")
    ] = None,
    fresh: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Measured on data that decided nothing.  [default: fresh_...]")
    ] = Options.fresh,
    alpha: Annotated[float, typer.Option(help="Largest p with which a fixed schedule is shown.")] = Options.alpha,
    as_json: JsonOption = False,
) -> None:
    """Analyse runs: times to target, how sure, at which threshold, which entry is faster and why, and what is amiss.

    Exit code: 2 for a mistake in what was asked.
    """
    analysis = analyze(
        read_runs(source, suite=suite),
        targets=[parse_target(text) for text in target] if target else None,
        level=level,
        seed=seed,
        rule=parse_rule(rule),
        mlperf_rule=mlperf_rule,
        price=parse_figures("--price", price),
        watts=parse_figures("--watts", watts),
        baseline=baseline,
        fresh=fresh,
        alpha=alpha,
    )
    if as_json:
        from etesian.bench.report import caveats

        print(json.dumps({**analysis.as_dict(), "caveats": caveats(analysis)}, allow_nan=False, indent=2))
    else:
        _print_tables(analysis)


def parse_rule(text: str) -> Rule:
    """Read ``--rule``."""
    if text not in ("first_passage", "stays_above"):
        raise bench.InputError(f"--rule must be first_passage or stays_above; got {text!r}")
    return text  # type: ignore[return-value]


def parse_figures(option: str, texts: list[str] | None) -> float | dict[str, float] | None:
    """Read ``["3"]`` as a figure for all entries, and ``["a=3", "b=4"]`` as one for each of these."""
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
