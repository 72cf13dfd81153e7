"""The commands `etesian bench report` and `etesian bench serve`: runs of a store as a page in a file, or live in the browser."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from etesian import bench
from etesian.bench.analysis import Analysis, Options, analyze
from etesian.bench.report import write_page
from etesian.cli.bench_analysis import parse_figures, parse_rule
from etesian.cli.bench_options import DEFAULT_STORE, StoreArgument, SuiteOption, TargetOption
from etesian.cli.bench_reading import select_runs

report_app = typer.Typer(add_completion=False)
serve_app = typer.Typer(add_completion=False)

BaselineOption = Annotated[
    str | None, typer.Option("--baseline", metavar="ENTRY", help="Compare with this entry, not with the fastest.")
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="[ENTRY=]NUMBER", help="Money per hour, of all or of one; may be repeated."),
]
RuleOption = Annotated[
    str, typer.Option("--rule", metavar="first_passage|stays_above", help="When a run counts as having arrived.")
]
MlperfOption = Annotated[bool, typer.Option("--mlperf-rule", help="Rank by MLPerf's Olympic mean.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Heading of the page; else the suite's name.")]


@report_app.command("report")
def report(
    store: StoreArgument = DEFAULT_STORE,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    suite: SuiteOption = None,
    target: TargetOption = None,
    baseline: BaselineOption = Options.baseline,
    price: PriceOption = None,
    rule: RuleOption = Options.rule,
    mlperf_rule: MlperfOption = Options.mlperf_rule,
    title: TitleOption = None,
) -> None:
    """Write runs as one HTML page: leaderboard, curves, a threshold to move, variation, where the speed came from, advice.

    Exit code: 2 for a mistake in what was asked.
    """
    if not output.parent.is_dir():
        raise bench.InputError(f"the folder to write to must exist; there is no {output.parent}")
    asked = _Asked(store, suite, target, baseline, tuple(price or ()), rule, mlperf_rule)
    with bench.Store(store, create=False) as opened:
        entries = opened.entries()
    try:
        write_page(asked.analyze(entries), output, title=title or asked.title(entries), commands=asked.commands())
    except ImportError as error:
        raise bench.InputError(str(error)) from error
    typer.echo(f"wrote {output}", err=True)


@serve_app.command("serve")
def serve(
    store: StoreArgument = DEFAULT_STORE,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine's own are let in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 0,
    suite: SuiteOption = None,
    target: TargetOption = None,
    baseline: BaselineOption = Options.baseline,
    price: PriceOption = None,
    rule: RuleOption = Options.rule,
    mlperf_rule: MlperfOption = Options.mlperf_rule,
    title: TitleOption = None,
) -> None:
    """Show a store's report in the browser, and new runs in it as they finish. Nothing is written; Ctrl-C ends it.

    Exit code: 2 for a mistake in what was asked.
    """
    from etesian.bench.serve import LiveReport
    from etesian.bench.serve import serve as serve_until_interrupted

    asked = _Asked(store, suite, target, baseline, tuple(price or ()), rule, mlperf_rule)
    with bench.Store(store, create=False) as opened:
        heading = title or suite or Path(store).stem
        live = LiveReport(opened, asked.analyze, title=heading, commands=asked.commands())
        try:
            serve_until_interrupted(live, host=host, port=port, announce=_announce)
        except ImportError as error:
            raise bench.InputError(str(error)) from error
    typer.echo("stopped", err=True)


def _announce(url: str) -> None:
    typer.echo(f"{url} shows the store as it grows; Ctrl-C ends it", err=True)


@dataclass(frozen=True)
class _Asked:
    """Which runs, and how they are to be analyzed."""

    store: str
    suite: str | None
    target: str | None
    baseline: str | None
    price: tuple[str, ...]
    rule: str
    mlperf_rule: bool

    def __post_init__(self) -> None:
        parse_rule(self.rule)
        parse_figures("--price", list(self.price))

    def analyze(self, entries: list[bench.StoredRun]) -> Analysis:
        return analyze(
            self._chosen(entries),
            baseline=self.baseline,
            price=parse_figures("--price", list(self.price)),
            rule=parse_rule(self.rule),
            mlperf_rule=self.mlperf_rule,
        )

    def title(self, entries: list[bench.StoredRun]) -> str:
        suites = {entry.suite for entry in self._chosen(entries)}
        return suites.pop() if len(suites) == 1 else "Time to target"

    def commands(self) -> dict[str, str]:
        """How the page, and the same figures as JSON, are made again; a database's URL may hold a password, and is left out."""
        where = "STORE" if "://" in self.store else self.store
        options = [("--suite", self.suite), ("--target", self.target), ("--baseline", self.baseline)]
        options += [("--price", each) for each in self.price]
        options += [("--rule", self.rule)] * (self.rule != Options.rule)
        chosen = [part for option, value in options if value is not None for part in (option, value)]
        chosen += ["--mlperf-rule"] * self.mlperf_rule
        return {
            "This page": shlex.join(["etesian", "bench", "report", where, *chosen]),
            "The same figures as JSON": shlex.join(["etesian", "bench", "analyze", where, *chosen, "--json"]),
        }

    def _chosen(self, entries: list[bench.StoredRun]) -> list[bench.StoredRun]:
        return select_runs(entries, store=self.store, suite=self.suite, target=self.target)
