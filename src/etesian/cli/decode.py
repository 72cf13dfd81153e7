"""The command `etesian generate`: options in, models loaded, text out as it comes."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from etesian.cli.console import EXIT_INTERRUPTED
from etesian.cli.decode_models import ModelChoice
from etesian.cli.decode_options import (
    AUTO,
    BUNDLED,
    CompareOption,
    DeviceOption,
    DraftOption,
    DtypeOption,
    EchoOption,
    JsonOption,
    MaxTokensOption,
    ModelOption,
    NgramOption,
    OriginsOption,
    PlainOption,
    PromptArgument,
    PromptFileOption,
    QuantizeOption,
    StageOption,
    StatsOption,
    with_sampling_options,
)
from etesian.cli.decode_output import PieceWriter, legend, statistics_table
from etesian.decode.comparison import Comparison, compare_with_plain
from etesian.decode.decoder import Decoder, Stream
from etesian.decode.generation import Generation
from etesian.decode.models.loading import LoadOptions
from etesian.decode.sampling import Sampling
from etesian.errors import InputError

EXIT_DIFFERENT = 1
MAX_TOKENS: int = inspect.signature(Decoder.generate).parameters["max_tokens"].default

generate = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True)
class TextRequest:
    """What is to be written, and by which decoder."""

    decoder: Decoder
    text: str
    sampling: Sampling
    max_tokens: int
    speculate: bool

    def stream(self) -> Stream:
        """Begin."""
        return self.decoder.stream(self.text, self.sampling, max_tokens=self.max_tokens, speculate=self.speculate)

    def compare(self) -> Comparison:
        """Decode it with drafts and plainly, by turns."""
        return compare_with_plain(self.decoder, self.text, self.sampling, max_tokens=self.max_tokens)

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that draft."""
        return self.decoder.drafter.stages if self.decoder.drafter is not None and self.speculate else ()


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is to be seen of it."""

    echo: bool
    show_origins: bool
    stats: bool
    as_json: bool


def run_generate(
    prompt: PromptArgument = None,
    *,
    prompt_file: PromptFileOption = None,
    model: ModelOption = BUNDLED,
    draft: DraftOption = AUTO,
    ngram: NgramOption = AUTO,
    stage: StageOption = None,
    max_tokens: MaxTokensOption = MAX_TOKENS,
    plain: PlainOption = False,
    compare: CompareOption = False,
    echo: EchoOption = False,
    show_origins: OriginsOption = False,
    stats: StatsOption = False,
    as_json: JsonOption = False,
    dtype: DtypeOption = LoadOptions.dtype,
    quantize: QuantizeOption = LoadOptions.quantize,
    device: DeviceOption = LoadOptions.device,
    **options: Any,
) -> None:
    """Continue a text by a model, several tokens a pass: the same text as one at a time.

    The text goes to standard output as it comes, all else to standard error. Ctrl-C ends it; what came so far stays.

    Exit code: 1 if --compare finds another text, 2 for a mistake in what was asked, 130 after Ctrl-C.
    """
    console = Console(stderr=True, highlight=False)
    text = read_prompt(prompt, prompt_file)
    sampling = Sampling(**options | {"stop": tuple(options["stop"])})
    if plain and compare:
        raise InputError("--compare decodes with drafts and plainly in turn; leave --plain out")
    options_of_loading = LoadOptions(dtype=dtype, quantize=quantize, device=device)
    choice = ModelChoice(model=model, draft=draft, ngram=ngram, stages=stage or (), options=options_of_loading)
    request = TextRequest(choice.load(console), text, sampling, max_tokens, speculate=not plain)
    shown = Shown(echo=echo, show_origins=show_origins, stats=stats, as_json=as_json)
    carry_out(request, shown, console, compare=compare)


generate.command()(with_sampling_options(run_generate))


def carry_out(request: TextRequest, shown: Shown, console: Console, *, compare: bool) -> None:
    """Write the text, then all that was asked for about it."""
    writer = None if shown.as_json else PieceWriter(request.stages if shown.show_origins else None)
    generation, is_interrupted = write_to_the_end(request.stream(), writer, request.text if shown.echo else "")
    comparison = None
    if compare and not is_interrupted:
        with console.status("comparing with plain decoding"):
            comparison = request.compare()
    if writer is None:
        print(json.dumps(_as_dict(generation, comparison), allow_nan=False, indent=2))
    elif shown.show_origins:
        _tell_origins(generation, request.stages, writer, console)
    if writer is not None and shown.stats:
        console.print(statistics_table(generation.stats))
    _end(generation, comparison, console, is_interrupted=is_interrupted)


def read_prompt(prompt: str | None, file: Path | None) -> str:
    """Return the text to continue, from wherever it was said to be."""
    if (prompt is None) == (file is None):
        given = "neither" if prompt is None else "both"
        raise InputError(f"the text to continue must be given as PROMPT or by --prompt-file; got {given}")
    if prompt is not None and prompt != "-":
        return prompt
    name = "standard input" if file is None else str(file)
    try:
        return (sys.stdin.buffer.read() if file is None else file.read_bytes()).decode()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name} must hold text in UTF-8; byte {error.start + 1} is no part of any") from None


def write_to_the_end(stream: Stream, writer: PieceWriter | None, prompt: str) -> tuple[Generation, bool]:
    """Write the prompt, and pieces as they come; return all that came, and whether Ctrl-C ended it."""
    is_interrupted = False
    try:
        if writer is not None:
            writer.write_prompt(prompt)
        for piece in stream:
            if writer is not None:
                writer.write(piece)
    except KeyboardInterrupt:
        is_interrupted = True
    generation = stream.generation
    if writer is not None:
        writer.finish(generation.text)
    return generation, is_interrupted


def _as_dict(generation: Generation, comparison: Comparison | None) -> dict[str, Any]:
    found = {
        "text": generation.text,
        "token_ids": generation.token_ids,
        "origins": generation.origins,
        "finish_reason": generation.finish_reason,
        "stats": generation.stats.as_dict(),
    }
    return found if comparison is None else found | {"comparison": comparison.as_dict()}


def _tell_origins(generation: Generation, stages: Sequence[str], writer: PieceWriter, console: Console) -> None:
    console.print(legend(generation, stages), soft_wrap=True)
    if not writer.is_colored:
        console.print("note: the text has colors on a terminal; FORCE_COLOR=1 writes them elsewhere too")


def _end(generation: Generation, comparison: Comparison | None, console: Console, *, is_interrupted: bool) -> None:
    if is_interrupted:
        console.print(f"stopped after {len(generation.token_ids)} tokens")
        raise typer.Exit(EXIT_INTERRUPTED)
    if comparison is not None:
        console.print(str(comparison), soft_wrap=True)
        if not comparison.is_identical:
            raise typer.Exit(EXIT_DIFFERENT)
