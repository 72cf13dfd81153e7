"""Decoding half of the demo: four decoders that generate the same text with SmolLM2, greedy and sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from etesian.bench import Run, Store, Suite, run_suite
from etesian.bench.report.model import Cell, Row, Table, words_cell
from etesian.bench.report.render_terminal import as_rich_table
from etesian.cli.bench_progress import SuiteProgress
from etesian.cli.decode_output import color_of, legend
from etesian.decode.generation import Generation
from etesian.decode.sampling import Sampling
from etesian.suite.decoding import SMOLLM2, Choosing, greedy, load_models, make_decoder, prompts_for, sampled
from etesian.suite.prompts import REQUESTS, as_chatml

BASELINE = "plain"
MODELS = SMOLLM2
N_TOKENS = 24
MOST_SEEDS = 3
SHOWN_REQUEST, SHOWN_TOKENS = REQUESTS[0], 96


@dataclass(frozen=True)
class Race:
    """Results of the four decoders with one sampling rule.

    Parameters
    ----------
    choosing
        ``"greedy"`` or ``"sampled"``.
    runs
        Runs of every decoder with every seed.
    """

    choosing: Choosing
    runs: Sequence[Run]

    def is_identical(self, decoder: str) -> bool:
        """Return True if every run has the tokens of plain decoding with its seed, for every prompt."""
        return self._fingerprints(decoder) == self._fingerprints(BASELINE)

    def _fingerprints(self, decoder: str) -> dict[int, list[float]]:
        return {
            run.seed: [p.metrics["fingerprint"] for p in run.points] for run in self.runs if run.workload == decoder
        }

    @property
    def decoders(self) -> list[str]:
        """Names of the decoders, plain decoding first."""
        return list(dict.fromkeys(run.workload for run in self.runs))

    @property
    def n_seeds(self) -> int:
        """Number of runs of each decoder."""
        return len({run.seed for run in self.runs})

    def tokens_per_second(self, decoder: str) -> float:
        """Median over the finished runs; 0 without any."""
        seconds = self._seconds(decoder).values()
        return median(len(prompts_for(MODELS)) * N_TOKENS / each for each in seconds) if seconds else 0.0

    def speedups(self, decoder: str) -> list[float]:
        """Speed-ups over plain decoding for each seed, ascending."""
        plain, own = self._seconds(BASELINE), self._seconds(decoder)
        return sorted(plain[seed] / own[seed] for seed in plain.keys() & own.keys())

    def _seconds(self, decoder: str) -> dict[int, float]:
        return {run.seed: run.seconds for run in self.runs if run.workload == decoder and run.seconds}

    def tokens_per_pass(self, decoder: str) -> float:
        """Median over the finished runs; 0 without any."""
        ended = [run.points[-1] for run in self.runs if run.workload == decoder and run.seconds]
        return median(point.metrics["tokens_per_pass"] for point in ended) if ended else 0.0


@dataclass(frozen=True)
class DecodingDemo:
    """Findings of the decoding half.

    Parameters
    ----------
    races
        Results with greedy decoding and with sampling.
    request, sample
        A request, and its answer by the staged decoder.
    stages
        Stages of its drafter.
    """

    races: Sequence[Race]
    request: str
    sample: Generation
    stages: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Return True if all decoders generated the same tokens."""
        return all(race.is_identical(decoder) for race in self.races for decoder in race.decoders)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {race.choosing: {name: _as_dict(race, name) for name in race.decoders} for race in self.races}


def _as_dict(race: Race, decoder: str) -> dict[str, Any]:
    return {
        "tokens_per_second": race.tokens_per_second(decoder),
        "speedups": race.speedups(decoder),
        "tokens_per_pass": race.tokens_per_pass(decoder),
        "identical_to_plain": race.is_identical(decoder),
    }


def race_decoders(store: Path, *, n_seeds: int, console: Console) -> DecodingDemo:
    """Compare the decoders on SmolLM2.

    Parameters
    ----------
    store
        File that stores the runs.
    n_seeds
        Number of runs of each decoder, at most `MOST_SEEDS`, since their times vary less than those of trainings.
    console
        Console that shows progress.
    """
    suites: dict[Choosing, Suite] = {
        "greedy": greedy(MODELS, n_tokens=N_TOKENS),
        "sampled": sampled(MODELS, n_tokens=N_TOKENS),
    }
    races: list[Race] = []
    with Store(store) as opened:
        for choosing, suite in suites.items():
            with SuiteProgress(console) as progress:
                # in this process, so that the models are loaded only once
                runs = run_suite(suite, seeds=min(n_seeds, MOST_SEEDS), store=opened, isolate=False, progress=progress)
            races.append(Race(choosing, runs))
    decoder = make_decoder("staged", MODELS)
    whole = Sampling(stop_tokens=load_models(MODELS).end_tokens)
    sample = decoder.generate(as_chatml(SHOWN_REQUEST), whole, max_tokens=SHOWN_TOKENS)
    return DecodingDemo(races, SHOWN_REQUEST, sample, () if decoder.drafter is None else decoder.drafter.stages)


def describe_setting(found: DecodingDemo) -> str:
    """Describe the models, the amount of text and the number of runs."""
    return (
        "Target: SmolLM2-135M-Instruct in bfloat16. Draft model: the same weights in 4 bits. "
        f"{len(prompts_for(MODELS))} prompts, {N_TOKENS} tokens each, {found.races[0].n_seeds} runs."
    )


def describe_speedups(speedups: Sequence[float]) -> str:
    """Format the median and the range of several runs."""
    if not speedups:
        return "-"
    return f"{median(speedups):.2f} ({speedups[0]:.2f} to {speedups[-1]:.2f})"


def print_decoding(found: DecodingDemo, console: Console) -> None:
    """Print the speed of each decoder, whether all texts are identical, and a sample."""
    console.print(as_rich_table(decoders_table(found)))
    console.print(f"[dim]{describe_setting(found)}")
    if not found.is_identical:
        console.print(
            "[bold red]THE TEXTS DIFFER: a decoder generated different tokens than plain decoding. This is a bug."
        )
    console.print(f"\nText by the staged decoder, {found.sample.stats.mean_accepted_length:.1f} tokens per pass:\n")
    console.print(colored_sample(found), soft_wrap=True)
    console.print(legend(found.sample, found.stages), soft_wrap=True)


def decoders_table(found: DecodingDemo) -> Table:
    """Tabulate the decoders, greedy and sampled."""
    rows = []
    for race in found.races:
        for decoder in race.decoders:
            speedups = "1" if decoder == BASELINE else describe_speedups(race.speedups(decoder))
            cells = [
                words_cell(race.choosing),
                Cell(f"{race.tokens_per_second(decoder):.1f}", exact=race.tokens_per_second(decoder)),
                Cell(speedups),
                Cell(f"{race.tokens_per_pass(decoder):.2f}"),
                words_cell("yes" if race.is_identical(decoder) else "NO"),
            ]
            rows.append(Row(decoder, cells))
    headings = ["decoder", "tokens", "tokens/s", "speed-up (range)", "tokens per pass", "same text as plain"]
    return Table("Text by four decoders", headings, rows)


def colored_sample(found: DecodingDemo) -> Text:
    """Return request and answer, with each token in the color of its drafter."""
    text = Text(f"{found.request}\n\n", style="dim")
    for token, origin in zip(found.sample.texts, found.sample.origins, strict=True):
        text.append(token, style=Style(color=color_of(origin, found.stages), dim=False))
    return text
